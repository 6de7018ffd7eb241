"""Models that crash, hang or end their process, in real processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.inputs import find_inputs
from segsuite.engines.isolation import predict_isolated
from segsuite.engines.ledger import Ledger, LedgerLine, read_ledger
from segsuite.engines.prediction import BatchOptions, Outcome
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import ModelError, OutputError, VolumeError
from segsuite.volumes.volume import Volume
from tests.bright import CallsBright
from tests.faults import BAD, STEPS, TOLERATED, Bright, Fault, LosesItsGpu, write_scans

pytestmark = pytest.mark.slow


class Troubled(CallsBright):
    """Calls bright voxels structure 1; what its case's image begins with decides what goes wrong."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        trouble = int(volume.array[0, 0, 0, 0])
        if trouble == 1:
            ctypes.string_at(0)  # a real segmentation fault, as a broken reader makes
        elif trouble == 2:
            time.sleep(600)
        elif trouble == 3:
            os._exit(5)
        elif trouble == 4:
            raise VolumeError("this is no such image")
        return super().segment(volume, request)


class Slow(Troubled):
    """Takes a quarter of a second."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        time.sleep(0.25)
        return super().segment(volume, request)


class SideBySide(Slow):
    """As on a GPU: two cases in hand."""

    n_at_once = 2


def fails_to_load() -> Troubled:
    raise ModelError("the weights are missing")


def dies_while_loading() -> Troubled:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class DiesUntold:
    """A load after which the first ledger line is the last thing that the process does; once."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __call__(self) -> Troubled:
        append = Ledger.append

        def append_and_die(ledger: Ledger, line: LedgerLine) -> None:
            append(ledger, line)
            if not self.marker.exists():
                self.marker.touch()
                os._exit(9)

        Ledger.append = append_and_die  # type: ignore[method-assign]
        return Troubled()


@pytest.fixture
def scans(tmp_path: Path, write_nifti: Callable[..., Path]) -> Callable[..., Path]:
    def write(*troubles: int) -> Path:
        for number, trouble in enumerate(troubles):
            image = np.random.default_rng(number).random((6, 5, 4)).astype(np.float32)
            image[0, 0, 0] = trouble
            write_nifti(tmp_path / "scans" / f"s{number}.nii.gz", image)
        return tmp_path / "scans"

    return write


def run(scans: Path, out: Path, load: Callable[[], Troubled] = Troubled, **more: object) -> Outcome:
    return predict_isolated(find_inputs([scans], n_channels=1), load, out, BatchOptions(), **more)


