"""A local cluster of two workers, one of which is killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from segsuite.engines.inputs import InputCase, find_inputs
from segsuite.engines.ledger import Ledger, read_ledger
from segsuite.engines.parcels import Parcel
from segsuite.engines.prediction import BatchOptions, Outcome
from segsuite.engines.ray_options import RayOptions
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import ModelError
from segsuite.verbs.predicting import predict
from segsuite.volumes.volume import Volume
from tests.bright import CallsBright
from tests.faults import BAD, TOLERATED, Bright, Fault, write_scans

ray = pytest.importorskip("ray", reason="needs the extra: pip install 'segsuite[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


class Troubled(CallsBright):
    """Calls bright voxels structure 1; writes down its process; a first voxel of 1 kills it."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        with (self.notes / f"{os.getpid()}").open("a") as stream:
            stream.write(f"{request.case_id}\n")
        time.sleep(0.3)
        if int(volume.array[0, 0, 0, 0]) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().segment(volume, request)


def missing(notes: Path) -> Troubled:
    raise ModelError("the weights are missing")


def deadly(notes: Path) -> Troubled:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.fixture
def run(tmp_path: Path, write_nifti: Callable[..., Path]) -> Callable[..., Outcome]:
    from segsuite.engines.ray_cluster import predict_on_ray

    (tmp_path / "notes").mkdir()

    def predict(*troubles: int, load: Callable[[Path], Troubled] = Troubled, **how: object) -> Outcome:
        for number, trouble in enumerate(troubles):
            image = np.random.default_rng(number).random((6, 5, 4)).astype(np.float32)
            image[0, 0, 0] = trouble
            write_nifti(tmp_path / "scans" / f"s{number:02d}.nii.gz", image)
        cases = find_inputs([tmp_path / "scans"], n_channels=1)
        opened = partial(load, tmp_path / "notes")
        return predict_on_ray(cases, opened, tmp_path / "out", BatchOptions(), cluster=RayOptions(workers=2, batch=3), **how)

    return predict


