"""Whether keeping only the largest component of a structure helps: measured on held-out cases, not assumed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from torch import Tensor

from segsuite.data.cache import PreparedCase
from segsuite.engines.inference import WindowInference, argmax_rows, predict_rows, threshold_rows
from segsuite.metrics.per_case import dice_per_structure, mean_of_scored
from segsuite.shapes import LabelMap
from segsuite.volumes.components import keep_largest_component_per_label
from segsuite.volumes.regions import Regions

__all__ = ["Structures", "dice_of_prepared", "labels_of_prepared", "labels_to_reduce"]

Structures: TypeAlias = dict[int, str] | Regions
"""What a network decides: class index to name, or regions of class indices."""


def labels_of_prepared(
    network: Callable[[Tensor], Tensor], case: PreparedCase, windows: WindowInference, structures: Structures
) -> tuple[LabelMap, LabelMap]:
    """A whole case on the network's grid.

    Args:
        network: In evaluation mode.
        case: Its image.
        windows: How the network is applied.
        structures: What it decides.

    Returns:
        Class indices (i, j, k), and what they were decided from: the same, or of regions a bit for each.
    """
    rows = predict_rows(network, np.asarray(case.image), windows)
    if isinstance(structures, Regions):
        codes = threshold_rows(rows, n_regions=len(structures))
        return structures.written(codes), codes
    labels = argmax_rows(rows, n_classes=windows.n_classes)
    return labels, labels


def dice_of_prepared(predicted: LabelMap, case: PreparedCase, structures: Structures) -> dict[str, float]:
    """Dice per structure on the network's grid.

    Args:
        predicted: Class indices (i, j, k).
        case: With its label.
        structures: Class index to name; or regions of class indices, each the union of them.

    Returns:
        Name to Dice; ``nan`` where a structure is in neither.
    """
    reference = np.asarray(case.label)
    return dice_per_structure(np.where(reference < 0, 0, predicted), reference, structures)


def labels_to_reduce(
    network: Callable[[Tensor], Tensor],
    cases: Sequence[PreparedCase],
    windows: WindowInference,
    structures: Structures,
) -> tuple[tuple[int | str, ...], dict[str, float]]:
    """The structures whose mean Dice does not fall when only the largest component is kept.

    Args:
        network: In evaluation mode.
        cases: Held-out, labelled.
        windows: How the network is applied.
        structures: Class index to name, or regions of class indices.

    Returns:
        Class indices (of regions their names) to reduce, and the mean Dice per structure after reducing them.
    """
    plain: dict[str, list[float]] = defaultdict(list)
    reduced: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        predicted, decided = labels_of_prepared(network, case, windows, structures)
        for scores, found in (
            (plain, dice_of_prepared(predicted, case, structures)),
            (reduced, _dice_reduced(decided, case, structures)),
        ):
            for name, value in found.items():
                scores[name].append(value)
    chosen: list[int | str] = []
    best = {}
    for index, name in _named(structures):
        before, after = mean_of_scored(plain[name]), mean_of_scored(reduced[name])
        if after >= before:
            chosen.append(index)
        best[name] = max(after, before) if after == after else 0.0
    return tuple(chosen), {name: round(value, 4) for name, value in best.items()}


def _named(structures: Structures) -> Iterable[tuple[int | str, str]]:
    """How a structure is called in a model's description, and its name."""
    return ((name, name) for name in structures.names) if isinstance(structures, Regions) else structures.items()


def _dice_reduced(decided: LabelMap, case: PreparedCase, structures: Structures) -> dict[str, float]:
    """Dice of each structure where it is reduced to its largest component; of regions only this one, since they overlap."""
    if not isinstance(structures, Regions):
        return dice_of_prepared(keep_largest_component_per_label(decided, which=tuple(structures)), case, structures)
    found = {}
    for name in structures.names:
        labels = structures.written(structures.with_largest_components(decided, which=(name,)))
        found[name] = dice_of_prepared(labels, case, structures)[name]
    return found
