from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.engines.ledger import Ledger, LedgerLine, read_ledger
from segsuite.files import hash_of_file


@pytest.fixture
def line(tmp_path: Path) -> LedgerLine:
    (tmp_path / "a.nii.gz").write_bytes(b"mask")
    return LedgerLine("a", "done", "a.nii.gz", "in", "model", hash_of_file(tmp_path / "a.nii.gz"), time="2026-01-01")


def test_done_and_unchanged_is_done(tmp_path: Path, line: LedgerLine) -> None:
    Ledger(tmp_path).append(line)
    again = Ledger(tmp_path)
    assert again.is_done("a", input_hash="in", model_hash="model")
    assert again.counts() == {"done": 1}


@pytest.mark.parametrize("change", ["input", "model", "truncated", "deleted", "unknown case"])
def test_anything_changed_is_not_done(tmp_path: Path, line: LedgerLine, change: str) -> None:
    Ledger(tmp_path).append(line)
    if change == "truncated":
        (tmp_path / "a.nii.gz").write_bytes(b"mas")
    if change == "deleted":
        (tmp_path / "a.nii.gz").unlink()
    case = "b" if change == "unknown case" else "a"
    hashes = {"input_hash": "new" if change == "input" else "in", "model_hash": "new" if change == "model" else "model"}
    assert not Ledger(tmp_path).is_done(case, **hashes)


def test_failed_is_not_done(tmp_path: Path) -> None:
    Ledger(tmp_path).append(LedgerLine("a", "failed", "a.nii.gz", "in", "model", reason="x"))
    assert not Ledger(tmp_path).is_done("a", input_hash="in", model_hash="model")


def test_line_cut_by_a_kill_is_passed_over_and_the_next_one_is_readable(tmp_path: Path, line: LedgerLine) -> None:
    Ledger(tmp_path).append(line)
    with (tmp_path / "ledger.jsonl").open("a") as stream:
        stream.write('{"case": "b", "status": "do')
    Ledger(tmp_path).append(LedgerLine("c", "done", "c", "i", "m", time="2026-01-02"))
    assert set(read_ledger(tmp_path)) == {"a", "c"}


def test_shards_write_apart_and_are_read_together(tmp_path: Path, line: LedgerLine) -> None:
    Ledger(tmp_path, shard=(1, 2)).append(line)
    Ledger(tmp_path, shard=(2, 2)).append(LedgerLine("b", "failed", "b", "i", "m", time="2026-01-01"))
    assert {path.name for path in tmp_path.glob("*.jsonl")} == {"ledger-1of2.jsonl", "ledger-2of2.jsonl"}
    assert Ledger(tmp_path).counts() == {"done": 1, "failed": 1}
