from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segsuite.engines.ledger import read_ledger
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError
from segsuite.verbs.spreading import JobArray, watch, write_job_array

pytestmark = pytest.mark.slow


def test_what_arrives_is_segmented_once_also_after_a_restart(tiny_run: RunFolder, tmp_path: Path) -> None:
    images = sorted((tiny_run.root / "cohort" / "images").iterdir())[:3]
    inbox, out, heard = tmp_path / "inbox", tmp_path / "out", list[tuple[str, str]]()
    ended = threading.Event()

    def arrive() -> None:
        for number, image in enumerate(images):
            time.sleep(0.3)
            half = image.read_bytes()
            target = inbox / image.name
            target.write_bytes(half[: len(half) // 2])  # a copy that is under way
            time.sleep(0.2)
            target.write_bytes(half)
            while len(heard) <= number and not ended.is_set():
                time.sleep(0.05)
        ended.set()

    inbox.mkdir()
    arriving = threading.Thread(target=arrive)
    arriving.start()
    how = {"poll_s": 0.1, "settle_s": 0.4, "device": "cpu"}
    outcome = watch(tiny_run.model, inbox, out, stop=ended.is_set, on_case=lambda *said: heard.append(said), **how)
    arriving.join()
    assert [result for _, result in heard] == ["done"] * 3
    assert outcome.n_done == 3
    assert sorted(path.name for path in out.glob("*.nii.gz")) == [image.name for image in images]
    looks = iter([False] * 12 + [True] * 100)
    again = watch(tiny_run.model, inbox, out, stop=lambda: next(looks), **how)
    assert (again.n_done, again.n_skipped) == (0, 3)


def test_masks_must_not_arrive_as_images(tiny_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must lie outside the watched folder"):
        watch(tiny_run.model, tmp_path, tmp_path / "out", stop=lambda: True)


def test_job_array_predicts_everything_in_parts(tiny_run: RunFolder, tmp_path: Path) -> None:
    """The script is run as SLURM would run it, with a word of the path that a shell must not take apart."""
    folder = tmp_path / "two words"
    shutil.copytree(tiny_run.root / "cohort" / "images", folder / "scans")
    jobs = JobArray(2, hours=1.5, cores=1, memory_gb=8, gpus=1, partition="long")
    script = write_job_array(
        folder / "p.sbatch", tiny_run.model, [folder / "scans"], folder / "out", jobs, more=["--device", "cpu"]
    )
    text = script.read_text()
    for wish in ("--array=1-2", "--time=01:30:00", "--mem=8G", "--gres=gpu:1", "--partition=long", "--signal=B:TERM@120"):
        assert f"#SBATCH {wish}\n" in text
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for number in ("1", "2"):
        place = {**os.environ, "PATH": path, "SLURM_ARRAY_TASK_ID": number, "SLURM_CPUS_PER_TASK": "1"}
        subprocess.run(["bash", script], check=True, env=place, capture_output=True)
    assert {line.status for line in read_ledger(folder / "out").values()} == {"done"}
    assert {path.name for path in (folder / "out").glob("*.nii.gz")} == {path.name for path in (folder / "scans").iterdir()}


def test_input_must_be_there_before_a_cluster_is_asked(tiny_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"The input .*gone must exist"):
        write_job_array(tmp_path / "p.sbatch", tiny_run.model, [tmp_path / "gone"], tmp_path / "out", JobArray(2))
