"""Which integer is which zone in public data sets, and whether masks look like what their table says.

Never trust integers: data sets order the same zones differently, and copies of one set swap two of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from segsuite.data.cache import PreparedCase
from segsuite.errors import ManifestError, SettingsError, closest_hint
from segsuite.shapes import LabelMap
from segsuite.volumes.grid import Grid, network_grid, resample

__all__ = ["CODES", "TABLES", "ZoneShape", "doubts_about_order", "find_table", "measure_zones", "require_order", "translate"]

PZ, TZ, DPU, AFS = (
    "peripheral_zone",
    "transition_zone",
    "distal_prostatic_urethra",
    "anterior_fibromuscular_stroma",
)
TABLES: dict[str, dict[str, int]] = {
    "segsuite": {PZ: 1, TZ: 2, DPU: 3, AFS: 4},
    "prostatex_zones": {PZ: 1, TZ: 2, DPU: 3, AFS: 4},
    "prostatex_zones_swapped": {PZ: 1, TZ: 2, AFS: 3, DPU: 4},
    "msd_task05": {PZ: 1, TZ: 2},
    "picai": {PZ: 1, TZ: 2},
    "prostate158": {TZ: 1, PZ: 2},
}
"""Zone to integer by data set. `prostatex_zones_swapped` is how some copies of that set are written."""
CODES: dict[str, dict[str, str]] = {
    PZ: {"scheme": "SCT", "value": "279706003", "meaning": "Peripheral zone of the prostate"},
    TZ: {"scheme": "SCT", "value": "399384005", "meaning": "Transition zone of the prostate"},
    DPU: {"scheme": "SCT", "value": "71553001", "meaning": "Prostatic Urethra"},
    AFS: {"scheme": "SCT", "value": "717025007", "meaning": "Anterior fibromuscular stroma of prostate"},
}
"""Codes of DICOM CID 6300 (Prostate Anatomy); it has no code of its own for the distal part of the urethra."""
MOST_CASES = 16


@dataclass(frozen=True)
class ZoneShape:
    """How large a structure is and where its middle lies.

    Attributes:
        voxels: Its size.
        front: Middle along back to front, in voxels.
        up: Middle along foot to head, in voxels.
    """

    voxels: int
    front: float
    up: float


def find_table(name: str) -> dict[str, int]:
    """A label table by name.

    Args:
        name: Of ``TABLES``.

    Returns:
        Zone to integer.

    Raises:
        SettingsError: There is none of this name.
    """
    if name not in TABLES:
        raise SettingsError(f"The label table must be one of {sorted(TABLES)}, got `{name}`. {closest_hint(name, TABLES)}")
    return TABLES[name]


def translate(labels: LabelMap, source: Mapping[str, int], target: Mapping[str, int]) -> LabelMap:
    """A label map in another table's integers.

    Args:
        labels: Integers of ``source`` and 0.
        source: Zone to integer.
        target: Zone to integer; must have every zone of ``source``.

    Returns:
        uint8, same shape.

    Raises:
        ManifestError: A value that ``source`` does not know, or a zone that ``target`` lacks.
    """
    if missing := sorted(set(source) - set(target)):
        raise ManifestError(f"The target table must have every zone of the source, got none for {missing}.")
    present = {int(value) for value in np.unique(labels)}
    if unknown := sorted(present - set(source.values()) - {0}):
        raise ManifestError(f"The mask must hold values of its table {dict(source)}, got {unknown}. Choose another table.")
    lookup = np.zeros(max(present | set(source.values())) + 1, dtype=np.uint8)
    for zone, value in source.items():
        lookup[value] = target[zone]
    return lookup[labels]


def measure_zones(labels: LabelMap, grid: Grid) -> dict[int, ZoneShape]:
    """Size and place of every label, whatever the image's orientation.

    Args:
        labels: Integers (i, j, k).
        grid: Where they lie.

    Returns:
        Label to shape, without 0.
    """
    upright = resample(labels, grid, network_grid(grid, spacing_mm=None), interpolation="nearest")
    return _measured(upright)


def doubts_about_order(cases: Sequence[Mapping[int, ZoneShape]], table: Mapping[str, int]) -> tuple[list[str], dict[str, int]]:
    """Whether masks look like their table: TZ and PZ the largest, PZ behind TZ, AFS before it, DPU below it.

    One unusual patient proves nothing; the table is doubted when more than half of the cases contradict it.

    Args:
        cases: Of each case the shapes by label.
        table: Zone to integer.

    Returns:
        What is contradicted by most cases, and the table of the same integers that the cases contradict least (the given
        one if none is better).
    """
    if not cases:
        return [], dict(table)
    best, fewest = dict(table), sum(len(_contradictions(case, table)) for case in cases)
    zones = list(table)
    for order in permutations(table.values()):
        other = dict(zip(zones, order, strict=True))
        count = sum(len(_contradictions(case, other)) for case in cases)
        if count < fewest:
            best, fewest = other, count
    findings = [text for case in cases for text in _contradictions(case, table)]
    common = [text for text in dict.fromkeys(findings) if findings.count(text) > len(cases) / 2]
    return common, best


def require_order(cases: Sequence[PreparedCase], class_labels: Sequence[int], names: Mapping[int, str]) -> None:
    """Refuse training masks whose zones are in another order than the manifest says.

    Args:
        cases: Labelled, prepared cases; the first 16 are looked at.
        class_labels: Integer of each class.
        names: Class index to zone name.

    Raises:
        ManifestError: With the suggested table.
    """
    shapes = [_measured(np.asarray(case.label)) for case in cases[:MOST_CASES]]
    findings, better = doubts_about_order(shapes, {name: index for index, name in names.items() if name in CODES})
    if findings and better != {name: index for index, name in names.items() if name in CODES}:
        suggestion = {zone: class_labels[index] for zone, index in better.items()}
        raise ManifestError(
            f"The masks must hold the zones that the manifest's `labels` name, but in most cases {'; '.join(findings)}. "
            f"They look like {suggestion}: correct `labels`, or translate the masks with `segsuite prostate_zones convert`."
        )


def _measured(upright: Any) -> dict[int, ZoneShape]:
    shapes = {}
    for label in np.unique(upright):
        if label > 0:
            at = np.argwhere(upright == label)
            shapes[int(label)] = ZoneShape(len(at), float(at[:, 1].mean()), float(at[:, 2].mean()))
    return shapes


def _contradictions(case: Mapping[int, ZoneShape], table: Mapping[str, int]) -> list[str]:
    found = {zone: case[value] for zone, value in table.items() if value in case}
    rules = (
        (PZ, TZ, lambda pz, tz: pz.front < tz.front, "the PZ is not behind the TZ"),
        (AFS, TZ, lambda afs, tz: afs.front > tz.front, "the AFS is not before the TZ"),
        (DPU, TZ, lambda dpu, tz: dpu.up < tz.up, "the DPU is not below the TZ"),
        (AFS, DPU, lambda afs, dpu: afs.voxels > dpu.voxels, "the AFS is not larger than the DPU"),
        (TZ, AFS, lambda tz, afs: tz.voxels > afs.voxels, "the TZ is not larger than the AFS"),
        (PZ, AFS, lambda pz, afs: pz.voxels > afs.voxels, "the PZ is not larger than the AFS"),
        (TZ, DPU, lambda tz, dpu: tz.voxels > dpu.voxels, "the TZ is not larger than the DPU"),
        (PZ, DPU, lambda pz, dpu: pz.voxels > dpu.voxels, "the PZ is not larger than the DPU"),
    )
    return [text for a, b, holds, text in rules if a in found and b in found and not holds(found[a], found[b])]
