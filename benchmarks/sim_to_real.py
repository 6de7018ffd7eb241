"""A zone model on real T2w series that have masks of PZ and TZ by other raters: Dice, and a picture to look at.

    python benchmarks/sim_to_real.py MODEL DATA --out FOLDER

DATA holds folders with `t2w.nii.gz` and, for some, `zones_*.nii.gz` (1 PZ, 2 TZ) and `gland_*.nii.gz`. Raters count AFS and
urethra as TZ, so ours do here. Nothing of the model is chosen by these cases.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from segsuite.metrics.overlap import dice_score
from segsuite.reports.overlays import COLOURS
from segsuite.verbs.predicting import predict
from segsuite.volumes.grid import network_grid, resample
from segsuite.volumes.reading import read_labels, read_volume

N_COLUMNS = 10


def print_scores(mask: Path, case: Path) -> None:
    ours = read_labels(mask)
    zones = np.where(ours.labels > 2, 2, ours.labels)
    for path in sorted([*case.glob("zones_*.nii.gz"), *case.glob("gland_*.nii.gz")]):
        theirs = read_labels(path)
        reference = resample(theirs.labels, theirs.grid, ours.grid, interpolation="nearest")
        scores = {"gland": dice_score(zones > 0, reference > 0)}
        if path.name.startswith("zones"):
            scores |= {"PZ": dice_score(zones == 1, reference == 1), "TZ": dice_score(zones == 2, reference == 2)}
        print(f"{case.name} against {path.stem.removesuffix('.nii')}: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))


def print_raters(case: Path) -> None:
    for first, second in combinations(sorted(case.glob("zones_*.nii.gz")), 2):
        a, b = read_labels(first), read_labels(second)
        other = resample(b.labels, b.grid, a.grid, interpolation="nearest")
        scores = ", ".join(
            f"{name} {dice_score(a.labels == value, other == value):.3f}" for name, value in (("PZ", 1), ("TZ", 2))
        )
        print(f"{case.name}, {first.name} against {second.name}: {scores}")


def picture(cases: list[Path], masks: list[Path], out: Path) -> None:
    figure = Figure(figsize=(1.7 * N_COLUMNS, 1.8 * len(cases)), layout="constrained")
    for row, case, mask in zip(figure.subplots(len(cases), N_COLUMNS, squeeze=False), cases, masks, strict=True):
        volume, labels = read_volume(case / "t2w.nii.gz"), read_labels(mask)
        grid = network_grid(volume.grid, spacing_mm=None)
        grey = resample(volume.array[0], volume.grid, grid, interpolation="linear")
        zones = resample(labels.labels, labels.grid, grid, interpolation="nearest")
        half = [round(45 / mm) for mm in grid.spacing_mm[:2]]
        view = tuple(slice(n // 2 - h, n // 2 + h) for n, h in zip(grid.shape, half, strict=False))
        used = np.flatnonzero(zones.any(axis=(0, 1))) if zones.any() else np.arange(grid.shape[2])
        for axes, k in zip(row, np.linspace(max(used[0] - 1, 0), min(used[-1] + 1, grid.shape[2] - 1), N_COLUMNS), strict=True):
            k = round(float(k))
            plane = grey[(*view, k)]
            low, high = np.percentile(plane, [1, 99])
            axes.imshow(plane.T, cmap="gray", origin="lower", vmin=low, vmax=high)
            for zone in np.unique(zones[(*view, k)]):
                if zone > 0:
                    axes.contour((zones[(*view, k)] == zone).T, levels=[0.5], colors=COLOURS[int(zone) - 1], linewidths=1.2)
            axes.set_title(f"{case.name[-4:]}, {k + 1}", fontsize=7)
            axes.set_axis_off()
    figure.savefig(out, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cases = sorted(path.parent for path in options.data.glob("*/t2w.nii.gz"))
    predict(options.model, [case / "t2w.nii.gz" for case in cases], options.out, force=True)
    masks = [options.out / case.name / "t2w.nii.gz" for case in cases]
    for case, mask in zip(cases, masks, strict=True):
        print_scores(mask, case)
        print_raters(case)
    picture(cases, masks, options.out / "zones.png")


if __name__ == "__main__":
    main()
