"""From a manifest to scans of two groups: opened, checked for what would make every result void, cut to one shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.cohort_contrast.scans import Scans
from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case
from segsuite.errors import ManifestError, VolumeError
from segsuite.shapes import FloatArray, Image, Size
from segsuite.volumes.grid import Grid

__all__ = [
    "Confounding",
    "column_of",
    "cramers_v",
    "fixed_window",
    "group_of",
    "placed_back",
    "require_two_groups",
    "scans_of",
    "site_confounding",
    "window_grid",
    "within_mask",
]

GROUPS = {"healthy": False, "diseased": True}
MOST_CONFOUNDED = 0.5
"""Cramer's V of site and group from which on a contrast of groups is a contrast of sites."""


@dataclass(frozen=True)
class Confounding:
    """How much site and group are the same thing.

    Attributes:
        cramers_v: In [0, 1]; 0: independent, 1: each tells the other.
        table: Site to numbers of healthy and diseased subjects.
    """

    cramers_v: float
    table: dict[str, tuple[int, int]]

    @property
    def is_too_much(self) -> bool:
        """Whether a contrast of groups would be one of sites."""
        return self.cramers_v > MOST_CONFOUNDED

    def __str__(self) -> str:
        counts = ", ".join(f"{site or 'unknown'}: {h} healthy and {d} diseased" for site, (h, d) in self.table.items())
        return f"Cramer's V of site and group is {self.cramers_v:.2f} ({counts})"


def group_of(case: Case) -> bool:
    """Whether a case is of the diseased group.

    Args:
        case: Of a manifest.

    Returns:
        Its group.

    Raises:
        ManifestError: Its group is neither healthy nor diseased.
    """
    if case.group not in GROUPS:
        raise ManifestError(
            f"case {case.case_id}: `group` must be healthy or diseased, got `{case.group}`. Fill it in for every case of the "
            "manifest; see `segsuite manifest import --help` for tables."
        )
    return GROUPS[case.group]


def require_two_groups(cases: Sequence[Case], *, least: int = 2) -> None:
    """Check that there are subjects of both groups, and none in both.

    Args:
        cases: Of one side of a split.
        least: Subjects per group.

    Raises:
        ManifestError: A group is missing or too small, or a subject is in both.
    """
    groups: dict[str, set[bool]] = defaultdict(set)
    for case in cases:
        groups[case.patient_id].add(group_of(case))
    both = sorted(subject for subject, found in groups.items() if len(found) > 1)
    if both:
        raise ManifestError(
            f"A subject must be in one group, got {len(both)} in both, for example {both[0]}. Leave out scans from before the "
            "diagnosis, or give them a `patient_id` of their own if that is meant."
        )
    counts = {name: sum(found == {group} for found in groups.values()) for name, group in GROUPS.items()}
    if min(counts.values()) < least:
        raise ManifestError(
            f"There must be at least {least} subjects of each group, got {counts['healthy']} healthy and {counts['diseased']} "
            "diseased. Check `group` and the fold."
        )


def site_confounding(cases: Sequence[Case]) -> Confounding:
    r"""How much the sites tell the groups, over subjects.

    .. math:: V = \sqrt{\chi^2 / (n \min(r - 1, c - 1))}

    Args:
        cases: Of both groups.

    Returns:
        Cramer's V and the table; 0 where there is one site.

    Source: Cramer, Mathematical Methods of Statistics, 1946, chapter 21.
    """
    return cramers_v([case.site or "" for case in cases], [case.patient_id for case in cases], [group_of(case) for case in cases])


def cramers_v(sites: Sequence[str], subjects: Sequence[str], is_diseased: Any) -> Confounding:
    """The same of columns; see ``site_confounding``.

    Args:
        sites: One per scan.
        subjects: One per scan.
        is_diseased: One per scan.

    Returns:
        Cramer's V and the table over subjects.
    """
    seen = {subject: (site, bool(group)) for site, subject, group in zip(sites, subjects, is_diseased, strict=True)}
    table: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for site, group in seen.values():
        table[site][int(group)] += 1
    counts = np.array([table[site] for site in sorted(table)], dtype=float)
    named = {site: (table[site][0], table[site][1]) for site in sorted(table)}
    if len(counts) < 2 or not counts.sum(axis=0).all():
        return Confounding(0.0, named)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return Confounding(float(np.sqrt(chi_square / counts.sum())), named)


