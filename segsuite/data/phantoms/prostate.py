"""One phantom prostate: image, zones and surroundings on a slightly oblique axial grid, like a T2w series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segsuite.data.phantoms.anatomy import PZ, TZ, ZONES, Anatomy, draw_anatomy, gland_distance_mm, warped, zone_map
from segsuite.data.phantoms.appearance import Scanner, acquire, draw_tissue_means, paint
from segsuite.data.phantoms.drawn import DrawnProstate
from segsuite.data.phantoms.fields import Coordinates, centred_coordinates, smooth_field
from segsuite.data.phantoms.pelvis import draw_pelvis, surroundings_of, tissue_map
from segsuite.seeding import keyed_generator
from segsuite.shapes import Size, Spacing
from segsuite.volumes.components import keep_largest_component
from segsuite.volumes.distances import signed_distance_mm
from segsuite.volumes.grid import Grid

__all__ = ["Phantom", "make_phantom", "perturb_as_rater"]

SLICES_PER_VOXEL = 3
RATER_OFFSET_MM = {1: 1.8, 2: 1.8, 3: 2.1, 4: 3.6}
"""Standard deviation of a rater's boundary per zone, chosen so that two raters agree about as published ones do."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """A case with its truth.

    Attributes:
        image: Counts (i, j, k), float32.
        zones: 0 background, 1 PZ, 2 TZ, 3 DPU, 4 AFS, (i, j, k); with surroundings also 5 to 8.
        lesion: Where the lesion is, (i, j, k); all false without one.
        grid: Shape and oblique affine.
        anatomy: What was drawn.
    """

    image: NDArray[np.float32]
    zones: NDArray[np.uint8]
    lesion: NDArray[np.bool_]
    grid: Grid
    anatomy: Anatomy


def make_phantom(
    seed: int,
    *,
    shape: Size,
    spacing_mm: Spacing,
    scanner: Scanner,
    scan: int = 0,
    with_lesion: bool = False,
    with_surroundings: bool = False,
    randomise: float = 0.0,
    shift_mm: Spacing = (3.0, 3.0, 3.0),
    drawn: DrawnProstate | None = None,
) -> Phantom:
    """A phantom by seed.

    Args:
        seed: Of the anatomy and, with ``scan``, of the acquisition.
        shape: Voxels along i (to the left), j (to the back), k (up).
        spacing_mm: Voxel size.
        scanner: The site.
        scan: A repeat scan has the same anatomy, another pose, texture of noise and bias.
        with_lesion: Put a lesion into the peripheral zone.
        with_surroundings: Also label bladder, rectum, muscle and seminal vesicles.
        randomise: See ``draw_tissue_means``.
        shift_mm: Largest distance of the gland from the field's centre along i, j, k.
        drawn: A mask that gives the shape; ``None``: the parametric prostate.

    Returns:
        The phantom, the same for the same arguments.
    """
    body, scan_draw = keyed_generator(seed, "anatomy"), keyed_generator(seed, "scan", scan)
    anatomy = draw_anatomy(body) if drawn is None else drawn.anatomy(body)
    shift = tuple(float(mm) for mm in scan_draw.uniform(-1, 1, size=3) * shift_mm)
    fine = (*shape[:2], shape[2] * SLICES_PER_VOXEL)
    fine_mm = (*spacing_mm[:2], spacing_mm[2] / SLICES_PER_VOXEL)
    points = centred_coordinates(fine, fine_mm, shift_mm=shift)
    moved = warped(points, body)
    if drawn is None:
        zones, outside_mm = zone_map(moved, anatomy), gland_distance_mm(moved, anatomy)
    else:
        zones = drawn.zones_at(moved, anatomy)
        outside_mm = -signed_distance_mm(zones > 0, fine_mm)
    tissue = tissue_map(moved, anatomy, draw_pelvis(body, anatomy), zones, outside_mm, body)
    lesion = _lesion(points, zones, body) if with_lesion else np.zeros(fine, dtype=bool)
    means = draw_tissue_means(body, randomise=randomise)
    ideal = paint(moved, anatomy, zones, tissue, outside_mm, means, body, lesion=lesion if with_lesion else None)
    image = acquire(ideal, scanner, scan_draw, spacing_mm=spacing_mm, slices_per_voxel=SLICES_PER_VOXEL)
    labels = _clean(_majority(zones), tuple(ZONES.values()))
    if with_surroundings:
        labels = np.where(labels == 0, _majority(surroundings_of(tissue, zones)), labels)
    tilt = np.radians(scan_draw.uniform(5, 18))
    return Phantom(image, labels, _majority(lesion.astype(np.uint8)) > 0, _grid(shape, spacing_mm, tilt), anatomy)


def perturb_as_rater(zones: NDArray[np.uint8], draw: np.random.Generator, *, spacing_mm: Spacing) -> NDArray[np.uint8]:
    """The zones as another rater would draw them: each boundary moved by a smooth random offset.

    Args:
        zones: 0 to 4, (i, j, k).
        draw: Source of randomness.
        spacing_mm: Voxel size.

    Returns:
        New zones; an absent zone stays absent.
    """
    best = np.full(zones.shape, -np.inf, dtype=np.float32)
    result = np.zeros_like(zones)
    for label in (0, *(value for value in RATER_OFFSET_MM if (zones == value).any())):
        inside = zones == label
        depth = signed_distance_mm(inside, spacing_mm, limit_mm=1e6)
        depth -= np.sign(depth) * min(spacing_mm) / 2  # the boundary lies half a voxel from the voxel centres
        offset = RATER_OFFSET_MM.get(label, 0.5)
        depth += offset * (smooth_field(zones.shape, draw, cells=5) + 0.5 * draw.normal())
        wins = depth > best
        result[wins] = label
        best = np.maximum(best, depth)
    return result


def _lesion(points: Coordinates, zones: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.bool_]:
    x, y, z = points
    candidates = np.argwhere((zones == PZ) & (np.broadcast_to(y, zones.shape) > 0))
    if not len(candidates):
        return np.zeros(zones.shape, dtype=bool)
    i, j, k = candidates[int(draw.integers(len(candidates)))]
    radius = draw.uniform(4, 8)
    squared = (x - x[i, 0, 0]) ** 2 + (y - y[0, j, 0]) ** 2 + ((z - z[0, 0, k]) * 0.8) ** 2
    return (squared < radius**2) & ((zones == PZ) | (zones == TZ))


def _majority(fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label of largest share among the sub-slices of each voxel; of equal ones the lower."""
    parts = fine.reshape(*fine.shape[:2], -1, SLICES_PER_VOXEL)
    values = np.unique(fine)
    shares = np.stack([(parts == value).sum(axis=3) for value in values])
    return values[shares.argmax(axis=0)]


def _clean(labels: NDArray[np.uint8], which: tuple[int, ...]) -> NDArray[np.uint8]:
    """One component per zone; what is cut off goes to the nearest zone that stays."""
    kept = np.zeros_like(labels)
    for label in which:
        kept[keep_largest_component(labels == label)] = label
    lost = (labels > 0) & (kept == 0)
    if lost.any():
        nearest = ndimage.distance_transform_edt(kept == 0, return_distances=False, return_indices=True)
        kept[lost] = kept[tuple(nearest)][lost]
    return kept


def _grid(shape: Size, spacing_mm: Spacing, tilt: float) -> Grid:
    """I to the left, j to the back, k up, tilted about the left-right axis; the isocentre in the middle."""
    cosine, sine = np.cos(tilt), np.sin(tilt)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2]])
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, affine)
