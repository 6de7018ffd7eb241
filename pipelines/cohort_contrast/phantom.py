"""Phantom heads as NIfTI: ventricles that widen with age in everyone, one lesion in the diseased, two sites, repeat scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.data.splits import split_by_patient
from segsuite.files import make_folder
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_image, write_mask

__all__ = ["BrainCohort", "write_brain_cohort"]

FIELD_MM = 128.0


@dataclass(frozen=True)
class BrainCohort:
    """What to make; see ``settings.BrainSettings``."""

    n_per_group: int
    n_folds: int
    size: int
    repeat_share: float
    site_share: float
    seed: int


def write_brain_cohort(folder: Path, cohort: BrainCohort) -> Manifest:
    """Make the cohort; the manifest is written last, so that a folder with one is complete.

    Args:
        folder: Gets ``images/``, ``labels/`` (lesions) and ``manifest.json``.
        cohort: What to make.

    Returns:
        The manifest: per case its group, site, session, and the attributes ``age``, ``octant``, ``lesion_size``,
        ``lesion_gain`` (the last three of the diseased only).
    """
    make_folder(folder / "images")
    make_folder(folder / "labels")
    cases: list[Case] = []
    for number in range(2 * cohort.n_per_group):
        cases += _write_subject(folder, cohort, number, diseased=number >= cohort.n_per_group)
    manifest = Manifest(
        name="phantom_heads",
        description=f"{2 * cohort.n_per_group} parametric heads made by segsuite, seed {cohort.seed}",
        licence="CC0-1.0",
        source="made by seed",
        channels={"0": "T1w"},
        labels={"background": 0, "lesion": 1},
        training=split_by_patient(cases, n_folds=cohort.n_folds, seed=cohort.seed, labels_present={}),
    )
    write_manifest(folder / "manifest.json", manifest)
    return manifest


def _write_subject(folder: Path, cohort: BrainCohort, number: int, *, diseased: bool) -> list[Case]:
    draw = keyed_generator(cohort.seed, "head", number)
    site = int(draw.random() < (cohort.site_share if diseased else 1 - cohort.site_share))
    age = float(draw.uniform(0, 1))
    anatomy, lesion, facts = _anatomy(draw, cohort.size, age, diseased)
    cases = []
    spacing_mm = FIELD_MM / cohort.size
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = -spacing_mm * (cohort.size - 1) / 2
    grid = Grid((cohort.size,) * 3, affine)
    for scan in range(1 + int(draw.random() < cohort.repeat_share)):
        image, mask = _acquired(keyed_generator(cohort.seed, "scan", number, scan), anatomy, lesion, site)
        name = f"head_{number:04d}_scan{scan}"
        like = Volume(image[None], grid)
        write_image(folder / "images" / f"{name}.nii.gz", image, like=like)
        write_mask(folder / "labels" / f"{name}.nii.gz", mask.astype(np.uint8), like=like)
        cases.append(
            Case(
                image=f"images/{name}.nii.gz",
                label=f"labels/{name}.nii.gz",
                case_id=name,
                patient_id=f"S{number:04d}",
                site=f"site_{site}",
                group="diseased" if diseased else "healthy",
                session=f"scan{scan}",
                attributes={"age": round(age, 4), **facts},
            )
        )
    return cases


def _anatomy(draw: np.random.Generator, n: int, age: float, diseased: bool) -> tuple[FloatArray, FloatArray, dict[str, float]]:
    x, y, z = (axis / ((n - 1) / 2) - 1 for axis in np.mgrid[:n, :n, :n].astype(float))
    a, b, c = draw.uniform(0.74, 0.80, 3) * (1, 1.1, 0.95)
    radius = (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2
    head = radius < 1
    image = 0.55 * head + 0.2 * (head & (radius > 0.80))
    width, length, height = np.array([0.06 + 0.18 * age, 0.22 + 0.2 * age, 0.12 + 0.14 * age]) * draw.uniform(0.95, 1.05)
    for side in (-0.2, 0.2):
        image[((x - side) / width) ** 2 + (y / length) ** 2 + (z / height) ** 2 < 1] = 0.12
    lesion = np.zeros_like(head)
    if not diseased:
        return image, lesion, {}
    octant = int(draw.integers(8))
    signs = np.array([1 if octant & bit else -1 for bit in (1, 2, 4)])
    at = signs * 0.38 + draw.uniform(-0.06, 0.06, 3)
    size, gain = float(draw.uniform(0.14, 0.26)), float(draw.uniform(0.2, 0.45))
    distance = np.sqrt((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2)
    lesion = (distance < size) & head
    image = image + gain * np.clip((size - distance) / 0.06 + 0.5, 0, 1) * head
    return image, lesion, {"octant": octant, "lesion_size": round(size, 4), "lesion_gain": round(gain, 4)}


def _acquired(draw: np.random.Generator, anatomy: FloatArray, lesion: FloatArray, site: int) -> tuple[FloatArray, FloatArray]:
    """One scan: moved by up to two voxels, seen by the site's scanner."""
    shift = draw.integers(-1, 2, size=3)
    image, mask = (np.roll(array, shift, axis=(0, 1, 2)) for array in (anatomy, lesion))
    field = ndimage.zoom(draw.normal(0, 1, (3, 3, 3)), anatomy.shape[0] / 3, order=1, grid_mode=True, mode="nearest")
    gain, bias, noise = ((1.0, 0.05, 0.03), (1.25, 0.10, 0.05))[site]
    image = gain * draw.uniform(0.9, 1.1) * image * np.exp(bias * field)
    if site:
        image = ndimage.gaussian_filter(image, 0.5)
    return (1000 * np.maximum(image + draw.normal(0, noise, image.shape), 0)).astype(np.float32), mask
