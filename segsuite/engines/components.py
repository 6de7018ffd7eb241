"""Whether keeping only the largest component of a structure helps: measured on held-out cases, not assumed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from segsuite.data.cache import PreparedCase
from segsuite.engines.inference import WindowInference, argmax_rows, predict_rows
from segsuite.metrics.per_case import dice_per_structure, mean_of_scored
from segsuite.shapes import LabelMap
from segsuite.volumes.components import keep_largest_component_per_label

__all__ = ["dice_of_prepared", "labels_to_reduce"]


def dice_of_prepared(predicted: LabelMap, case: PreparedCase, structures: dict[int, str]) -> dict[str, float]:
    """Dice per structure on the network's grid.

    Args:
        predicted: Class indices (i, j, k).
        case: With its label.
        structures: Class index to name.

    Returns:
        Name to Dice; ``nan`` where a structure is in neither.
    """
    reference = np.asarray(case.label)
    return dice_per_structure(np.where(reference < 0, 0, predicted), reference, structures)


def labels_to_reduce(
    network: Callable[[Tensor], Tensor],
    cases: Sequence[PreparedCase],
    windows: WindowInference,
    structures: dict[int, str],
) -> tuple[tuple[int, ...], dict[str, float]]:
    """The structures whose mean Dice does not fall when only the largest component is kept.

    Args:
        network: In evaluation mode.
        cases: Held-out, labelled.
        windows: How the network is applied.
        structures: Class index to name.

    Returns:
        Class indices to reduce, and the mean Dice per structure after reducing them.
    """
    plain: dict[str, list[float]] = defaultdict(list)
    reduced: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        predicted = argmax_rows(predict_rows(network, np.asarray(case.image), windows), n_classes=windows.n_classes)
        largest = keep_largest_component_per_label(predicted, which=tuple(structures))
        for scores, labels in ((plain, predicted), (reduced, largest)):
            for name, value in dice_of_prepared(labels, case, structures).items():
                scores[name].append(value)
    chosen, best = [], {}
    for index, name in structures.items():
        before, after = mean_of_scored(plain[name]), mean_of_scored(reduced[name])
        if after >= before:
            chosen.append(index)
        best[name] = max(after, before) if after == after else 0.0
    return tuple(chosen), {name: round(value, 4) for name, value in best.items()}
