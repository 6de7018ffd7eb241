"""T2w intensities of the phantom, as multiples of muscle, and the scanner that acquires them.

Tissue means are medians measured in two PROSTATEx cases, with spreads of our own choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segsuite.data.phantoms.anatomy import AFS, DPU, PZ, SURROUNDINGS, TZ, Anatomy, gland_distance_mm
from segsuite.data.phantoms.fields import Coordinates, smooth_field
from segsuite.shapes import Spacing

__all__ = ["Scanner", "acquire", "draw_scanner", "draw_tissue_means", "paint", "surroundings_map"]

MEANS = {
    "fat": (5.5, 5.5), "muscle": (1.0, 1.0), "bone": (2.4, 3.4), "bladder": (8.4, 9.0), "bladder_wall": (2.0, 2.4),
    "rectum_wall": (2.1, 2.5), "rectum_lumen": (0.4, 3.2), "vesicles": (5.0, 7.5), "plexus": (4.5, 7.0),
    "apron": (1.2, 1.7), "levator": (1.3, 1.7), "peripheral": (5.0, 7.5), "transition": (3.2, 4.6), "stroma": (1.1, 1.8),
    "urethra_wall": (2.0, 2.8), "urethra_core": (3.5, 5.0), "capsule": (1.8, 2.4), "lesion": (2.3, 3.0),
}  # fmt: skip
"""Lowest and highest mean of each tissue, in multiples of muscle."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scanner:
    """How a site acquires.

    Attributes:
        gain: Counts per unit of muscle intensity.
        bias: Half of the peak-to-peak share by which the coil's field varies.
        noise: Standard deviation of the complex noise, in multiples of muscle.
        slice_jitter: Standard deviation of the gain between slices.
    """

    gain: float
    bias: float
    noise: float
    slice_jitter: float


def draw_scanner(draw: np.random.Generator) -> Scanner:
    """A random site.

    Args:
        draw: Source of randomness.

    Returns:
        Gain 40 to 250 counts, bias 8 to 25 %, noise 0.12 to 0.3 of muscle.
    """
    return Scanner(draw.uniform(40, 250), draw.uniform(0.08, 0.25), draw.uniform(0.12, 0.30), draw.uniform(0.01, 0.04))


def draw_tissue_means(draw: np.random.Generator, *, randomise: float) -> dict[str, float]:
    """Mean intensity per tissue for one case.

    Args:
        draw: Source of randomness.
        randomise: Standard deviation of the logarithm that every mean is changed by; 0 keeps to the measured ranges.

    Returns:
        Tissue to mean, in multiples of muscle.
    """
    return {tissue: float(draw.uniform(low, high) * np.exp(randomise * draw.normal())) for tissue, (low, high) in MEANS.items()}


