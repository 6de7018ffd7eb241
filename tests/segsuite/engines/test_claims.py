"""Two runs into one folder: nobody takes another image's mask, or a file that we have not made."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.claims import Claims
from segsuite.engines.inputs import InputCase, find_inputs
from segsuite.engines.ledger import Ledger, LedgerLine, read_ledger
from segsuite.engines.outcome import BatchOptions, Outcome
from segsuite.engines.prediction import predict_cases
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import OutputError
from segsuite.volumes.volume import Volume
from tests.faults import Bright, write_scans


def run(scan: Path, out: Path, model: Bright | None = None, **options: bool) -> Outcome:
    return predict_cases(find_inputs([scan], n_channels=1), model or Bright(), out, BatchOptions(**options))


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Path, Path]:
    """Two images of one name."""
    first = write_scans(tmp_path / "siteA", "scan") / "scan.nii.gz"
    write_scans(tmp_path / "siteB", "other", "scan")
    return first, tmp_path / "siteB" / "scan.nii.gz"


def test_the_mask_of_another_site_is_not_replaced(sites: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "masks"
    run(sites[0], out)
    mask = (out / "scan.nii.gz").read_bytes()
    outcome = run(sites[1], out)
    assert (outcome.n_done, outcome.exit_code) == (0, 3)
    assert f"must be the mask of {sites[1]}, got that of another image of this name" in outcome.failures["scan"]
    assert (out / "scan.nii.gz").read_bytes() == mask
    lines = read_ledger(out)
    assert {case: line.status for case, line in lines.items()} == {"scan": "done", "siteB/scan": "failed"}, "each has its own"
    assert run(sites[0], out) == Outcome(0, 1, {}), "the first one is still done"
    assert "siteA" not in (out / "ledger.jsonl").read_text(), "the ledger does not tell where images were"
    both = predict_cases(find_inputs(list(sites), n_channels=1), Bright(), tmp_path / "both")
    assert both.n_done == 2, "as the message advises"
    assert run(sites[1], out, overwrite=True).n_done == 1
    assert (out / "scan.nii.gz").read_bytes() != mask


def test_a_broken_image_of_another_site_does_not_stand_in_for_a_good_one(sites: tuple[Path, Path], tmp_path: Path) -> None:
    run(sites[0], tmp_path / "masks")
    sites[1].write_bytes(b"broken")
    run(sites[1], tmp_path / "masks")
    lines = read_ledger(tmp_path / "masks")
    assert {case: line.status for case, line in lines.items()} == {"scan": "done", "siteB/scan": "failed"}


def test_an_image_that_changed_in_its_place_or_moved_unchanged_is_no_other(sites: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "masks"
    run(sites[0], out)
    sites[0].write_bytes(sites[1].read_bytes())
    assert run(sites[0], out).n_done == 1, "segmented again"
    moved = tmp_path / "moved" / "scan.nii.gz"
    moved.parent.mkdir()
    sites[0].rename(moved)
    assert run(moved, out) == Outcome(0, 1, {})


def test_a_file_that_is_not_ours_stays(sites: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "masks"
    out.mkdir()
    (out / "scan.nii.gz").write_bytes(b"drawn by hand for weeks")
    for _ in range(2):
        outcome = run(sites[0], out)
        assert "got a file that no line of the ledger beside it speaks of" in outcome.failures["scan"]
        assert (out / "scan.nii.gz").read_bytes() == b"drawn by hand for weeks"
    assert run(sites[0], out, overwrite=True) == Outcome(1, 0, {})
    assert run(sites[0], out) == Outcome(0, 1, {})


class Reports(Bright):
    def segment(self, volume: Volume, request: Request) -> Segmentation:
        return Segmentation(super().segment(volume, request).labels, report={"n": 1})


def test_nor_is_one_replaced_that_would_lie_beside_the_mask(sites: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "masks"
    out.mkdir()
    (out / "scan_report.json").write_text("mine")
    assert "scan_report.json must not be there yet" in run(sites[0], out, Reports()).failures["scan"]
    assert (out / "scan_report.json").read_text() == "mine"
    assert not (out / "scan.nii.gz").exists()
    (out / "scan_report.json").unlink()
    assert run(sites[0], out, Reports()).n_done == 1
    assert run(sites[0], out, Reports(), save_probabilities=True).n_done == 1, "its own are"


class Maps(Bright):
    def segment(self, volume: Volume, request: Request) -> Segmentation:
        labels = super().segment(volume, request).labels
        return Segmentation(labels, volumes={"x": np.zeros(labels.shape, np.float32)} if request.case_id == "a" else {})


def test_a_volume_beside_one_mask_is_not_another_cases_mask(tmp_path: Path) -> None:
    write_scans(tmp_path / "in", "a", "a_map_x")
    second = run(tmp_path / "in" / "a_map_x.nii.gz", tmp_path / "out", Maps())
    assert second.n_done == 1
    assert "got the mask of case a_map_x" in run(tmp_path / "in" / "a.nii.gz", tmp_path / "out", Maps()).failures["a"]


def test_old_ledgers_are_read_and_their_masks_are_ours(sites: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "masks"
    run(sites[0], out)
    line = json.loads((out / "ledger.jsonl").read_text())
    del line["source"]
    (out / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    assert run(sites[0], out) == Outcome(0, 1, {})
    sites[0].write_bytes(sites[1].read_bytes())
    assert run(sites[0], out) == Outcome(1, 0, {})


@pytest.fixture
def cases(sites: tuple[Path, Path]) -> tuple[InputCase, InputCase]:
    first, second = (InputCase("scan", (path,), "scan.nii.gz") for path in sites)
    return first, second


def test_what_a_dead_process_has_left_is_known_by_its_claim(cases: tuple[InputCase, InputCase], tmp_path: Path) -> None:
    Claims(Ledger(tmp_path), overwrite=False).take(cases[0], "scan.nii.gz")
    (tmp_path / "scan.nii.gz").write_bytes(b"whole, but without a line")
    claims = Claims(Ledger(tmp_path), overwrite=False)
    claims.require_own(cases[0], "scan.nii.gz", input_hash="1")
    with pytest.raises(OutputError, match="no line of the ledger"):
        claims.require_own(cases[1], "scan.nii.gz", input_hash="2")
    claims.take(cases[0], "scan.nii.gz")
    claims.give_up("scan.nii.gz", written=True)
    assert not list(tmp_path.glob(".*.claim"))


def test_two_processes_at_the_same_time_see_each_other(cases: tuple[InputCase, InputCase], tmp_path: Path) -> None:
    Claims(Ledger(tmp_path), overwrite=False).take(cases[0], "scan.nii.gz")
    other = Claims(Ledger(tmp_path), overwrite=False)
    with pytest.raises(OutputError, match=re.escape(f"for another image of this name than {cases[1].images[0]}")):
        other.take(cases[1], "scan.nii.gz")
    other.take(InputCase("b", cases[1].images, "b.nii.gz"), "b.nii.gz")
    for path in tmp_path.glob(".*.claim"):
        os.utime(path, (0, 0))  # of a process that died long ago
    other.take(cases[1], "scan.nii.gz")


def test_a_line_that_another_process_wrote_meanwhile_counts(cases: tuple[InputCase, InputCase], tmp_path: Path) -> None:
    claims = Claims(Ledger(tmp_path), overwrite=False)
    (tmp_path / "scan.nii.gz").write_bytes(b"mask")
    Ledger(tmp_path).append(LedgerLine("scan", "done", "scan.nii.gz", "1", "m", time="2026"))
    claims.require_own(cases[0], "scan.nii.gz", input_hash="1")


def test_a_claim_is_kept_while_nothing_else_says_whose_a_mask_is(cases: tuple[InputCase, InputCase], tmp_path: Path) -> None:
    claims = Claims(Ledger(tmp_path), overwrite=False)
    claims.take(cases[0], "scan.nii.gz")
    (tmp_path / "scan.nii.gz").write_bytes(b"mask")
    claims.give_up("scan.nii.gz", written=False)
    assert claims.is_unfinished(cases[0], "scan.nii.gz")
    claims.take(cases[0], "scan.nii.gz")
    claims.give_up("scan.nii.gz", written=False)
    assert claims.is_unfinished(cases[0], "scan.nii.gz"), "also after a second failure"
    claims.take(cases[0], "scan.nii.gz")
    claims.give_up("scan.nii.gz", written=True)
    assert not list(tmp_path.glob(".*.claim"))


def test_a_file_that_was_there_before_a_failure_is_not_claimed(cases: tuple[InputCase, InputCase], tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"drawn by hand")
    claims = Claims(Ledger(tmp_path), overwrite=False)
    claims.take(cases[0], "scan.nii.gz")
    with pytest.raises(OutputError, match="no line of the ledger"):
        claims.require_own(cases[0], "scan.nii.gz", input_hash="1")
    claims.give_up("scan.nii.gz", written=False)
    assert not list(tmp_path.glob(".*.claim"))


def test_a_claim_that_a_process_left_after_its_line_goes_with_the_next_run(sites: tuple[Path, Path], tmp_path: Path) -> None:
    run(sites[0], tmp_path / "out")
    Claims(Ledger(tmp_path / "out"), overwrite=False).take(find_inputs([sites[0]], n_channels=1)[0], "scan.nii.gz")
    assert list((tmp_path / "out").glob(".*.claim"))
    assert run(sites[0], tmp_path / "out") == Outcome(0, 1, {})
    assert not list((tmp_path / "out").glob(".*.claim"))