def test_a_crash_and_a_sudden_end_cost_one_case_each(scans: Callable[..., Path], tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    outcome = run(scans(0, 1, 0, 3, 4, 0), tmp_path / "out", on_case=lambda *said: heard.append(said))
    assert outcome.n_done == 3
    assert outcome.failures == {
        "s1": "the process that segmented it died of SIGSEGV",
        "s3": "the process that segmented it ended with exit code 5",
        "s4": "this is no such image",
    }
    assert sorted(case for case, _ in heard) == [f"s{n}" for n in range(6)], "each is told once"
    lines = read_ledger(tmp_path / "out")
    assert [case for case, line in sorted(lines.items()) if line.status == "failed"] == ["s1", "s3", "s4"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == ["s0.nii.gz", "s2.nii.gz", "s5.nii.gz"]


def test_what_a_process_finished_and_could_not_tell_counts_as_done(scans: Callable[..., Path], tmp_path: Path) -> None:
    outcome = run(scans(0, 0), tmp_path / "out", DiesUntold(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert outcome.failures == {}
    assert (outcome.n_done, outcome.n_skipped) == (2, 0)


def test_a_case_that_hangs_is_ended(scans: Callable[..., Path], tmp_path: Path) -> None:
    outcome = run(scans(0, 2, 0), tmp_path / "out", time_limit_s=2.0)
    assert outcome.n_done == 2
    assert outcome.failures == {"s1": "the process that segmented it stood still for 2 s and was ended"}


def test_a_case_that_hangs_is_ended_while_others_end_beside_it(scans: Callable[..., Path], tmp_path: Path) -> None:
    ended: list[str] = []
    folder = scans(2, *[0] * 29)  # seven seconds of others
    outcome = run(folder, tmp_path / "out", SideBySide, time_limit_s=2.0, on_case=lambda case, _: ended.append(case))
    assert set(outcome.failures) == {"s0"}
    assert outcome.n_done == 29
    assert ended.index("s0") < 25


def test_told_to_stop_the_case_in_hand_is_finished(scans: Callable[..., Path], tmp_path: Path) -> None:
    done: list[str] = []
    outcome = run(scans(*[0] * 12), tmp_path / "out", Slow, stop=lambda: bool(done), on_case=lambda case, _: done.append(case))
    assert outcome.exit_code == 130
    assert 1 <= outcome.n_done < 12
    assert outcome.n_done + outcome.n_left == 12
    assert run(tmp_path / "scans", tmp_path / "out") == Outcome(12 - outcome.n_done, outcome.n_done, {})


def test_what_is_wrong_with_the_model_or_the_folder_ends_the_run(scans: Callable[..., Path], tmp_path: Path) -> None:
    folder = scans(0, 0)
    with pytest.raises(ModelError, match="the weights are missing"):
        run(folder, tmp_path / "a", fails_to_load)
    with pytest.raises(ModelError, match=r"died of SIGKILL \(often the system's memory guard\) before"):
        run(folder, tmp_path / "b", dies_while_loading)
    (tmp_path / "c" / "ledger.jsonl").mkdir(parents=True)
    with pytest.raises(OutputError, match="ledger.jsonl"):
        run(folder, tmp_path / "c")


def test_the_child_ends_with_its_parent(scans: Callable[..., Path], tmp_path: Path) -> None:
    """Killed without a chance to say so, the parent leaves no child that writes on."""
    folder = scans(*[0] * 40)
    parent = multiprocessing.get_context("spawn").Process(target=partial(run, folder, tmp_path / "out", Slow))
    parent.start()
    ledger = tmp_path / "out" / "ledger.jsonl"
    while not (ledger.is_file() and ledger.read_text().count("\n") >= 1):
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    time.sleep(1.5)
    n_lines = ledger.read_text().count("\n")
    time.sleep(1.0)
    assert ledger.read_text().count("\n") == n_lines < 40


class Untidy(Troubled):
    """Dies as if in the middle of writing."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        if int(volume.array[0, 0, 0, 0]) == 3:
            for name in ("s1.nii.gz", "s1_map_x.nii.gz", "s1_report.json", "s10.nii.gz", "s1_2.nii.gz"):
                (Path(str(volume.path)).parents[1] / "out" / f".12345678.tmp.{name}").write_bytes(b"half")
        return super().segment(volume, request)


def test_half_written_files_of_a_dead_process_go_and_those_of_others_stay(scans: Callable[..., Path], tmp_path: Path) -> None:
    cases = find_inputs([scans(0, 3)], n_channels=1)
    predict_isolated(cases, Untidy, tmp_path / "out", BatchOptions())
    left = {path.name for path in (tmp_path / "out").glob(".*")}
    assert left == {".12345678.tmp.s10.nii.gz", ".12345678.tmp.s1_2.nii.gz"}


PRODUCT = [(step, kind, n) for kind in ("die", "hang") for n in (1, 3) for step in STEPS]
SLICE = [("header", "die", 1), ("stat", "die", 3), ("read", "hang", 1)]


@pytest.mark.parametrize(("step", "kind", "n_at_once"), PRODUCT if os.environ.get("SEGSUITE_FULL") else SLICE)
def test_death_and_standstill_at_any_step_are_a_line_of_their_own(step: str, kind: str, n_at_once: int, tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "in", "a", f"m{BAD}", "y", "z"), tmp_path / "out"
    cases, fault = find_inputs([scans], n_channels=1), Fault(step, kind, n_at_once=n_at_once)
    outcome = predict_isolated(cases, fault, out, BatchOptions(), time_limit_s=2.0 if kind == "hang" else None)
    broken = list(outcome.failures)
    assert broken == [f"m{BAD}"] or (step in TOLERATED and not broken)  # tried alone, a case is not looked at in advance
    for reason in outcome.failures.values():
        assert ("died of SIGKILL" if kind == "die" else "stood still for 2 s") in reason
    assert {case: line.status for case, line in read_ledger(out).items()} == {
        "a": "done", f"m{BAD}": "failed" if broken else "done", "y": "done", "z": "done",
    }  # fmt: skip
    assert predict_isolated(cases, Bright, out, BatchOptions()) == Outcome(len(broken), 4 - len(broken), {}), "a restart's rest"
    assert not list(out.glob(".*")), "nothing is left behind"


def test_a_gpu_that_one_case_breaks_costs_only_that_case(tmp_path: Path) -> None:
    cases = find_inputs([write_scans(tmp_path / "in", "a", f"m{BAD}", "y", "z")], n_channels=1)
    outcome = predict_isolated(cases, partial(LosesItsGpu, 3), tmp_path / "out", BatchOptions())
    assert outcome.n_done == 3
    assert list(outcome.failures) == [f"m{BAD}"]
    assert "the process that segmented it lost its GPU (CUDA error: an illegal" in outcome.failures[f"m{BAD}"]
