"""Which masks of an evaluation are of scans that the model learned from: what the ledger beside the masks says of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from segsuite.engines.ledger import LedgerLine, read_ledger
from segsuite.engines.pairs import Pair, Pairing
from segsuite.engines.seen_scans import TRAINED_ON
from segsuite.errors import few_of

__all__ = ["with_training_overlap"]

MOST_LEVELS = 10
"""Folders between a mask and the ledger that it stands in."""
MOST_NAMED = 5


def with_training_overlap(pairing: Pairing) -> Pairing:
    """The same pairs, each knowing whether its scan was in the model's training, and a note if one was.

    Args:
        pairing: Pairs of an evaluation. Masks without a ledger say nothing.

    Returns:
        The pairing.
    """
    ledger_of = cache(_ledger_of)

    def looked_up(pair: Pair) -> Pair:
        return replace(pair, in_training=pair.predicted is not None and _was_trained_on(pair.predicted, ledger_of))

    pairs = [looked_up(pair) for pair in pairing.pairs]
    seen = [pair.case_id for pair in pairs if pair.in_training]
    if not seen:
        return pairing
    named = few_of(seen, most=MOST_NAMED)
    note = f"{len(seen)} of {len(pairs)} cases were {TRAINED_ON}, so scores on them say nothing about new scans: {named}"
    return replace(pairing, pairs=pairs, notes=[note, *pairing.notes])


def _was_trained_on(mask: Path, ledger_of: Callable[[Path], Mapping[str, LedgerLine]]) -> bool:
    folder = mask.parent
    for _ in range(MOST_LEVELS):
        if lines := ledger_of(folder):
            line = lines.get(mask.relative_to(folder).as_posix())
            return line is not None and any(TRAINED_ON in note for note in line.notes)
        if folder == folder.parent:
            return False
        folder = folder.parent
    return False


def _ledger_of(folder: Path) -> dict[str, LedgerLine]:
    """Lines of the cases that are done, by their masks."""
    return {line.output: line for line in read_ledger(folder).values() if line.status == "done"}