def scans_of(prepared: Sequence[PreparedCase], shape: Size, *, within_label: bool = False) -> Scans:
    """Prepared cases as scans of one shape; images are read when asked for.

    Args:
        prepared: Of both groups.
        shape: Voxels per axis.
        within_label: Blank everything outside the masks.

    Returns:
        The scans, with every attribute that some case has.
    """
    names = sorted({name for item in prepared for name in item.case.attributes})
    return Scans(
        [_Windowed(item, shape, within_label) for item in prepared],
        np.array([group_of(item.case) for item in prepared], dtype=bool),
        [item.case.patient_id for item in prepared],
        [item.case.site or "" for item in prepared],
        {name: column_of([item.case.attributes.get(name) for item in prepared]) for name in names},
        [item.case.case_id for item in prepared],
    )


def within_mask(image: Image, mask: Any, *, name: str) -> Image:
    """An image with everything outside a mask at its darkest value.

    Args:
        image: (channels, i, j, k).
        mask: (i, j, k); inside where above 0.
        name: Of the case or file, for the message.

    Returns:
        Same shape.

    Raises:
        VolumeError: The mask is empty.
    """
    if not np.any(np.asarray(mask) > 0):
        raise VolumeError(f"{name}: the mask that restricts the image must not be empty. Leave the case out, or mend its mask.")
    return np.where(np.asarray(mask) > 0, image, image.reshape(len(image), -1).min(1)[:, None, None, None])


def fixed_window(image: Image, shape: Size) -> Image:
    """The middle of an image, cut and padded to one shape.

    Args:
        image: (channels, i, j, k).
        shape: Voxels per axis.

    Returns:
        (channels, *shape); outside the image each channel's minimum.
    """
    window = np.empty((len(image), *shape), dtype=np.float32)
    window[:] = image.reshape(len(image), -1).min(axis=1)[:, None, None, None]
    inside, place = _overlap(image.shape[1:], shape)
    window[(slice(None), *place)] = image[(slice(None), *inside)]
    return window


def placed_back(window: FloatArray, shape: Sequence[int]) -> FloatArray:
    """The inverse of ``fixed_window`` for a map: what lies in the image, 0 elsewhere.

    Args:
        window: (i, j, k) of the window.
        shape: Of the image.

    Returns:
        (*shape).
    """
    image = np.zeros(tuple(shape), dtype=window.dtype)
    inside, place = _overlap(shape, window.shape)
    image[inside] = window[place]
    return image


def window_grid(grid: Grid, shape: Size) -> Grid:
    """Where the voxels of ``fixed_window`` lie in the body.

    Args:
        grid: Of the image.
        shape: Of the window.

    Returns:
        The window's grid.
    """
    inside, place = _overlap(grid.shape, shape)
    offset = np.array([a.start - b.start for a, b in zip(inside, place, strict=True)], dtype=float)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ offset
    return Grid(tuple(shape), affine)


class _Windowed:
    """One image, read and cut when an array is asked for."""

    def __init__(self, item: PreparedCase, shape: Size, within_label: bool) -> None:
        self.item, self.shape, self.within_label = item, shape, within_label

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        image = np.asarray(self.item.image)
        if self.within_label:
            if self.item.label is None:
                raise ManifestError(f"case {self.item.case.case_id} must have a mask for `image.within_label`, got none.")
            image = within_mask(image, self.item.label, name=f"case {self.item.case.case_id}")
        return fixed_window(image, self.shape)


def _overlap(shape: Sequence[int], window: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where image and centred window overlap: in the image, and in the window."""
    inside, place = [], []
    for n, m in zip(shape, window, strict=True):
        size = min(n, m)
        first, second = (n - size) // 2, (m - size) // 2
        inside.append(slice(first, first + size))
        place.append(slice(second, second + size))
    return tuple(inside), tuple(place)


def column_of(values: list[Any]) -> Any:
    """An attribute's values as an array.

    Args:
        values: One per case, ``None`` where unknown.

    Returns:
        Floats with ``nan``, or texts with the empty text, where unknown.
    """
    numbers = all(value is None or (isinstance(value, int | float) and not isinstance(value, str)) for value in values)
    if numbers:
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(["" if value is None else str(value) for value in values])
