"""What lies around the prostate, since a network that never saw it finds prostates everywhere.

Levator and obturator muscles, pubis and its rami, bladder, seminal vesicles, rectum, sphincter and bulb, venous plexus,
fat; in the frame of ``anatomy``. Proportions are our own, by eye from T2w series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segsuite.data.phantoms.anatomy import SURROUNDINGS, Anatomy, section_scale
from segsuite.data.phantoms.fields import Coordinates, smooth_field

__all__ = ["SURROUNDING_TISSUES", "TISSUES", "Pelvis", "draw_pelvis", "surroundings_of", "tissue_map"]

TISSUES = (
    "fat", "muscle", "bone", "cortex", "levator", "plexus", "periprostatic", "apron", "bladder", "bladder_wall", "vesicles",
    "rectum_wall", "rectum_lumen", "sphincter", "urethra_core", "bulb",
)  # fmt: skip
"""Index in this tuple is the tissue's code."""
CODE = {name: code for code, name in enumerate(TISSUES)}
SURROUNDING_TISSUES = {
    "bladder": ("bladder", "bladder_wall"),
    "rectum": ("rectum_wall", "rectum_lumen"),
    "muscle": ("muscle", "levator", "sphincter"),
    "seminal_vesicles": ("vesicles",),
}
"""Which tissues make up each structure of ``SURROUNDINGS``."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pelvis:
    """Sizes of what surrounds one prostate, in mm.

    Attributes:
        levator_gap: Between gland and levator.
        levator: Thickness of the levator.
        obturator_at: Where the obturator begins beside the gland's centre.
        obturator_slope: How much further out it is per mm towards the back.
        obturator: Thickness of the obturator.
        obturator_end: How far back it reaches.
        pubis_gap: Between the gland's front and the pubis.
        pubis_top: Height to which the pubis reaches.
        ramus_angle: Of the pubic rami to the midline, radians.
        bladder: Half axes.
        bladder_at: Centre relative to the gland's top in y and z.
        bladder_tilt: How much lower the bladder is in front.
        bladder_wall: Thickness.
        rectum: Radius below and above.
        rectum_wall: Thickness.
        rectum_side: Offset to the left.
        vesicle_depth: Half thickness of the seminal vesicles; small when atrophic.
        vesicle_height: Half height.
        sphincter: Radius of the urethral sphincter.
    """

    levator_gap: float
    levator: float
    obturator_at: float
    obturator_slope: float
    obturator: float
    obturator_end: float
    pubis_gap: float
    pubis_top: float
    ramus_angle: float
    bladder: tuple[float, float, float]
    bladder_at: tuple[float, float]
    bladder_tilt: float
    bladder_wall: float
    rectum: tuple[float, float]
    rectum_wall: float
    rectum_side: float
    vesicle_depth: float
    vesicle_height: float
    sphincter: float


def draw_pelvis(draw: np.random.Generator, anatomy: Anatomy) -> Pelvis:
    """Random surroundings that fit a prostate.

    Args:
        draw: Source of randomness.
        anatomy: The prostate.

    Returns:
        The pelvis.
    """
    a, b, c = anatomy.half_axes
    height = draw.uniform(10, 30)
    return Pelvis(
        levator_gap=draw.uniform(1.0, 5.0),
        levator=draw.uniform(2.5, 5.0),
        obturator_at=a + draw.uniform(9, 17),
        obturator_slope=draw.uniform(0.25, 0.55),
        obturator=draw.uniform(12, 20),
        obturator_end=draw.uniform(12, 32),
        pubis_gap=draw.uniform(5, 16),
        pubis_top=draw.uniform(0.1, 0.7) * c,
        ramus_angle=draw.uniform(0.6, 0.95),
        bladder=(draw.uniform(20, 42), draw.uniform(16, 34), height),
        bladder_at=(-0.3 * b - draw.uniform(2, 16), draw.uniform(0.5, 0.85) * height),
        bladder_tilt=draw.uniform(0.15, 0.55),
        bladder_wall=draw.uniform(2.0, 5.0),
        rectum=(draw.uniform(9, 13), draw.uniform(10, 22)),
        rectum_wall=draw.uniform(2.5, 4.5),
        rectum_side=draw.uniform(-6, 6),
        vesicle_depth=draw.uniform(3.0, 8.0),
        vesicle_height=draw.uniform(5.0, 10.0),
        sphincter=draw.uniform(5.5, 9.0),
    )


def tissue_map(
    points: Coordinates,
    anatomy: Anatomy,
    pelvis: Pelvis,
    zones: NDArray[np.uint8],
    outside_mm: Array,
    draw: np.random.Generator,
) -> NDArray[np.uint8]:
    """The tissue of every point outside the gland, painted from far to near.

    Args:
        points: x, y, z in mm.
        anatomy: The prostate.
        pelvis: What surrounds it.
        zones: From ``zone_map`` or a drawn mask.
        outside_mm: Signed distance to the gland's surface, negative inside.
        draw: Source of randomness, for a displacement that grows away from the gland.

    Returns:
        Codes of ``TISSUES``; fat inside the gland, where it does not count.
    """
    gland = outside_mm
    moved = _displaced(points, gland, draw)
    tissue = np.full(zones.shape, CODE["fat"], dtype=np.uint8)
    _paint_walls_of_the_pelvis(tissue, moved, anatomy, pelvis)
    _paint_levator(tissue, moved, anatomy, pelvis, gland)
    _paint_below_the_apex(tissue, moved, anatomy, pelvis)
    _paint_vesicles(tissue, moved, anatomy, pelvis)
    _paint_bladder(tissue, moved, anatomy, pelvis)
    _paint_rectum(tissue, moved, anatomy, pelvis)
    y = points[1]
    front = y < -0.45 * anatomy.half_axes[1]
    soft = np.isin(tissue, (CODE["fat"], CODE["periprostatic"]))
    tissue[soft & front & (gland < 7)] = CODE["plexus"]
    tissue[front & (gland < 2.2)] = CODE["apron"]
    tissue[zones > 0] = CODE["fat"]
    return tissue


def surroundings_of(tissue: NDArray[np.uint8], zones: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The named structures around the gland.

    Args:
        tissue: From ``tissue_map``.
        zones: From ``zone_map``.

    Returns:
        0 where none of them is, else the numbers of ``SURROUNDINGS``.
    """
    table = np.zeros(len(TISSUES), dtype=np.uint8)
    for name, parts in SURROUNDING_TISSUES.items():
        table[[CODE[part] for part in parts]] = SURROUNDINGS[name]
    return np.where(zones > 0, 0, table[tissue]).astype(np.uint8)