def test_a_killed_worker_loses_no_case(run: Callable[..., Outcome], tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def kill_one() -> None:
        while len([path for path in notes.iterdir() if path.read_text().count("\n") >= 2]) < 2:
            time.sleep(0.02)
        os.kill(int(next(notes.iterdir()).name), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    told: dict[str, str] = {}
    outcome = run(*[0] * 14, on_case=told.__setitem__)
    killer.join()
    names = {f"s{number:02d}" for number in range(14)}
    assert (outcome.failures, outcome.exit_code) == ({}, 0)
    assert outcome.n_done + outcome.n_skipped == 14
    assert set(told) == names
    assert len(list(notes.iterdir())) in (2, 3), "the dead worker's successor may come too late"
    lines = read_ledger(tmp_path / "out")
    assert {case: line.status for case, line in lines.items()} == dict.fromkeys(names, "done")
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {f"{name}.nii.gz" for name in names}
    again = run()
    assert (again.n_done, again.n_skipped) == (0, 14)


def test_a_case_that_kills_is_put_down_alone(run: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run(0, 1, 0, 0)
    assert set(outcome.failures) == {"s01"}
    assert "the worker that segmented it died" in read_ledger(tmp_path / "out")["s01"].reason
    assert outcome.n_done + outcome.n_skipped == 3
    assert outcome.exit_code == 2


def test_an_end_in_time_leaves_the_rest(run: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run(*[0] * 12, stop=lambda: len(list((tmp_path / "notes").iterdir())) == 2)
    assert outcome.exit_code == 130
    assert 0 < outcome.n_done < 12
    assert outcome.n_done + outcome.n_left == 12
    assert len(read_ledger(tmp_path / "out")) == outcome.n_done


def test_a_model_that_cannot_be_opened_is_one_error(run: Callable[..., Outcome]) -> None:
    with pytest.raises(ModelError, match="the weights are missing"):
        run(0, 0, load=missing)


def test_a_model_that_kills_the_workers_is_no_fault_of_the_cases(run: Callable[..., Outcome], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="they die while they open the model"):
        run(0, 0, 0, load=deadly)
    assert read_ledger(tmp_path / "out") == {}


def test_nodes_that_see_no_folder_are_sent_all_and_a_killed_one_loses_no_case(
    tmp_path: Path, write_nifti: Callable[..., Path], tiny_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has travelled is taken away from the sender's folders, so that no worker can have read it there."""
    from segsuite.engines import ray_cluster

    scans, model = tmp_path / "scans", tmp_path / "model"
    scans.mkdir()
    images = sorted((tiny_run.root / "cohort" / "images").glob("*.nii.gz"))
    for image in images:
        shutil.copy(image, scans)
    shutil.copytree(tiny_run.model, model)
    expected = predict(model, [scans], tmp_path / "here", device="cpu")
    whole_pack, parcels = ray_cluster.pack, dict[str, Parcel]()

    def pack_and_hide(cases: list[InputCase], ledger: Ledger) -> Parcel:
        shutil.rmtree(model, ignore_errors=True)
        case = cases[0]
        if case.case_id not in parcels:  # one that was in a dead worker's hand is packed again
            parcels[case.case_id] = whole_pack(cases, ledger)
            case.images[0].unlink()
        return parcels[case.case_id]

    def kill_one(*_: str) -> None:
        if not killed:
            ours = psutil.Process().children(recursive=True)
            killed.append(next(process for process in ours if "_Segmenter" in " ".join(process.cmdline())))
            killed[0].kill()

    killed: list[psutil.Process] = []
    monkeypatch.setattr(ray_cluster, "pack", pack_and_hide)
    cluster = RayOptions(workers=2, batch=1, files="sent")
    outcome = predict(model, [scans], tmp_path / "there", device="cpu", cluster=cluster, on_case=kill_one)
    assert killed
    assert (outcome.n_done, outcome.failures) == (len(images), {})
    assert outcome == expected
    for image in images:
        assert (tmp_path / "there" / image.name).read_bytes() == (tmp_path / "here" / image.name).read_bytes()
    assert len(read_ledger(tmp_path / "there")) == len(images)


FAULTS = [("header", "hang"), ("network", "hang"), ("ledger", "hang"), ("hash", "die"), ("read back", "die"), ("read", "raise")]


@pytest.mark.parametrize(("step", "kind"), FAULTS if os.environ.get("SEGSUITE_FULL") else FAULTS[:1])
def test_a_fault_at_any_step_is_a_line_of_its_own(step: str, kind: str, tmp_path: Path) -> None:
    from segsuite.engines.ray_cluster import predict_on_ray

    cases = find_inputs([write_scans(tmp_path / "in", "a", f"m{BAD}", "y", "z")], n_channels=1)
    cluster = RayOptions(workers=2, batch=1)
    limit = 2.0 if kind == "hang" else None
    outcome = predict_on_ray(cases, Fault(step, kind), tmp_path / "out", BatchOptions(), cluster=cluster, time_limit_s=limit)
    expected = set() if kind == "raise" and step in TOLERATED else {f"m{BAD}"}
    assert set(outcome.failures) == expected
    if kind == "hang":
        assert "the worker that segmented it died or stood still for 2 s, 2 times" in outcome.failures[f"m{BAD}"]
    lines = read_ledger(tmp_path / "out")
    assert {case for case, line in lines.items() if line.status == "failed"} == expected
    assert len(lines) == 4
    again = predict_on_ray(cases, Bright, tmp_path / "out", BatchOptions(), cluster=cluster)
    assert (again.failures, again.n_done) == ({}, len(expected))


def test_a_file_that_cannot_be_sent_costs_only_its_case(tmp_path: Path) -> None:
    from segsuite.engines.ray_cluster import predict_on_ray

    cases = find_inputs([write_scans(tmp_path / "in", "a", "m", "z")], n_channels=1)
    cases[1].images[0].unlink()
    os.mkfifo(cases[1].images[0])
    cluster = RayOptions(workers=1, batch=3, files="sent")
    outcome = predict_on_ray(cases, Bright, tmp_path / "out", BatchOptions(), cluster=cluster)
    assert outcome.n_done == 2
    assert "must be an ordinary file, got a pipe" in outcome.failures["m"]
    assert read_ledger(tmp_path / "out")["m"].status == "failed"
