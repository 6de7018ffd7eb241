"""Does a scan look like those that a model was trained on? Compared with what the model keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segsuite.data.scan_profile import PLANES, profile_distance, profile_of
from segsuite.volumes.volume import Volume

__all__ = ["doubts_about_scan"]

FACTOR = 2.0
"""So far below the lowest and above the highest value in training is nothing unusual."""
LEAST_DISTANCE = 0.15
SPREADS = 2.0
MORE = 0.05
"""A histogram is another kind of image's where it lies this far beyond the spreads of those in training."""
LEAST_UNITS = -100.0
"""Magnitude images have nothing below; CT has."""
AXES = ("left to right", "back to front", "foot to head")


def doubts_about_scan(volume: Volume, fingerprint: Mapping[str, Any]) -> list[str]:
    """Why a scan may be of another kind than those in training.

    Args:
        volume: The scan.
        fingerprint: From ``common_profile``, as the model keeps it; may be empty.

    Returns:
        Half a sentence per finding, with what came and what was in training; empty if it may be of their kind.
    """
    if not fingerprint:
        return []
    profile = profile_of(volume)
    planes = fingerprint["planes"]
    found = _out_of_range("voxels", profile["spacing_mm"], fingerprint["spacing_mm"])
    found += _out_of_range("a field", profile["extent_mm"], fingerprint["extent_mm"])
    if profile["plane"] and profile["plane"] not in planes and set(planes) <= set(PLANES):
        found.append(f"{profile['plane']} slices (in training {' and '.join(planes)})")
    if len(profile["quantiles"]) == len(fingerprint["histogram"]):
        for number, quantiles in enumerate(profile["quantiles"]):
            where = "" if len(profile["quantiles"]) == 1 else f" of channel {number}"
            found += _other_modality(quantiles, fingerprint, number, where)
    return found


def _out_of_range(what: str, values: Sequence[float], limits: Sequence[Sequence[float]]) -> list[str]:
    return [
        f"{what} of {value:.3g} mm from {axis} (in training {low:.3g} to {high:.3g})"
        for axis, value, low, high in zip(AXES, values, *limits, strict=True)
        if not low / FACTOR <= value <= high * FACTOR
    ]


def _other_modality(quantiles: Sequence[float], fingerprint: Mapping[str, Any], number: int, where: str) -> list[str]:
    low, high = fingerprint["lowest"][number]
    if quantiles[0] >= LEAST_UNITS > high:
        return [f"intensities{where} from {quantiles[0]:.4g} up, as MR has (in training from {low:.4g} up, as CT)"]
    if quantiles[0] < LEAST_UNITS <= low:
        return [f"intensities{where} from {quantiles[0]:.4g} up, as CT has (in training from {low:.4g} up)"]
    distance = profile_distance(quantiles, fingerprint["histogram"][number])
    farthest = max(LEAST_DISTANCE, SPREADS * fingerprint["spread"][number] + MORE)
    if distance > farthest:
        return [f"a histogram{where} of another shape (distance {distance:.2f}, in training at most {farthest:.2f})"]
    return []