def _displaced(points: Coordinates, gland: Array, draw: np.random.Generator) -> Coordinates:
    """Irregular shapes away from the gland, none at its surface, where neighbours must keep touching it."""
    away = 3.0 * np.clip(gland / 15, 0, 1)
    moved = [(axis + away * smooth_field(gland.shape, draw, cells=5)).astype(np.float32) for axis in points]
    return moved[0], moved[1], moved[2]


def _back(z: Array, anatomy: Anatomy) -> Array:
    """Where the gland's back surface is in the midline; beyond its ends the nearest that has some depth."""
    depth = anatomy.half_axes[1] * np.maximum(section_scale(z, anatomy), 0.45)
    return np.asarray(depth - anatomy.groove)


def _rectum_axis(z: Array, anatomy: Anatomy, pelvis: Pelvis) -> tuple[Array, Array]:
    """Centre in y and radius of the rectum at height z."""
    low, high = pelvis.rectum
    radius = low + (high - low) / (1 + np.exp(-(z / anatomy.half_axes[2]) * 3))
    return np.asarray(_back(z, anatomy) + radius + 1.0), np.asarray(radius)


def _paint_walls_of_the_pelvis(tissue: NDArray[np.uint8], points: Coordinates, anatomy: Anatomy, pelvis: Pelvis) -> None:
    x, y, z = points
    b, c = anatomy.half_axes[1], anatomy.half_axes[2]
    side = np.abs(x)
    outward = side - pelvis.obturator_at - pelvis.obturator_slope * y
    upper = z > -c
    reach = y < pelvis.obturator_end
    tissue[upper & reach & (outward > 0) & (outward < pelvis.obturator)] = CODE["muscle"]
    tissue[upper & reach & (outward >= pelvis.obturator)] = CODE["bone"]
    tissue[upper & reach & (np.abs(outward - pelvis.obturator) < 1.2)] = CODE["cortex"]
    depth = -(y + b + pelvis.pubis_gap + 0.3 * side)
    at_pubis = (z < pelvis.pubis_top) & (z > -c - 6)
    tissue[at_pubis & (depth > 0) & (depth < 17) & (side < 42)] = CODE["bone"]
    outline = (np.abs(depth) < 1.2) | (np.abs(depth - 17) < 1.2) | (side < 2.0)
    tissue[at_pubis & (depth > -1.2) & (depth < 18) & (side < 42) & outline] = CODE["cortex"]
    tissue[at_pubis & (depth >= 18)] = CODE["muscle"]
    gluteus = (y > 42) & (side > 14) & (y - 42 > 0.5 * (48 - side))
    tissue[gluteus] = CODE["muscle"]


