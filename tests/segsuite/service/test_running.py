"""The whole word, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import nibabel as nib
import pytest

from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError
from segsuite.service.running import Door, limits_of


def test_a_door_to_others_needs_a_token() -> None:
    with pytest.raises(SettingsError, match="must have a token"):
        limits_of(Door(host="0.0.0.0"))
    opened = limits_of(Door(host="0.0.0.0", token="t", most_mb=1.5))
    assert (opened.token, opened.hosts, opened.most_bytes) == ("t", (), 1_500_000)
    assert "localhost" in limits_of(Door()).hosts


@pytest.mark.slow
def test_serves_a_model_and_leaves_nothing_behind(tiny_run: RunFolder, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "segsuite", "serve", str(tiny_run.model), "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        _until_it_answers(process, port)
        image = tiny_run.root / "cohort" / "images" / "phantom_0000.nii.gz"
        with image.open("rb") as stream:
            answer = httpx.post(f"http://127.0.0.1:{port}/segment", files={"image": (image.name, stream)}, timeout=60)
        assert answer.status_code == 200
        (tmp_path / "mask.nii.gz").write_bytes(answer.content)
        assert nib.load(tmp_path / "mask.nii.gz").shape == nib.load(image).shape
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert re.search(rf"serving .*model at http://127.0.0.1:{port}", err)
    assert "Traceback" not in err
    assert not list(tmp_path.glob("segsuite_serve_*"))


def _until_it_answers(process: subprocess.Popen[str], port: int) -> None:
    for _ in range(600):
        assert process.poll() is None, process.communicate()[1]
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", timeout=1)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the service did not answer within a minute")
