"""Small cohorts of pictures, made by seed, whose common and salient factors are known: what a method can be judged by.

A: digits on gratings (digits: the test set that comes with scikit-learn). B: slices of brain phantoms with a lesion. B': the
same, harder: a lesion of texture, anywhere, under strong changes of gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

from pipelines.cohort_contrast.scans import Scans
from pipelines.cohort_contrast.views import Views
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = ["BENCHES", "Bench", "brains", "digits_on_gratings"]

N_TRAINING_DIGITS = 1200
VENTRICLES = (0.09, 0.15, 0.21)


@dataclass(frozen=True)
class Bench:
    """Training and test scans, and which attributes belong to which space.

    Attributes:
        training: Half healthy, half diseased.
        test: The same, other subjects.
        common: Attributes that both groups vary in.
        salient: Attributes that only the diseased have.
        views: What a view may change.
        channels: Of a convolutional encoder that fits the pictures.
    """

    training: Scans
    test: Scans
    common: tuple[str, ...]
    salient: tuple[str, ...]
    views: Views
    channels: tuple[int, ...] = (16, 32, 64)


def digits_on_gratings(*, seed: int = 0, n_training: int = 2000, n_test: int = 500) -> Bench:
    """Bench A: the common factor is the grating's orientation (8 classes), the salient one the digit on it.

    Args:
        seed: Of everything.
        n_training: Per group.
        n_test: Per group; digits of other writers.

    Returns:
        16 x 16 pictures.
    """
    views = Views(0, 0, 0.125, gain=0.2, offset=0.1, gamma=0, bias=0, noise=0.05, blur=0)
    parts = [_gratings(keyed_generator(seed, "gratings", name), n, name) for name, n in (("train", n_training), ("test", n_test))]
    return Bench(parts[0], parts[1], ("orientation",), ("digit",), views)


def brains(*, seed: int = 0, n_training: int = 2000, n_test: int = 500, hard: bool = False) -> Bench:
    """Bench B, or B' if hard: the common factor is the ventricles' width (3 classes), the salient one the lesion's quadrant.

    Args:
        seed: Of everything.
        n_training: Per group.
        n_test: Per group.
        hard: The lesion changes texture, not brightness, lies anywhere in its quadrant, and the gain varies by 40 %.

    Returns:
        32 x 32 pictures.
    """
    views = Views(5, 0.03, 0.04, gain=0.2, offset=0.05, gamma=0, bias=0, noise=0.03, blur=0)
    parts = [
        _brains(keyed_generator(seed, "brains", name, hard), n, name, hard)
        for name, n in (("train", n_training), ("test", n_test))
    ]
    return Bench(parts[0], parts[1], ("ventricle",), ("quadrant",), views)


BENCHES: Mapping[str, Callable[..., Bench]] = {
    "A": digits_on_gratings,
    "B": brains,
    "Bhard": lambda **options: brains(hard=True, **options),
}


def _gratings(draw: np.random.Generator, n: int, part: str) -> Scans:
    digits, shown = load_digits(return_X_y=True)
    chosen = slice(0, N_TRAINING_DIGITS) if part == "train" else slice(N_TRAINING_DIGITS, None)
    pictures = np.stack(
        [ndimage.zoom(row.reshape(8, 8) / 16, 2, order=1, grid_mode=True, mode="nearest") for row in digits[chosen]]
    )
    kinds = shown[chosen]
    orientation = draw.integers(8, size=2 * n)
    angle = orientation * np.pi / 8 + np.radians(draw.normal(0, 2, 2 * n))
    frequency, phase = draw.uniform(0.12, 0.20, 2 * n), draw.uniform(0, 2 * np.pi, 2 * n)
    y, x = np.mgrid[:16, :16]
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    image = 0.5 * (0.5 + 0.5 * np.sin(2 * np.pi * frequency[:, None, None] * along + phase[:, None, None]))
    rows = draw.integers(len(kinds), size=n)
    image[n:] += 0.5 * pictures[rows]
    image += draw.normal(0, 0.02, image.shape)
    digit = np.concatenate([np.full(n, np.nan), kinds[rows]])
    return _scans(image, n, part, {"orientation": orientation.astype(float), "digit": digit})


def _brains(draw: np.random.Generator, n: int, part: str, hard: bool) -> Scans:
    y, x = (axis / 15.5 - 1 for axis in np.mgrid[:32, :32].astype(float))
    images, ventricle, quadrant = np.zeros((2 * n, 32, 32)), draw.integers(3, size=2 * n), draw.integers(4, size=2 * n)
    for row in range(2 * n):
        a, b = draw.uniform(0.72, 0.88, 2)
        tilt = draw.normal(0, 0.12)
        u, v = x * np.cos(tilt) + y * np.sin(tilt), -x * np.sin(tilt) + y * np.cos(tilt)
        radius = (u / a) ** 2 + (v / b) ** 2
        head = radius < 1
        image = 0.5 * head + 0.25 * (head & (radius > 0.82))
        width = VENTRICLES[ventricle[row]] * draw.uniform(0.93, 1.07)
        for side in (-0.16, 0.16):
            image[((u - side) / width) ** 2 + (v / 0.3) ** 2 < 1] = 0.1
        if row >= n:
            image += _lesion(draw, x, y, int(quadrant[row]), head, hard)
        gain = draw.uniform(0.6, 1.4) if hard else draw.uniform(0.85, 1.15)
        images[row] = gain * image + draw.normal(0, 0.03, image.shape)
    known = np.where(np.arange(2 * n) >= n, quadrant.astype(float), np.nan)
    return _scans(images, n, part, {"ventricle": ventricle.astype(float), "quadrant": known})


def _lesion(draw: np.random.Generator, x: FloatArray, y: FloatArray, quadrant: int, head: FloatArray, hard: bool) -> FloatArray:
    signs = np.array([1 if quadrant in (0, 3) else -1, 1 if quadrant in (0, 1) else -1])
    if hard:
        at = signs * draw.uniform(0.22, 0.55, 2)
        inside = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * draw.uniform(0.12, 0.18) ** 2))
        checks = np.where((np.indices(x.shape).sum(0) % 2) == 0, 1.0, -1.0)
        return 0.2 * np.sign(draw.normal()) * inside * checks * head
    at = signs * 0.42 + draw.normal(0, 0.04, 2)
    size, gain = 0.7 * draw.uniform(0.10, 0.20), draw.uniform(0.25, 0.45)
    return gain * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * size**2))


def _scans(images: FloatArray, n: int, part: str, attributes: dict[str, FloatArray]) -> Scans:
    subjects = [f"{part}_{row:05d}" for row in range(2 * n)]
    is_diseased = np.arange(2 * n) >= n
    return Scans(images[:, None].astype(np.float32), is_diseased, subjects, (), attributes, subjects)
