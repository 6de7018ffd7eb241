"""The parametric prostate: implicit surfaces in mm, from a draw of its parameters to a label per point.

Frame: x left, y posterior, z superior, origin at the gland's centre. Parameters and their distributions are our own
model of published zone sizes (Chen 2019; Sellers 2021; Turkbey 2012), not a published phantom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segsuite.data.phantoms.fields import Coordinates, smooth_field

__all__ = [
    "AFS",
    "DPU",
    "PZ",
    "SURROUNDINGS",
    "TZ",
    "ZONES",
    "Anatomy",
    "draw_anatomy",
    "gland_distance_mm",
    "section_scale",
    "zone_map",
]

PZ, TZ, DPU, AFS = 1, 2, 3, 4
ZONES = {"peripheral_zone": PZ, "transition_zone": TZ, "distal_prostatic_urethra": DPU, "anterior_fibromuscular_stroma": AFS}
SURROUNDINGS = {"bladder": 5, "rectum": 6, "muscle": 7, "seminal_vesicles": 8}

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Anatomy:
    """One prostate. Lengths in mm.

    Attributes:
        volume_ml: Gland volume that was drawn.
        half_axes: Half width (LR), depth (AP), height (CC).
        taper: How much wider the base is than the apex.
        groove: Depth of the rectal groove.
        veru: Height of the verumontanum.
        urethra_radius: Of the DPU.
        urethra_tilt: Tangent of its sagittal tilt.
        stroma_depth: Thickness of the AFS in the midline.
        stroma_width: Half width of the AFS.
        transition_share: Share of the gland that is TZ.
        lobe_sizes: Left and right size factors of the TZ.
    """

    volume_ml: float
    half_axes: tuple[float, float, float]
    taper: float
    groove: float
    veru: float
    urethra_radius: float
    urethra_tilt: float
    stroma_depth: float
    stroma_width: float
    transition_share: float
    lobe_sizes: tuple[float, float]


def draw_anatomy(draw: np.random.Generator) -> Anatomy:
    """Parameters of a random prostate of a man in the age of prostate MRI.

    Args:
        draw: Source of randomness.

    Returns:
        The anatomy; gland volume between 25 and 130 ml.
    """
    volume = float(np.clip(draw.lognormal(np.log(45), 0.42), 25, 130))
    ratio_ap, ratio_cc = draw.normal(0.72, 0.05), draw.normal(0.80, 0.06)
    a = (3000 * volume / (4 * np.pi * ratio_ap * ratio_cc)) ** (1 / 3)
    b, c = ratio_ap * a, ratio_cc * a
    thin = draw.random() < 0.07
    depth = 2.0 if thin else draw.uniform(3.5, 8.0) * (45 / volume) ** 0.15
    share = float(np.clip(0.30 + 0.30 * np.log(volume / 25) + draw.normal(0, 0.06), 0.2, 0.78))
    side = draw.uniform(-0.075, 0.075)
    return Anatomy(
        volume_ml=volume,
        half_axes=(float(a), float(b), float(c)),
        taper=draw.uniform(0.10, 0.22),
        groove=draw.uniform(1.5, 3.5),
        veru=float(-c + draw.normal(12, 1.5)),
        urethra_radius=draw.uniform(3.0, 4.5),
        urethra_tilt=float(np.tan(np.radians(draw.uniform(0, 15)))),
        stroma_depth=float(depth),
        stroma_width=draw.uniform(0.35, 0.50) * float(a),
        transition_share=share,
        lobe_sizes=(1 + side, 1 - side),
    )


def warped(points: Coordinates, draw: np.random.Generator, *, amplitude_mm: float = 1.5) -> Coordinates:
    """Coordinates after a smooth random displacement; one warp deforms tissue and labels alike.

    Args:
        points: x, y, z in mm.
        draw: Source of randomness.
        amplitude_mm: Standard deviation of the displacement.

    Returns:
        Displaced x, y, z.
    """
    shape = np.broadcast_shapes(*(axis.shape for axis in points))
    moved = [axis + amplitude_mm * smooth_field(shape, draw, cells=5) for axis in points]
    return moved[0], moved[1], moved[2]


def gland_distance_mm(points: Coordinates, anatomy: Anatomy) -> Array:
    """About the signed distance to the gland's surface, negative inside.

    Args:
        points: x, y, z in mm.
        anatomy: The prostate.

    Returns:
        Millimetres; exact on the surface, approximate away from it.
    """
    x, y, z = points
    a, b, c = anatomy.half_axes
    section = section_scale(z, anatomy)
    back = np.where(y > 0, y + anatomy.groove * np.exp(-((x / (0.42 * a)) ** 2)), y)
    radius = np.sqrt((x / (a * section)) ** 2 + (back / (b * section)) ** 2)
    in_plane = (radius - 1) * b * section
    beyond = np.abs(z) - c
    return np.where(beyond > 0, np.maximum(in_plane, beyond), in_plane).astype(np.float32)


def zone_map(points: Coordinates, anatomy: Anatomy) -> NDArray[np.uint8]:
    """The zone of every point: a partition of the gland with priority DPU, AFS, TZ, PZ.

    Args:
        points: x, y, z in mm.
        anatomy: The prostate.

    Returns:
        0 outside the gland, else 1 PZ, 2 TZ, 3 DPU, 4 AFS.
    """
    x, y, z = points
    a, b, c = anatomy.half_axes
    outside_mm = gland_distance_mm(points, anatomy)
    gland = (outside_mm < 0) & (np.abs(z) < c)
    zones = np.where(gland, PZ, 0).astype(np.uint8)
    rim = (outside_mm < -1.0) | (z > 0.6 * c)
    allowed = gland & rim & (z > anatomy.veru - 2)
    zones[allowed & _transition(points, anatomy, allowed, int(gland.sum()))] = TZ
    section = section_scale(z, anatomy)
    front = -b * section * np.sqrt(np.clip(1 - (x / (a * section)) ** 2, 0, 1))
    depth = anatomy.stroma_depth * np.clip(1 - (x / anatomy.stroma_width) ** 2, 0, 1) * (1 - 0.25 * np.abs(z / c))
    zones[gland & (y < front + depth) & (z > -0.7 * c)] = AFS
    centre = 0.12 * b + anatomy.urethra_tilt * (z - anatomy.veru)
    tube = x**2 + (y - centre) ** 2 < anatomy.urethra_radius**2
    zones[gland & tube & (z < anatomy.veru)] = DPU
    return zones


def section_scale(z: Array, anatomy: Anatomy) -> Array:
    """Scale of the gland's axial section at a height.

    Args:
        z: mm.
        anatomy: The prostate.

    Returns:
        Above zero; nearly zero beyond apex and base.
    """
    relative = np.clip(z / anatomy.half_axes[2], -1.0, 1.0)
    return np.maximum((1 - relative**2) ** 0.425 * (1 + anatomy.taper * relative), 1e-3).astype(np.float32)


def _transition(points: Coordinates, anatomy: Anatomy, allowed: NDArray[np.bool_], n_gland: int) -> NDArray[np.bool_]:
    """The TZ at the size that makes its share of the gland, by bisection on a quarter of the points."""
    thinned = tuple(axis[::2, ::2] for axis in np.broadcast_arrays(*points))
    part = (thinned[0], thinned[1], thinned[2])
    low, high = 0.3, 2.5
    for _ in range(9):
        size = (low + high) / 2
        share = np.count_nonzero(_lobes(part, anatomy, size) & allowed[::2, ::2]) * 4 / max(n_gland, 1)
        low, high = (size, high) if share < anatomy.transition_share else (low, size)
    return _lobes(points, anatomy, (low + high) / 2)


def _lobes(points: Coordinates, anatomy: Anatomy, size: float) -> NDArray[np.bool_]:
    x, y, z = points
    a, b, c = anatomy.half_axes
    height = anatomy.veru + 0.45 * (c - anatomy.veru)
    rise = (z - height) / (0.82 * c * size**0.7)
    rise = np.where(rise > 0, 0.30 * rise, rise)  # open towards the base
    depth = (y + 0.12 * b) / (0.74 * b * size)
    inside = (x / (0.30 * a * size)) ** 2 + (depth / 0.8) ** 2 + rise**2 < 1  # the bridge between the lobes
    for side, factor in zip((-1.0, 1.0), anatomy.lobe_sizes, strict=True):
        width = (x - side * 0.34 * a * np.sqrt(size)) / (0.46 * a * size * factor)
        inside = inside | (width**2 + (depth / factor) ** 2 + rise**2 < 1)
    return np.asarray(inside)
