from __future__ import annotations

from pathlib import Path

from segsuite.engines.ledger import Ledger, LedgerLine
from segsuite.engines.pairs import Pair, Pairing
from segsuite.engines.seen_scans import note_on_members, training_scans
from segsuite.engines.training_overlap import with_training_overlap

SCAN = "ab" * 16
NOTE = note_on_members([{"data": training_scans([SCAN])}], SCAN)


def line(output: str, *notes: str, status: str = "done") -> LedgerLine:
    return LedgerLine(output.removesuffix(".nii.gz"), status, output, "", "", notes=notes)


def test_scores_on_cases_of_the_training_are_counted_and_said(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for entry in (line("a.nii.gz", NOTE), line("P1/t2w.nii.gz", "small", NOTE), line("b.nii.gz", "small")):
        ledger.append(entry)
    ledger.append(line("c.nii.gz", NOTE, status="failed"))
    masks = ("a", "P1/t2w", "b", "c", "stranger", None)
    pairs = [
        Pair(f"case {number}", "p", Path("r.nii.gz"), None if mask is None else tmp_path / f"{mask}.nii.gz")
        for number, mask in enumerate(masks)
    ]
    found = with_training_overlap(Pairing(pairs, {1: "x"}, notes=["other"]))
    assert [pair.in_training for pair in found.pairs] == [True, True, False, False, False, False]
    assert found.notes == [
        "2 of 6 cases were in the model's training, so scores on them say nothing about new scans: case 0, case 1",
        "other",
    ]


def test_masks_without_a_ledger_say_nothing(tmp_path: Path) -> None:
    pairing = Pairing([Pair("a", "p", Path("r.nii.gz"), tmp_path / "deep" / "a.nii.gz")], {1: "x"})
    assert with_training_overlap(pairing) is pairing
