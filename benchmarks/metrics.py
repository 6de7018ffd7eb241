"""Time all metrics of one case against MONAI, surface-distance, MedPy and SimpleITK, and compare the numbers.

    python benchmarks/metrics.py                                      4 labels on 320x320x24
    python benchmarks/metrics.py --shape 512 512 300 --labels 40 --spacing 0.8 0.8 1.5 --repeats 1
    python benchmarks/metrics.py --pairs FIRST SECOND                 two masks, or all pairs of two folders: numbers only

Ellipsoids; every peer gets one label after the other as a mask of the whole image, and computes what it can of: Dice, HD95,
mean distance, surface Dice at 1 mm. Each runs in a process of its own, so that its peak memory is its own; rounds alternate,
and ratios are of medians. Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

TOLERANCE_MM = 1.0
COLUMNS = ("dice", "hd95", "mean distance", "surface dice")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[320, 320, 24])
    parser.add_argument("--spacing", type=float, nargs=3, default=[0.5, 0.5, 3.0])
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=[name for name in PEERS if name != "segsuite"])
    parser.add_argument("--pairs", type=Path, nargs=2, help="compare numbers on real masks instead of timing")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure_here(options)
    elif options.pairs:
        compare_pairs(*options.pairs)
    else:
        compare_times(options)


def compare_times(options: argparse.Namespace) -> None:
    """One process per peer and round, turn by turn."""
    peers = ["segsuite", *(["segsuite area"] if "surface-distance" in options.peers else []), *options.peers]
    runs: dict[str, list[dict]] = {name: [] for name in peers}
    for _ in range(options.repeats):
        for name in peers:
            command = [sys.executable, __file__, "--child", name, "--labels", str(options.labels)]
            command += ["--shape", *map(str, options.shape), "--spacing", *map(str, options.spacing)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            elif not runs[name]:
                print(f"{name}: left out ({done.stderr.strip().splitlines()[-1]})")
    shape = "x".join(map(str, options.shape))
    print(f"{options.labels} labels on {shape}, medians of {options.repeats}")
    ours = statistics.median(run["seconds"] for run in runs["segsuite"])
    for name, found in ((name, found) for name, found in runs.items() if found):
        seconds = statistics.median(run["seconds"] for run in found)
        peak = max(run["peak_mb"] for run in found)
        reference = "segsuite area" if name == "surface-distance" else "segsuite"
        apart = differences(found[0]["values"], runs[reference][0]["values"])
        memory = f"peak {peak:.0f} MB, {found[0]['input_mb']:.0f} of it before"
        print(f"{name:17} {seconds:8.3f} s  {seconds / ours:6.1f} x  {memory}; {apart}")


def differences(theirs: list[list[float | None]], ours: list[list[float | None]]) -> str:
    """Largest difference of each number that both have."""
    words = []
    for column, name in enumerate(COLUMNS):
        pairs = [(a[column], b[column]) for a, b in zip(theirs, ours, strict=True) if a[column] is not None]
        if pairs:
            words.append(f"{name} {max(abs(a - b) for a, b in pairs):.1e}")
    return "largest difference: " + ", ".join(words)


def measure_here(options: argparse.Namespace) -> None:
    """One peer on one case, in this process; one JSON line."""
    predicted, reference = (case(tuple(options.shape), options.labels, shift) for shift in (1.5, 0.0))
    measure = PEERS[options.child]()
    spacing = tuple(options.spacing)
    small = case((24, 24, 12), 1, 0.0)
    measure(small, small, 1, spacing)  # what a library sets up at its first use is not part of a case
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    values = measure(predicted, reference, options.labels, spacing)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "input_mb": before, "values": values}))


def case(shape: tuple[int, ...], n_labels: int, shift: float) -> np.ndarray:
    """Ellipsoids on a lattice in the plane."""
    labels = np.zeros(shape, dtype=np.uint8)
    columns = math.ceil(math.sqrt(n_labels))
    rows = math.ceil(n_labels / columns)
    radii = [shape[0] / (2.5 * columns), shape[1] / (2.5 * rows), shape[2] / 3]
    for label in range(1, n_labels + 1):
        row, column = divmod(label - 1, columns)
        centre = [shape[0] * (column + 0.5) / columns + shift, shape[1] * (row + 0.5) / rows + 2 * shift, shape[2] / 2]
        box = tuple(slice(max(0, int(c - r) - 1), int(c + r) + 2) for c, r in zip(centre, radii, strict=True))
        axes = np.ogrid[tuple(slice(part.start, min(part.stop, size)) for part, size in zip(box, shape, strict=True))]
        inside = sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True)) < 1
        labels[box][inside] = label
    return labels


Measure = Callable[[np.ndarray, np.ndarray, int, tuple[float, ...]], list[list[float | None]]]


def segsuite_voxels() -> Measure:
    return _segsuite("voxels")


def segsuite_area() -> Measure:
    return _segsuite("area")


def _segsuite(surface: str) -> Measure:
    from segsuite.metrics.per_case import Scoring, measure_case

    def measure(predicted: np.ndarray, reference: np.ndarray, n_labels: int, spacing: tuple[float, ...]) -> list:
        structures = {label: str(label) for label in range(1, n_labels + 1)}
        rows = measure_case(predicted, reference, Scoring(structures, (TOLERANCE_MM,), surface=surface), spacing_mm=spacing)
        value = {(row.label, row.metric): row.value for row in rows}
        mean = "assd" if surface == "voxels" else "masd"
        return [[value[label, metric] for metric in ("dice", "hd95", mean, "surface_dice_1mm")] for label in structures]

    return measure


def by_monai() -> Measure:
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    def measure(predicted: np.ndarray, reference: np.ndarray, n_labels: int, spacing: tuple[float, ...]) -> list:
        found = []
        for label in range(1, n_labels + 1):
            pair = [torch.from_numpy(labels == label)[None, None].float() for labels in (predicted, reference)]
            options = {"include_background": True, "spacing": spacing}
            found.append(
                [
                    compute_dice(*pair, include_background=True).item(),
                    compute_hausdorff_distance(*pair, percentile=95, **options).item(),
                    compute_average_surface_distance(*pair, symmetric=True, **options).item(),
                    compute_surface_dice(*pair, class_thresholds=[TOLERANCE_MM], **options).item(),
                ]
            )
        return found

    return measure


def by_surface_distance() -> Measure:
    import surface_distance as peer

    def measure(predicted: np.ndarray, reference: np.ndarray, n_labels: int, spacing: tuple[float, ...]) -> list:
        found = []
        for label in range(1, n_labels + 1):
            pair = reference == label, predicted == label
            surfaces = peer.compute_surface_distances(*pair, spacing)
            found.append(
                [
                    float(peer.compute_dice_coefficient(*pair)),
                    float(peer.compute_robust_hausdorff(surfaces, 95)),
                    float(np.mean(peer.compute_average_surface_distance(surfaces))),
                    float(peer.compute_surface_dice_at_tolerance(surfaces, TOLERANCE_MM)),
                ]
            )
        return found

    return measure


def by_medpy() -> Measure:
    from medpy.metric import binary

    def measure(predicted: np.ndarray, reference: np.ndarray, n_labels: int, spacing: tuple[float, ...]) -> list:
        found = []
        for label in range(1, n_labels + 1):
            pair = predicted == label, reference == label
            # its HD95 pools both directions before the percentile, so the number is another one; the work is the same
            binary.hd95(*pair, voxelspacing=spacing)
            # and its ASSD is the mean of the two directed means
            found.append([float(binary.dc(*pair)), None, None, None])
            binary.assd(*pair, voxelspacing=spacing)
        return found

    return measure


def by_simpleitk() -> Measure:
    import SimpleITK as sitk

    def measure(predicted: np.ndarray, reference: np.ndarray, n_labels: int, spacing: tuple[float, ...]) -> list:
        images = [sitk.GetImageFromArray(np.ascontiguousarray(labels.T)) for labels in (predicted, reference)]
        for image in images:
            image.SetSpacing(spacing)
        overlap, found = sitk.LabelOverlapMeasuresImageFilter(), []
        overlap.Execute(*images)
        for label in range(1, n_labels + 1):
            hausdorff = sitk.HausdorffDistanceImageFilter()
            hausdorff.Execute(*(image == label for image in images))
            # it measures from all voxels, not from surfaces: Hausdorff 100 and a mean that is smaller
            found.append([overlap.GetDiceCoefficient(label), None, None, None])
        return found

    return measure


PEERS: dict[str, Callable[[], Measure]] = {
    "segsuite": segsuite_voxels,
    "segsuite area": segsuite_area,
    "MONAI": by_monai,
    "surface-distance": by_surface_distance,
    "MedPy": by_medpy,
    "SimpleITK": by_simpleitk,
}


def compare_pairs(first: Path, second: Path) -> None:
    """Both definitions of a surface against their peers, on every structure of every pair of files of one name."""
    from segsuite.volumes.grid import resample
    from segsuite.volumes.labels import labels_present
    from segsuite.volumes.reading import read_labels

    apart: dict[str, list[list[float]]] = {"MONAI": [], "surface-distance": []}
    ours = {"MONAI": segsuite_voxels(), "surface-distance": segsuite_area()}
    files = [(first, second)] if first.is_file() else [(path, second / path.name) for path in sorted(first.iterdir())]
    n_files = 0
    for one, two in files:
        if not two.is_file():
            continue
        a, b = read_labels(one), read_labels(two)
        other = resample(b.labels, b.grid, a.grid, interpolation="nearest")
        shared = sorted(set(labels_present(a.labels)) & set(labels_present(other)) - {0})
        # contiguous labels, as the measures above take them
        pair = [np.searchsorted([0, *shared], np.where(np.isin(x, shared), x, 0)).astype(np.uint8) for x in (a.labels, other)]
        n_files += 1
        for name, numbers in apart.items():
            mine, theirs = (by(*pair, len(shared), a.spacing_mm) for by in (ours[name], PEERS[name]()))
            numbers += [[abs(x - y) for x, y in zip(*rows, strict=True)] for rows in zip(mine, theirs, strict=True)]
    for name, numbers in apart.items():
        largest = ", ".join(f"{column} {value:.1e}" for column, value in zip(COLUMNS, np.max(numbers, axis=0), strict=True))
        print(f"{n_files} pairs, {len(numbers)} structures, against {name}: largest difference: {largest}")


if __name__ == "__main__":
    main()
