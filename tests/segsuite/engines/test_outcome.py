from __future__ import annotations

import pytest

from segsuite.engines.outcome import AS_USUAL, BatchOptions, Outcome, ignore


@pytest.mark.parametrize(
    ("done", "skipped", "failed", "left", "code"), [(1, 0, 0, 0, 0), (0, 1, 1, 0, 2), (0, 0, 2, 0, 3), (1, 0, 1, 3, 130)]
)
def test_exit_codes(done: int, skipped: int, failed: int, left: int, code: int) -> None:
    assert Outcome(done, skipped, {str(n): "x" for n in range(failed)}, left).exit_code == code


def test_as_usual_is_one_part_of_one_and_replaces_nothing() -> None:
    assert BatchOptions((1, 1), overwrite=False) == AS_USUAL
    assert ignore("a", "done") is None
