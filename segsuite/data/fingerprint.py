"""What a data set looks like, in the numbers that a plan is made from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segsuite.data.locate import image_paths, label_path
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError
from segsuite.files import hash_of_json
from segsuite.seeding import keyed_generator
from segsuite.volumes.labels import label_counts
from segsuite.volumes.mirrored import mirrored_labels, places_of_labels
from segsuite.volumes.orders import upright, upright_mask
from segsuite.volumes.reading import read_channels, read_labels

__all__ = ["Fingerprint", "take_fingerprint"]

FOREGROUND_VOXELS_PER_CASE = 2000
MAX_CASES = 300
"""More cases do not move medians; a larger data set is sampled, so that planning stays minutes."""


@dataclass(frozen=True)
class Fingerprint:
    """Numbers of a data set, on RAS+ axes.

    Attributes:
        n_cases: Cases of the manifest that can be trained on.
        n_looked_at: Cases that were read.
        shapes: Voxels per axis of each case looked at.
        spacings_mm: Voxel size per axis of each case looked at.
        intensities: Per channel: ``mean``, ``std``, ``low`` (0.5 %), ``high`` (99.5 %) over foreground voxels.
        case_scale_spread: Largest over smallest 99.5 % intensity among cases, per channel: large for MR, near 1 for CT.
        zero_share: Median share of exactly zero voxels (skull-stripped or masked images).
        least_intensity: Smallest intensity seen, per channel.
        label_ml: Label or region name to median volume over the cases that have it, in ml.
        label_share: Label or region name to share of cases that have it.
    """

    n_cases: int
    n_looked_at: int
    shapes: list[list[int]]
    spacings_mm: list[list[float]]
    intensities: list[dict[str, float]]
    case_scale_spread: list[float]
    zero_share: float
    least_intensity: list[float]
    label_ml: dict[str, float]
    label_share: dict[str, float]
    mirrored: list[list[str]] = field(default_factory=list)

    @property
    def median_shape(self) -> tuple[float, ...]:
        """Median voxels per axis."""
        return tuple(float(n) for n in np.median(self.shapes, axis=0))

    @property
    def median_spacing_mm(self) -> tuple[float, ...]:
        """Median voxel size per axis."""
        return tuple(float(mm) for mm in np.median(self.spacings_mm, axis=0))

    @property
    def sha256(self) -> str:
        """Identifies the data that a model was planned from."""
        return hash_of_json(asdict(self))


def take_fingerprint(
    manifest: Manifest,
    cases: list[Case],
    *,
    data_root: Path,
    workers: int = 1,
    on_case: Callable[[str], None] | None = None,
) -> Fingerprint:
    """Read the cases (at most 300, evenly drawn) and sum them up.

    Args:
        manifest: Declares channels and labels.
        cases: The labelled training cases.
        data_root: Where paths start.
        workers: Threads.
        on_case: Called with each case id when it is done.

    Returns:
        The fingerprint.

    Raises:
        ManifestError: No labelled case.
        InputError: A case that cannot be read; the message names it.
    """
    if not cases:
        raise ManifestError(f"{manifest.name} must have at least one labelled training case, got none.")
    looked_at = cases[:: -(-len(cases) // MAX_CASES)]

    def look(case: Case) -> dict[str, Any]:
        facts = _look(case, manifest, data_root)
        if on_case is not None:
            on_case(case.case_id)
        return facts

    with ThreadPoolExecutor(max(1, workers)) as pool:
        facts = list(pool.map(look, looked_at))
    volumes = {
        name: [float(item["ml"][value]) for item in facts if item["ml"].get(value)] for value, name in manifest.structures.items()
    }
    for name, integers in manifest.regions.items():
        sums = [sum(float(item["ml"].get(value, 0)) for value in integers) for item in facts]
        volumes[name] = [ml for ml in sums if ml]
    return Fingerprint(
        n_cases=len(cases),
        n_looked_at=len(facts),
        shapes=[item["shape"] for item in facts],
        spacings_mm=[item["spacing"] for item in facts],
        intensities=[_intensities(facts, channel) for channel in range(manifest.n_channels)],
        case_scale_spread=[_spread([item["scale"][channel] for item in facts]) for channel in range(manifest.n_channels)],
        zero_share=float(np.median([item["zero_share"] for item in facts])),
        least_intensity=[min(item["least"][channel] for item in facts) for channel in range(manifest.n_channels)],
        label_ml={name: round(float(np.median(ml)), 3) if ml else 0.0 for name, ml in volumes.items()},
        label_share={name: round(len(ml) / len(facts), 3) for name, ml in volumes.items()},
        mirrored=_mirrored(facts, manifest),
    )


def _look(case: Case, manifest: Manifest, data_root: Path) -> dict[str, Any]:
    stored = read_channels(image_paths(case, data_root), n_channels=manifest.n_channels)
    path = label_path(case, data_root)
    mask = read_labels(path, mapping=manifest.label_mapping)
    labels = upright_mask(mask, stored.grid, names=(f"case {case.case_id}: {case.images[0]}", str(path))).labels
    volume, _ = upright(stored)
    inside = np.flatnonzero((labels > 0) & (labels != (manifest.ignore_label or -1)))
    draw = keyed_generator(0, "fingerprint", case.case_id)
    if inside.size > FOREGROUND_VOXELS_PER_CASE:
        inside = draw.choice(inside, FOREGROUND_VOXELS_PER_CASE, replace=False)
    counts = label_counts(labels)
    return {
        "shape": list(volume.grid.shape),
        "spacing": [round(mm, 6) for mm in volume.spacing_mm],
        "samples": [channel.ravel()[inside] for channel in volume.array],
        "scale": [float(np.percentile(channel, 99.5)) for channel in volume.array],
        "least": [float(channel.min()) for channel in volume.array],
        "places": places_of_labels(volume.array[0], labels, volume.spacing_mm),
        "zero_share": float((volume.array[0] == 0).mean()),
        "ml": {value: float(counts[value]) * stored.grid.voxel_ml for value in manifest.structures if value < len(counts)},
    }


def _mirrored(facts: list[dict[str, Any]], manifest: Manifest) -> list[list[str]]:
    known = [{value: place for value, place in item["places"].items() if value in manifest.structures} for item in facts]
    return [[manifest.structures[value] for value in pair] for pair in mirrored_labels(known)]


def _intensities(facts: list[dict[str, Any]], channel: int) -> dict[str, float]:
    values = np.concatenate([item["samples"][channel] for item in facts])
    if not values.size:
        return {"mean": 0.0, "std": 1.0, "low": 0.0, "high": 1.0}
    low, high = np.percentile(values, [0.5, 99.5])
    return {"mean": float(values.mean()), "std": float(values.std()), "low": float(low), "high": float(high)}


def _spread(scales: list[float]) -> float:
    positive = [scale for scale in scales if scale > 0]
    return max(positive) / min(positive) if positive else 1.0