def surroundings_map(points: Coordinates, anatomy: Anatomy, zones: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bladder, rectum, muscle and seminal vesicles around the gland.

    Args:
        points: x, y, z in mm.
        anatomy: The prostate.
        zones: From ``zone_map``; the gland is left out.

    Returns:
        0 where none of them is, else the numbers of ``SURROUNDINGS``.
    """
    x, y, z = points
    a, b, c = anatomy.half_axes
    distance = gland_distance_mm(points, anatomy)
    outer = zones == 0
    found = np.zeros(zones.shape, dtype=np.uint8)
    side = np.abs(x)
    obturator = ((side - a - 21) / 10) ** 2 + ((y + 4) / 36) ** 2 < 1
    levator = (distance > 2) & (distance < 5.5) & (z < 0.15 * c) & (side > 0.35 * a)
    sphincter = (z < -c) & (x**2 + (y - 0.12 * b) ** 2 < 9**2) & (z > -c - 12)
    found[outer & (obturator | levator | sphincter)] = SURROUNDINGS["muscle"]
    vesicles = ((side - 14) / 13) ** 2 + ((y - 0.5 * b - 2) / 5.5) ** 2 + ((z - c - 3) / 7) ** 2 < 1
    found[outer & vesicles] = SURROUNDINGS["seminal_vesicles"]
    height = anatomy.bladder_height
    bladder = (x / 30) ** 2 + ((y + 0.25 * b) / 22) ** 2 + ((z - c - height + 2) / height) ** 2 < 1
    found[outer & bladder & (distance > 0.5)] = SURROUNDINGS["bladder"]
    rectum = (x / (1.15 * anatomy.rectum_radius)) ** 2 + ((y - b - anatomy.rectum_radius - 1) / anatomy.rectum_radius) ** 2 < 1
    found[outer & rectum & (distance > 1.0)] = SURROUNDINGS["rectum"]
    return found


def paint(
    points: Coordinates,
    anatomy: Anatomy,
    zones: NDArray[np.uint8],
    around: NDArray[np.uint8],
    means: Mapping[str, float],
    draw: np.random.Generator,
    *,
    lesion: NDArray[np.bool_] | None,
) -> Array:
    """Noise-free intensity of every point.

    Args:
        points: x, y, z in mm.
        anatomy: The prostate.
        zones: From ``zone_map``.
        around: From ``surroundings_map``.
        means: From ``draw_tissue_means``.
        draw: Source of randomness.
        lesion: Where a lesion is.

    Returns:
        Multiples of muscle, float32.
    """
    texture = smooth_field(zones.shape, draw, cells=24)
    image = means["fat"] * (1 + 0.10 * texture)
    _paint_surroundings(image, points, anatomy, zones, around, means, texture, draw)
    streaks = smooth_field(zones.shape, draw, cells=14)
    image = np.where(zones == PZ, means["peripheral"] * (1 + 0.10 * texture - 0.25 * (streaks > 1.3)), image)
    image = np.where(zones == TZ, means["transition"] * (1 + 0.16 * texture), image)
    _paint_nodules(image, points, zones, anatomy, means, draw)
    image = np.where(zones == AFS, means["stroma"] * (1 + 0.12 * texture), image)
    x, y, z = points
    centre = 0.12 * anatomy.half_axes[1] + anatomy.urethra_tilt * (z - anatomy.veru)
    core = x**2 + (y - centre) ** 2 < (0.5 * anatomy.urethra_radius) ** 2
    image = np.where(zones == DPU, np.where(core, means["urethra_core"], means["urethra_wall"]), image)
    border = ndimage.binary_dilation(zones == TZ) & (zones == PZ)
    image = np.where(border, means["capsule"], image)
    distance = gland_distance_mm(points, anatomy)
    image = np.where((zones == PZ) & (distance > -0.8), means["capsule"], image)
    if lesion is not None:
        image = np.where(lesion, means["lesion"] * (1 + 0.05 * texture), image)
    return image.astype(np.float32)


def acquire(ideal: Array, scanner: Scanner, draw: np.random.Generator, *, spacing_mm: Spacing, slices_per_voxel: int) -> Array:
    """The image that a scanner makes of the ideal intensities: slice averaging, blur, coil bias, gain, Rician noise.

    Args:
        ideal: (i, j, k * slices_per_voxel), multiples of muscle.
        scanner: The site.
        draw: Source of randomness.
        spacing_mm: Voxel size of the result.
        slices_per_voxel: Sub-slices averaged into one.

    Returns:
        Counts (i, j, k), float32, at least 0.

    Source: Gudbjartsson and Patz, Magn. Reson. Med. 1995, doi:10.1002/mrm.1910340618 (Rician noise).
    """
    averaged = ideal.reshape(*ideal.shape[:2], -1, slices_per_voxel).mean(axis=3)
    in_plane = 0.28 / np.asarray(spacing_mm[:2])  # full width 0.65 mm
    blurred = ndimage.gaussian_filter(averaged, sigma=(*in_plane, 0), truncate=3)
    field = smooth_field(blurred.shape, draw, cells=3)
    coil = np.exp(scanner.bias * field / max(float(np.abs(field).max()), 1e-6))
    gain = 1 + scanner.slice_jitter * draw.normal(size=blurred.shape[2])
    signal = blurred * coil * gain
    noise = draw.normal(scale=scanner.noise, size=(2, *signal.shape))
    rician: Array = (np.hypot(signal + noise[0], noise[1]) * scanner.gain).astype(np.float32)
    return rician


def _paint_surroundings(
    image: Array,
    points: Coordinates,
    anatomy: Anatomy,
    zones: NDArray[np.uint8],
    around: NDArray[np.uint8],
    means: Mapping[str, float],
    texture: Array,
    draw: np.random.Generator,
) -> None:
    x, y, z = points
    b = anatomy.half_axes[1]
    distance = gland_distance_mm(points, anatomy)
    outer = zones == 0
    front = outer & (y < -0.45 * b) & (distance < 7)
    image[front] = (means["plexus"] * (1 + 0.25 * texture))[front]
    apron = outer & (y < -0.5 * b) & (distance < 2.5)
    image[apron] = (means["apron"] * (1 + 0.1 * texture))[apron]
    pubis = ((np.abs(x) - 17) / 15) ** 2 + ((y + b + 21) / 11) ** 2 + ((z + 4) / 22) ** 2
    image[outer & (pubis < 1)] = means["bone"]
    image[outer & (pubis > 0.85) & (pubis < 1.05)] = 0.5
    for name, tissue in (("muscle", "muscle"), ("seminal_vesicles", "vesicles"), ("bladder", "bladder")):
        inside = around == SURROUNDINGS[name]
        image[inside] = (means[tissue] * (1 + (0.3 if name == "seminal_vesicles" else 0.08) * texture))[inside]
    bladder, rectum = around == SURROUNDINGS["bladder"], around == SURROUNDINGS["rectum"]
    wall = np.ones((3, 3, 1), dtype=bool)
    image[bladder & ~ndimage.binary_erosion(bladder, structure=wall)] = means["bladder_wall"]
    image[rectum] = means["rectum_wall"]
    lumen = ndimage.binary_erosion(rectum, structure=wall, iterations=2)
    image[lumen] = means["rectum_lumen"]


def _paint_nodules(
    image: Array,
    points: Coordinates,
    zones: NDArray[np.uint8],
    anatomy: Anatomy,
    means: Mapping[str, float],
    draw: np.random.Generator,
) -> None:
    """4 to 15 nodules of the transition zone, stromal (dark) or glandular (bright), with dark rims."""
    x, y, z = points
    inside = np.argwhere(zones == TZ)
    for _ in range(int(draw.integers(4, 16)) if len(inside) else 0):
        i, j, k = inside[int(draw.integers(len(inside)))]
        radius = draw.uniform(2.5, 0.28 * anatomy.half_axes[0])
        stretch = draw.uniform(0.7, 1.4, size=3)
        level = means["transition"] * (draw.uniform(0.55, 0.8) if draw.random() < 0.5 else draw.uniform(1.25, 1.7))
        squared = (
            ((x - x[i, 0, 0]) * stretch[0]) ** 2 + ((y - y[0, j, 0]) * stretch[1]) ** 2 + ((z - z[0, 0, k]) * stretch[2]) ** 2
        )
        image[(zones == TZ) & (squared < radius**2)] = means["capsule"]
        image[(zones == TZ) & (squared < (radius - 0.9) ** 2)] = level
