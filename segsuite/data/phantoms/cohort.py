"""A cohort of phantoms on disk: NIfTI pairs and a manifest with patients, sites, groups, sessions and folds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.data.phantoms.anatomy import SURROUNDINGS, ZONES
from segsuite.data.phantoms.appearance import draw_scanner
from segsuite.data.phantoms.drawn import find_masks, read_drawn_prostate
from segsuite.data.phantoms.prostate import make_phantom, perturb_as_rater
from segsuite.data.splits import split_by_patient
from segsuite.files import make_folder
from segsuite.seeding import keyed_generator, keyed_seed
from segsuite.shapes import Size, Spacing
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_image, write_mask

__all__ = ["PhantomCohort", "write_phantom_cohort"]


REGIONS: dict[str, Any] = {
    "regions": {"gland": [1, 2, 3, 4], "inner gland": [2, 3, 4], "urethra": [3], "stroma": [4]},
    "regions_class_order": [1, 2, 3, 4],
}
"""Of the zones: structures within each other."""


@dataclass(frozen=True)
class PhantomCohort:
    """What to make.

    Attributes:
        n_cases: Patients.
        n_folds: Folds by patient; 0: none.
        shape: Voxels along i, j, k.
        spacing_mm: Voxel size.
        seed: Of everything.
        n_sites: Scanners with their own gain, bias and noise.
        diseased_share: Share of patients with a lesion.
        unlabelled_share: Share of patients without a mask.
        n_scans: Scans per patient.
        with_surroundings: Also label bladder, rectum, muscle and seminal vesicles.
        rater_noise: Masks as a human rater would draw them.
        randomise: Spread of tissue intensities; 0 keeps to the measured ranges.
        masks: Folder of zone masks (PZ 1, TZ 2, and if drawn DPU 3, AFS 4) that give the shapes, one after the other.
        with_regions: Declare the gland and its inner part as regions that contain the zones.
        vary_protocol: Each patient with a voxel size, a number of slices and a place of the gland of its own.
    """

    n_cases: int = 12
    n_folds: int = 4
    shape: Size = (64, 64, 24)
    spacing_mm: Spacing = (1.5, 1.5, 3.0)
    seed: int = 0
    n_sites: int = 2
    diseased_share: float = 0.0
    unlabelled_share: float = 0.0
    n_scans: int = 1
    with_surroundings: bool = False
    rater_noise: bool = False
    randomise: float = 0.0
    vary_protocol: bool = False
    masks: str | None = None
    with_regions: bool = False


def write_phantom_cohort(folder: Path, cohort: PhantomCohort, *, workers: int = 1) -> Manifest:
    """Make the cohort; the manifest is written last, so that a folder with one is complete.

    Args:
        folder: Gets ``images/``, ``labels/`` and ``manifest.json``.
        cohort: What to make.
        workers: Processes.

    Returns:
        The manifest.
    """
    make_folder(folder / "images")
    make_folder(folder / "labels")
    masks = [] if cohort.masks is None else find_masks(Path(cohort.masks))
    scans = [(patient, scan) for patient in range(cohort.n_cases) for scan in range(cohort.n_scans)]
    tasks = [(folder, cohort, patient, scan, masks[patient % len(masks)] if masks else None) for patient, scan in scans]
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            cases = list(pool.map(_write_case, tasks))
    else:
        cases = list(map(_write_case, tasks))
    structures = ZONES | (SURROUNDINGS if cohort.with_surroundings else {})
    present = {case.case_id: tuple(ZONES.values()) for case in cases if case.label}
    if cohort.n_folds:
        cases = split_by_patient(cases, n_folds=cohort.n_folds, seed=cohort.seed, labels_present=present)
    manifest = Manifest(
        name="phantom_prostates",
        description=f"{cohort.n_cases} parametric T2w prostates made by segsuite, seed {cohort.seed}",
        licence="CC0-1.0",
        source="segsuite.data.phantoms",
        channels={"0": "T2w"},
        labels={"background": 0, **structures},
        training=cases,
        **(REGIONS if cohort.with_regions else {}),
    )
    write_manifest(folder / "manifest.json", manifest)
    return manifest


def _write_case(task: tuple[Path, PhantomCohort, int, int, Path | None]) -> Case:
    folder, cohort, patient, scan, mask = task
    draw = keyed_generator(cohort.seed, "patient", patient)
    site = int(draw.integers(cohort.n_sites))
    diseased = bool(draw.random() < cohort.diseased_share)
    labelled = bool(draw.random() >= cohort.unlabelled_share)
    shape, spacing, shift = _protocol(cohort, patient)
    phantom = make_phantom(
        keyed_seed(cohort.seed, "phantom", patient),
        shape=shape,
        spacing_mm=spacing,
        shift_mm=shift,
        drawn=None if mask is None else read_drawn_prostate(mask),
        scanner=draw_scanner(keyed_generator(cohort.seed, "site", site)),
        scan=scan,
        with_lesion=diseased,
        with_surroundings=cohort.with_surroundings,
        randomise=cohort.randomise,
    )
    name = f"phantom_{patient:04d}" + (f"_scan{scan}" if cohort.n_scans > 1 else "")
    labels = phantom.zones
    if cohort.rater_noise:
        rated = perturb_as_rater(np.where(labels > 4, 0, labels), draw, spacing_mm=spacing)
        labels = np.where(rated > 0, rated, np.where(labels > 4, labels, 0)).astype(np.uint8)
    like = Volume(phantom.image[None], phantom.grid)
    write_image(folder / "images" / f"{name}.nii.gz", np.round(phantom.image).astype(np.int16), like=like)
    if labelled:
        write_mask(folder / "labels" / f"{name}.nii.gz", labels, like=like)
    return Case(
        image=f"images/{name}.nii.gz",
        label=f"labels/{name}.nii.gz" if labelled else None,
        case_id=name,
        patient_id=f"P{patient:04d}",
        site=f"site_{site}",
        group="diseased" if diseased else "healthy",
        session=f"scan{scan}" if cohort.n_scans > 1 else None,
        attributes=dict(_attributes(phantom.zones, float(phantom.lesion.sum()), phantom.grid.voxel_ml)),
    )


def _protocol(cohort: PhantomCohort, patient: int) -> tuple[Size, Spacing, Spacing]:
    """Shape, voxel size and largest shift of a patient's scans; the field in mm stays about the same."""
    i, j, k = cohort.shape
    if not cohort.vary_protocol:
        return (i, j, k), cohort.spacing_mm, (3.0, 3.0, 3.0)
    draw = keyed_generator(cohort.seed, "protocol", patient)
    finer, thicker = draw.uniform(0.8, 1.15), draw.choice([1.0, 1.0, 1.0, 1.2, 1.33])
    within, between = cohort.spacing_mm[0] * finer, cohort.spacing_mm[2] * thicker
    slices = max(8, round(k / thicker + draw.uniform(-3, 3)))
    shape = (round(i / finer), round(j / finer), slices)
    return shape, (within, within * cohort.spacing_mm[1] / cohort.spacing_mm[0], between), (6.0, 9.0, 9.0)


def _attributes(zones: np.ndarray, lesion_voxels: float, voxel_ml: float) -> Iterator[tuple[str, float]]:
    yield "gland_ml", round(float(((zones > 0) & (zones <= 4)).sum()) * voxel_ml, 3)
    for name, value in ZONES.items():
        yield f"{name}_ml", round(float((zones == value).sum()) * voxel_ml, 3)
    yield "lesion_ml", round(lesion_voxels * voxel_ml, 3)
