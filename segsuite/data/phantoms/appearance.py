"""T2w intensities of the phantom, as multiples of muscle, and the scanner that acquires them.

Tissue means are medians measured in two PROSTATEx cases, with spreads of our own choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segsuite.data.phantoms.anatomy import AFS, DPU, PZ, TZ, Anatomy
from segsuite.data.phantoms.fields import Coordinates, smooth_field
from segsuite.data.phantoms.pelvis import TISSUES
from segsuite.shapes import Spacing

__all__ = ["Scanner", "acquire", "draw_scanner", "draw_tissue_means", "paint"]

MEANS = {
    "fat": (4.8, 6.4), "muscle": (0.9, 1.2), "bone": (1.6, 3.4), "cortex": (0.4, 0.8), "levator": (1.0, 1.7),
    "plexus": (3.0, 8.0), "periprostatic": (2.0, 7.0), "apron": (1.2, 1.8), "bladder": (7.0, 9.0), "bladder_wall": (1.3, 2.4),
    "vesicles": (3.0, 7.5), "rectum_wall": (1.4, 2.5), "rectum_lumen": (0.3, 3.6), "sphincter": (1.1, 2.2),
    "bulb": (3.0, 6.0), "peripheral": (2.6, 7.5), "transition": (2.6, 4.6), "stroma": (1.1, 1.8),
    "urethra_wall": (2.0, 2.8), "urethra_core": (3.0, 5.0), "capsule": (1.4, 2.6), "lesion": (1.8, 3.0),
}  # fmt: skip
"""Lowest and highest mean of each tissue, in multiples of muscle."""
TEXTURE = {
    "fat": 0.05,
    "muscle": 0.14,
    "plexus": 0.35,
    "periprostatic": 0.30,
    "vesicles": 0.35,
    "rectum_lumen": 0.25,
    "bladder": 0.02,
}
"""Standard deviation of a tissue's texture relative to its mean, where it is not 0.08."""

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


def paint(
    points: Coordinates,
    anatomy: Anatomy,
    zones: NDArray[np.uint8],
    tissue: NDArray[np.uint8],
    outside_mm: Array,
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
        tissue: From ``pelvis.tissue_map``.
        outside_mm: Signed distance to the gland's surface, negative inside.
        means: From ``draw_tissue_means``.
        draw: Source of randomness.
        lesion: Where a lesion is.

    Returns:
        Multiples of muscle, float32.
    """
    texture = 0.7 * smooth_field(zones.shape, draw, cells=24) + 0.7 * smooth_field(zones.shape, draw, cells=40)
    streaks = smooth_field(zones.shape, draw, cells=14)
    image = _surroundings(tissue, means, texture, streaks)
    mottle, patches = draw.uniform(0.06, 0.2), draw.uniform(0.0, 0.45)
    image = np.where(zones == PZ, means["peripheral"] * (1 + mottle * texture - patches * (streaks > 1.2)), image)
    image = np.where(zones == TZ, means["transition"] * (1 + draw.uniform(0.08, 0.28) * texture), image)
    _paint_nodules(image, points, zones, anatomy, means, draw)
    image = np.where(zones == AFS, means["stroma"] * (1 + 0.12 * texture), image)
    x, y, z = points
    centre = 0.12 * anatomy.half_axes[1] + anatomy.urethra_tilt * (z - anatomy.veru)
    core = x**2 + (y - centre) ** 2 < (0.5 * anatomy.urethra_radius) ** 2
    image = np.where(zones == DPU, np.where(core, means["urethra_core"], means["urethra_wall"]), image)
    border = ndimage.binary_dilation(zones == TZ) & (zones == PZ)
    image = np.where(border, means["capsule"], image)
    image = np.where((zones == PZ) & (outside_mm > -0.8), means["capsule"], image)
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


def _surroundings(tissue: NDArray[np.uint8], means: Mapping[str, float], fine: Array, coarse: Array) -> Array:
    """Intensities outside the gland: every tissue's mean with its own texture."""
    mean = np.array([means[name] for name in TISSUES], dtype=np.float32)
    grain = np.array([TEXTURE.get(name, 0.08) for name in TISSUES], dtype=np.float32)
    image = mean[tissue] * (1 + grain[tissue] * fine)
    strands = np.abs(coarse) < 0.03  # vessels and septa in fat, fat between muscles
    image = np.where(strands & (tissue == TISSUES.index("fat")), 0.6 * image, image)
    return np.where(strands & (tissue == TISSUES.index("muscle")), 2.2 * image, image).astype(np.float32)


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
