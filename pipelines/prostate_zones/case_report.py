"""What a reader wants to know of one segmented prostate: volumes, extents, thirds, PSA density, doubts, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segsuite.errors import VolumeError
from segsuite.shapes import FloatArray, LabelMap, Mask
from segsuite.volumes.grid import Grid, network_grid, resample

__all__ = ["describe_zones"]

DPU, AFS, TZ, PZ = (
    "distal_prostatic_urethra",
    "anterior_fibromuscular_stroma",
    "transition_zone",
    "peripheral_zone",
)
DPU_AREA_MM2 = (8.0, 120.0)
DPU_STEP_MM = 3.0
THIRDS = ("apex", "mid", "base")


def describe_zones(
    labels: LabelMap,
    grid: Grid,
    structures: Mapping[int, str],
    *,
    uncertainty: FloatArray | None,
    attributes: Mapping[str, Any],
    box: tuple[slice, ...],
) -> dict[str, Any]:
    """The report of one case.

    Args:
        labels: Integers (i, j, k).
        grid: Where they lie.
        structures: Integer to zone name.
        uncertainty: In [0, 1], same grid, or ``None``.
        attributes: What is known of the case; ``psa`` in ng/ml gives the PSA density.
        box: Voxels that the network saw.

    Returns:
        JSON values: ``gland_ml``, ``psa_density`` (ng/ml per ml), per zone ``ml``, ``share``, ``slices``, ``extent_mm`` and
        ``ml`` by third of the gland's height, ``uncertainty`` (mean and 95th percentile in the gland), ``warnings``.

    Raises:
        VolumeError: A PSA that is no number above zero.
    """
    canonical = network_grid(grid, spacing_mm=None)
    upright = resample(labels, grid, canonical, interpolation="nearest")
    gland = upright > 0
    gland_ml = float(gland.sum()) * grid.voxel_ml
    thirds = _thirds(gland)
    zones = {name: _describe_zone(upright == label, gland_ml, canonical, thirds) for label, name in structures.items()}
    report: dict[str, Any] = {
        "gland_ml": round(gland_ml, 2),
        "psa_ng_per_ml": None,
        "psa_density": None,
        "slices": _run(gland),
        "zones": zones,
        "uncertainty": None,
        "warnings": [],
    }
    if attributes.get("psa") not in (None, ""):
        report["psa_ng_per_ml"] = _psa(attributes["psa"])
        report["psa_density"] = round(report["psa_ng_per_ml"] / gland_ml, 3) if gland_ml else None
    if uncertainty is not None and gland.any():
        inside = np.asarray(uncertainty, dtype=np.float32)[labels > 0]
        report["uncertainty"] = {"mean": round(float(inside.mean()), 4), "p95": round(float(np.percentile(inside, 95)), 4)}
    masks = {name: upright == label for label, name in structures.items()}
    report["warnings"] = [
        *_missing(masks), *_urethra_warnings(masks, canonical), *_position_warnings(masks), *_border_warnings(labels, box),
    ]  # fmt: skip
    return report


def _describe_zone(zone: Mask, gland_ml: float, grid: Grid, thirds: FloatArray) -> dict[str, Any]:
    voxels = np.flatnonzero(zone.any(axis=(0, 1)))
    ml = float(zone.sum()) * grid.voxel_ml
    extent = [
        round(float(np.ptp(np.flatnonzero(zone.any(axis=tuple(other for other in range(3) if other != axis)))) + 1) * mm, 1)
        for axis, mm in enumerate(grid.spacing_mm)
        if zone.any()
    ]
    per_slice = zone.sum(axis=(0, 1)) * grid.voxel_ml
    return {
        "ml": round(ml, 3),
        "share": round(ml / gland_ml, 4) if gland_ml else None,
        "slices": len(voxels),
        "extent_mm": dict(zip(("left_right", "back_front", "foot_head"), extent, strict=True)) if extent else None,
        "ml_by_third": {name: round(float(per_slice[thirds == number].sum()), 3) for number, name in enumerate(THIRDS)},
    }


def _thirds(gland: Mask) -> FloatArray:
    """0, 1, 2 for each slice of the gland's height, from the apex up; -1 outside."""
    which = np.full(gland.shape[2], -1.0)
    used = np.flatnonzero(gland.any(axis=(0, 1)))
    if len(used):
        inside = np.arange(used[0], used[-1] + 1)
        which[inside] = np.minimum(2, (inside - used[0]) * 3 // len(inside))
    return which


def _run(mask: Mask) -> dict[str, int] | None:
    """First and last slice, from the foot, counted from 1."""
    used = np.flatnonzero(mask.any(axis=(0, 1)))
    return {"first": int(used[0]) + 1, "last": int(used[-1]) + 1, "n": len(used)} if len(used) else None


def _psa(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 1e5:
        raise VolumeError(f"`psa` must be a number above 0 in ng/ml, got {value!r}. Correct the table or the manifest.")
    return number


def _missing(masks: Mapping[str, Mask]) -> list[str]:
    return [f"{name.replace('_', ' ')} not visible" for name, mask in masks.items() if not mask.any()]


def _urethra_warnings(masks: Mapping[str, Mask], grid: Grid) -> list[str]:
    """The distal urethra is one tube: a single run of slices, of plausible area, without jumps."""
    urethra = masks.get(DPU)
    if urethra is None or not urethra.any():
        return []
    used = np.flatnonzero(urethra.any(axis=(0, 1)))
    warnings = []
    runs = 1 + int((np.diff(used) > 1).sum())
    if runs > 1:
        warnings.append(f"distal prostatic urethra broken in {runs} runs of slices")
    spacing = np.asarray(grid.spacing_mm[:2])
    areas = urethra.sum(axis=(0, 1))[used] * float(spacing.prod())
    if areas.min() < DPU_AREA_MM2[0] or areas.max() > DPU_AREA_MM2[1]:
        low, high = DPU_AREA_MM2
        warnings.append(
            f"distal prostatic urethra of {areas.min():.0f} to {areas.max():.0f} mm2 per slice, expected {low:g} to {high:g}"
        )
    centres = np.stack([np.argwhere(urethra[:, :, k]).mean(axis=0) * spacing for k in used])
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    if len(steps) and steps.max() > DPU_STEP_MM:
        warnings.append(f"distal prostatic urethra jumps by {steps.max():.1f} mm between slices")
    transition = masks.get(TZ)
    if transition is not None and transition.any():
        lowest = int(np.flatnonzero(transition.any(axis=(0, 1)))[0])
        if used[-1] > lowest + 2:
            warnings.append(f"distal prostatic urethra reaches {used[-1] - lowest} slices above the start of the transition zone")
    return warnings


def _position_warnings(masks: Mapping[str, Mask]) -> list[str]:
    """Axis 1 runs from back to front: PZ behind TZ behind AFS."""
    warnings = []
    for behind, front in ((PZ, TZ), (TZ, AFS)):
        if all(name in masks and masks[name].any() for name in (behind, front)):
            back_y, front_y = (float(np.argwhere(masks[name])[:, 1].mean()) for name in (behind, front))
            if back_y >= front_y:
                warnings.append(f"{behind.replace('_', ' ')} is not behind the {front.replace('_', ' ')}")
    return warnings


def _border_warnings(labels: LabelMap, box: tuple[slice, ...]) -> list[str]:
    cut, at_region = False, False
    for axis, part in enumerate(box):
        used = np.flatnonzero((labels > 0).any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(used):
            return []
        for touches, is_end in (
            (used[0] <= part.start, part.start == 0),
            (used[-1] >= part.stop - 1, part.stop == labels.shape[axis]),
        ):
            cut |= bool(touches and is_end)
            at_region |= bool(touches and not is_end)
    return [
        *(["gland cut by the field of view"] if cut else []),
        *(["gland touches the border of the region that was looked at: try --set region=search"] if at_region else []),
    ]
