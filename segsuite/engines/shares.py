"""How much of the training data each class takes: what class weights and prior biases come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segsuite.data.cache import PreparedCase
from segsuite.seeding import keyed_generator

__all__ = ["class_shares"]

MOST_CASES = 64


def class_shares(cases: Sequence[PreparedCase], *, n_classes: int, seed: int) -> list[float]:
    """The share of voxels of each class.

    Args:
        cases: Labelled, prepared cases; of many, 64 are drawn.
        n_classes: Background included.
        seed: Of the draw.

    Returns:
        One share per class, sums to 1; at least 1e-5 of a class that was not seen.
    """
    chosen = list(cases)
    if len(chosen) > MOST_CASES:
        places = keyed_generator(seed, "shares").choice(len(chosen), MOST_CASES, replace=False)
        chosen = [chosen[int(place)] for place in np.sort(places)]
    counts = np.zeros(n_classes)
    for case in chosen:
        label = np.asarray(case.label)
        counts += np.bincount(label[label >= 0].astype(np.int64).ravel(), minlength=n_classes)[:n_classes]
    shares = np.maximum(counts / max(counts.sum(), 1), 1e-5)
    return [float(share) for share in shares / shares.sum()]
