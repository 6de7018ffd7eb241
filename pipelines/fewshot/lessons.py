"""What base training may see of a case: base labels, pseudo-anatomy where nothing is labelled, never a novel structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.fewshot.anatomy import Regions
from segsuite.data.cache import PreparedCase
from segsuite.errors import ManifestError
from segsuite.files import make_folder, write_atomically
from segsuite.shapes import Spacing

__all__ = ["TaughtCase", "choose_cases", "teach"]


@dataclass(frozen=True)
class TaughtCase(PreparedCase):
    """A prepared case whose label is its lesson: 0 background, base classes, then regions; centres lie in base classes only."""

    lesson: Path
    classes: tuple[int, ...]

    @cached_property
    def label(self) -> NDArray[Any] | None:
        """(i, j, k): -1 not scored, 0 background outside the body, 1..B base classes, B+1.. regions."""
        return np.load(self.lesson, mmap_mode="r")

    @cached_property
    def foreground(self) -> NDArray[np.int32]:
        """Rows (base class, i, j, k): where novel structures lie is not told."""
        rows = np.load(self.folder / "foreground.npy")
        kept = rows[np.isin(rows[:, 0], self.classes)]
        kept[:, 0] = 1 + np.searchsorted(self.classes, kept[:, 0])
        return kept


def choose_cases(cases: Sequence[PreparedCase], *, base: Sequence[int], novel: Sequence[int], rule: str) -> list[PreparedCase]:
    """The scans that base training may see.

    Args:
        cases: Labelled cases.
        base: Class indices of base structures.
        novel: Class indices of novel structures.
        rule: ``drop_novel`` (none that shows a novel structure), ``with_base`` (those that show a base one) or ``all``.

    Returns:
        Some of the cases.

    Raises:
        ManifestError: None is left.
    """
    chosen = []
    for case in cases:
        present = set(np.unique(case.foreground[:, 0]).tolist())
        if rule == "drop_novel" and present & set(novel):
            continue
        if rule == "with_base" and not present & set(base):
            continue
        chosen.append(case)
    if not chosen:
        raise ManifestError(f"Base training must have scans by the rule `{rule}`, got none of {len(cases)}. Choose another.")
    return chosen


def teach(
    cases: Sequence[PreparedCase], *, base: Sequence[int], regions: Regions | None, spacing_mm: Spacing, folder: Path
) -> list[TaughtCase]:
    """Write the lessons.

    Args:
        cases: Prepared, labelled cases.
        base: Class indices of base structures, ascending; everything else is background.
        regions: Pseudo-anatomy, or ``None``.
        spacing_mm: Voxel size.
        folder: Where the lessons go.

    Returns:
        One taught case per case.
    """
    make_folder(folder)
    taught = []
    for case in cases:
        path = folder / f"{case.folder.name}.npy"
        if not path.is_file():
            seen = np.asarray(case.label)
            lesson = np.zeros(seen.shape, dtype=np.int16)
            if regions is not None:
                lesson = regions.assign(np.asarray(case.image), spacing_mm)
            lesson[lesson > 0] += len(base)
            for place, index in enumerate(base, start=1):
                lesson[seen == index] = place
            lesson[seen < 0] = -1
            write_atomically(path, partial(_save, lesson))
        taught.append(TaughtCase(case.case, case.folder, path, tuple(base), on_demand=case.on_demand))
    return taught


def _save(lesson: NDArray[np.int16], path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, lesson)
