"""No word of the command line asks the network for anything, or leaves anything in the home folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segsuite.engines.run_folder import RunFolder
from tests.words import own_words

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
DRIVER = """
import json, sys
from segsuite.cli import main
ended = {}
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        ended[" ".join(words[:2])] = end.code or 0
print(json.dumps(ended))
"""
LEFT_AT_HOME = {"matplotlib": "its list of fonts, made once", "segsuite": "which engine was fastest for a model"}
"""Folders in `~/.cache`, and why they may be there."""


def words_of(run: RunFolder, out: Path) -> list[list[str]]:
    """A command for each word, on a small cohort and its model."""
    cohort = run.root / "cohort"
    scans, masks, manifest = cohort / "images", cohort / "labels", cohort / "manifest.json"
    image, mask = sorted(scans.iterdir())[0], sorted(masks.iterdir())[0]
    model = out / "model"
    tiny = ["training.max_minutes=null", "training.max_steps=1", "training.steps_per_epoch=1", "plan.base_channels=4"]
    small = ["plan.patch_size=[32,32,8]", "training.validation_cases=1", "inference.mirror=false"]
    data = ["--manifest", manifest, "--fold", "0"]
    made = {
        "list": ["list"],
        "show": ["show", "supervised/default"],
        "copy": ["copy", "supervised/default", out / "copied.yaml"],
        "manifest": ["manifest", "import", cohort, "--out", out / "M.json"],
        "plan": ["plan", manifest],
        "train": ["train", "supervised/default", *data, "--out", out / "run", *tiny, *small, "-j", "0", "-d", "cpu"],
        "accelerate": ["accelerate", model, "--manifest", manifest, "--cases", "1"],
        "export": ["export", model, "--out", out / "exported", "--format", "openvino"],
        "doctor": ["doctor", "--model", model],
        "predict": ["predict", model, image, "--out", out / "masks", "-d", "cpu", "--set", "backend=openvino"],
        "evaluate": ["evaluate", masks, masks, "--out", out / "evaluation", "-j", "1"],
        "compare": ["compare", out / "evaluation", out / "evaluation"],
        "report": ["report", out / "run"],
        "overlay": ["overlay", image, "--mask", mask, "--out", out / "picture.png"],
        "view": ["view", image, mask, "--out", out / "view.html"],
        "slurm": ["slurm", model, scans, "--out", out / "slurm", "--jobs", "2"],
        "cache": ["cache", "--help"],
        "dicomseg": ["dicomseg", "--help"],
    }
    elsewhere = {"demo": "train, predict, evaluate and report", "serve": "a test of its own"}
    assert {*made, *elsewhere} == own_words(), "a new word needs a line here"
    return [[str(word) for word in words] for words in made.values()]


def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    path = os.pathsep.join([str(ROOT / "tests" / "machines" / "listening"), str(ROOT)])
    places = {"HOME": str(home), "PYTHONPATH": path, "SEGSUITE_HEARD": str(tmp_path / "heard.txt")}
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NO_ALBUMENTATIONS_UPDATE")
    return {name: value for name, value in os.environ.items() if name not in quiet} | places


def heard(tmp_path: Path) -> str:
    return (tmp_path / "heard.txt").read_text() if (tmp_path / "heard.txt").is_file() else ""


def left_at_home(tmp_path: Path) -> list[str]:
    found = [path.relative_to(tmp_path / "home") for path in (tmp_path / "home").rglob("*") if path.is_file()]
    return [str(path) for path in found if path.parts[0] != ".cache" or path.parts[1] not in LEFT_AT_HOME]


def test_no_word_dials_out_or_leaves_anything(tiny_run: RunFolder, tmp_path: Path) -> None:
    for module in ("openvino", "onnxruntime", "onnxscript"):
        pytest.importorskip(module, reason="needs the extra that runs faster engines")
    (tmp_path / "model").symlink_to(tiny_run.model)
    words = json.dumps(words_of(tiny_run, tmp_path))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER, words],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(ended.stdout.splitlines()[-1]).values()) <= {0}, ended.stderr
    assert heard(tmp_path) == ""
    assert left_at_home(tmp_path) == []


def wait_for(port: int, service: subprocess.Popen[str]) -> None:
    for _ in range(600):
        assert service.poll() is None, service.stderr.read() if service.stderr else ""
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the service does not listen")


def test_the_service_dials_out_to_nobody(tiny_run: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra of the service")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", str(tiny_run.model), "--port", str(port), "--set", "backend=torch"]
    command = [sys.executable, "-W", "ignore", "-m", "segsuite", *words]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, cwd=tmp_path, text=True) as service:
        try:
            wait_for(port, service)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(timeout=30)
    assert heard(tmp_path) == ""
    assert left_at_home(tmp_path) == []


def test_the_listener_hears(tmp_path: Path) -> None:
    code = "import socket\ntry: socket.create_connection(('host.invalid', 80), timeout=1)\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", code], env=environment(tmp_path), check=True)
    assert "host.invalid" in heard(tmp_path)