def _paint_levator(tissue: NDArray[np.uint8], points: Coordinates, anatomy: Anatomy, pelvis: Pelvis, gland: Array) -> None:
    x, y, z = points
    a, b, c = anatomy.half_axes
    scale = section_scale(z, anatomy)
    centre, radius = _rectum_axis(z, anatomy, pelvis)
    front, back = -b * np.maximum(scale, 0.5) - 5, centre + radius + 4
    middle, half = (front + back) / 2, (back - front) / 2
    width = np.maximum(np.maximum(a * scale, radius), 12) + pelvis.levator_gap + 0.9 * np.maximum(z - 0.35 * c, 0)
    ratio = np.sqrt((x / width) ** 2 + ((y - middle) / half) ** 2)
    outside = (ratio - 1) * np.minimum(width, half)
    level = z < 0.8 * c
    tissue[level & (outside < 0)] = CODE["periprostatic"]
    open_front = (y < front + 5) & (np.abs(x) < 9)
    tissue[level & (outside >= 0) & (outside < pelvis.levator) & ~open_front] = CODE["levator"]
    beside = (gland > 0) & (gland < 5) & (z > -c) & (z < c)
    tissue[beside & (tissue == CODE["fat"])] = CODE["periprostatic"]


def _paint_below_the_apex(tissue: NDArray[np.uint8], points: Coordinates, anatomy: Anatomy, pelvis: Pelvis) -> None:
    x, y, z = points
    b, c = anatomy.half_axes[1], anatomy.half_axes[2]
    below = z < -c - 3
    top = b + pelvis.pubis_gap - 4
    across = np.abs(x) * np.cos(pelvis.ramus_angle) - (y + top) * np.sin(pelvis.ramus_angle)
    tissue[below & (across > -5) & (across <= 0)] = CODE["muscle"]
    tissue[below & (across > 0) & (across < 8)] = CODE["bone"]
    tissue[below & ((np.abs(across) < 1.2) | (np.abs(across - 8) < 1.2))] = CODE["cortex"]
    tissue[below & (across >= 9)] = CODE["muscle"]
    from_urethra = np.sqrt(x**2 + (y - 0.12 * b) ** 2)
    tissue[(z < -0.85 * c) & (from_urethra < pelvis.sphincter)] = CODE["sphincter"]
    tissue[(z < -0.85 * c) & (from_urethra < 0.42 * pelvis.sphincter)] = CODE["urethra_core"]
    bulb = (x / 13) ** 2 + ((y + 2) / 9) ** 2 < 1
    tissue[(z < -c - 13) & bulb] = CODE["bulb"]


def _paint_vesicles(tissue: NDArray[np.uint8], points: Coordinates, anatomy: Anatomy, pelvis: Pelvis) -> None:
    x, y, z = points
    c = anatomy.half_axes[2]
    side = np.abs(x)
    centre = 0.55 * anatomy.half_axes[1] + 3 - 0.1 * side
    level = c + 3 + 0.15 * side
    inside = ((y - centre) / pelvis.vesicle_depth) ** 2 + ((z - level) / pelvis.vesicle_height) ** 2 + ((side - 18) / 19) ** 2 < 1
    tissue[inside] = CODE["vesicles"]


def _paint_bladder(tissue: NDArray[np.uint8], points: Coordinates, anatomy: Anatomy, pelvis: Pelvis) -> None:
    x, y, z = points
    wide, deep, high = pelvis.bladder
    at_y, at_z = pelvis.bladder_at
    lowered = z - anatomy.half_axes[2] - at_z - pelvis.bladder_tilt * (y - at_y)
    ratio = np.sqrt((x / wide) ** 2 + ((y - at_y) / deep) ** 2 + (lowered / high) ** 2)
    depth = (1 - ratio) * min(wide, deep, high)
    tissue[depth > -pelvis.bladder_wall] = CODE["bladder_wall"]
    tissue[depth > 0] = CODE["bladder"]


def _paint_rectum(tissue: NDArray[np.uint8], points: Coordinates, anatomy: Anatomy, pelvis: Pelvis) -> None:
    x, y, z = points
    c = anatomy.half_axes[2]
    centre, radius = _rectum_axis(z, anatomy, pelvis)
    side = pelvis.rectum_side * np.clip((z + c) / (2 * c), 0, 1)
    depth = (1 - np.sqrt(((x - side) / (1.1 * radius)) ** 2 + ((y - centre) / radius) ** 2)) * radius
    tissue[depth > 0] = CODE["rectum_wall"]
    canal = z < -0.8 * c  # the anal canal is closed, with thick muscle around it
    tissue[depth > np.where(canal, 0.75 * radius, pelvis.rectum_wall)] = CODE["rectum_lumen"]
    tissue[canal & (depth > 0) & (depth < 0.35 * radius)] = CODE["sphincter"]
