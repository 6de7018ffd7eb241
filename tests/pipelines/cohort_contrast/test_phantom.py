from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from pipelines.cohort_contrast.phantom import BrainCohort, write_brain_cohort
from pipelines.cohort_contrast.subjects import site_confounding
from segsuite.data.manifest import Manifest
from segsuite.files import hash_of_file


def test_a_cohort_has_groups_sites_repeats_attributes_and_lesions_where_it_says(heads: tuple[Path, Manifest]) -> None:
    folder, manifest = heads
    assert {case.group for case in manifest.training} == {"healthy", "diseased"}
    assert len({case.patient_id for case in manifest.training}) == 12
    assert len(manifest.training) > 12
    for case in manifest.training:
        mask = np.asarray(nib.load(folder / str(case.label)).dataobj)
        image = nib.load(folder / str(case.image))
        assert image.header.get_zooms() == (8.0, 8.0, 8.0)
        if case.group == "healthy":
            assert not mask.any()
            assert "octant" not in case.attributes
        else:
            centre = np.argwhere(mask).mean(axis=0) - 7.5
            octant = sum(bit for bit, at in zip((1, 2, 4), centre, strict=True) if at > 0)
            assert octant == case.attributes["octant"]


def test_the_same_seed_gives_the_same_bytes_and_sites_can_be_confounded(tmp_path: Path) -> None:
    asked = BrainCohort(4, 2, 16, 0.0, 1.0, 3)
    first, second = (write_brain_cohort(tmp_path / name, asked) for name in ("a", "b"))
    for case in first.training:
        assert hash_of_file(tmp_path / "a" / str(case.image)) == hash_of_file(tmp_path / "b" / str(case.image))
    assert first == second
    assert site_confounding(first.training).is_too_much
