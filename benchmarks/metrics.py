"""Time all metrics of one case against MONAI's, in one process, and compare the numbers.

    python benchmarks/metrics.py [--shape 320 320 24] [--labels 4] [--repeats 5]

Four ellipsoids per case; medians over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from segsuite.metrics.per_case import Scoring, measure_case

SPACING = (0.5, 0.5, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[320, 320, 24])
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    predicted, reference = (case(tuple(options.shape), options.labels, shift) for shift in (1.5, 0.0))
    ours, theirs, apart = [], [], 0.0
    for _ in range(options.repeats):
        started = time.perf_counter()
        mine = by_segsuite(predicted, reference, options.labels)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        peer = by_monai(predicted, reference, options.labels)
        theirs.append(time.perf_counter() - started)
        apart = max(apart, float(np.abs(mine - peer).max()))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{options.labels} labels on {'x'.join(map(str, options.shape))}, median of {options.repeats}:")
    print(f"segsuite {a:.3f} s, MONAI {b:.3f} s, ratio {b / a:.1f}; largest difference of the numbers {apart:.1e}")


def case(shape: tuple[int, ...], n_labels: int, shift: float) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    for label in range(1, n_labels + 1):
        centre = [shape[0] * (label / (n_labels + 1)) + shift, shape[1] / 2 + 3 * shift, shape[2] / 2]
        radii = [shape[0] / (2.4 * (n_labels + 1)), shape[1] / 8, shape[2] / 3]
        labels[sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True)) < 1] = label
    return labels


def by_segsuite(predicted: np.ndarray, reference: np.ndarray, n_labels: int) -> np.ndarray:
    structures = {label: str(label) for label in range(1, n_labels + 1)}
    rows = measure_case(predicted, reference, Scoring(structures), spacing_mm=SPACING)
    return np.array([row.value for row in rows if row.metric in ("dice", "hd95", "assd", "surface_dice_1mm")]).reshape(
        n_labels, 4
    )


def by_monai(predicted: np.ndarray, reference: np.ndarray, n_labels: int) -> np.ndarray:
    classes = torch.arange(n_labels + 1).view(-1, 1, 1, 1)
    pair = [(torch.from_numpy(labels.astype(np.int64))[None] == classes)[None].float() for labels in (predicted, reference)]
    options = {"include_background": False, "spacing": SPACING}
    columns = [
        compute_dice(*pair, include_background=False),
        compute_hausdorff_distance(*pair, percentile=95, **options),
        compute_average_surface_distance(*pair, symmetric=True, **options),
        compute_surface_dice(*pair, class_thresholds=[1.0] * n_labels, **options),
    ]
    return torch.cat(columns, dim=0).T.numpy()


if __name__ == "__main__":
    main()
