from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segsuite.data.manifest import read_manifest
from segsuite.data.phantoms.cohort import PhantomCohort, write_phantom_cohort
from segsuite.volumes.reading import read_labels

SMALL = PhantomCohort(n_cases=6, n_folds=2, shape=(24, 24, 8), spacing_mm=(4.0, 4.0, 8.0), n_scans=2, diseased_share=0.5)


def test_same_seed_same_bytes_over_one_process_or_two(tmp_path: Path) -> None:
    write_phantom_cohort(tmp_path / "a", SMALL, workers=1)
    write_phantom_cohort(tmp_path / "b", SMALL, workers=2)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 2 * 12 + 1
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_manifest_has_patients_sites_groups_and_attributes(tmp_path: Path) -> None:
    manifest = write_phantom_cohort(tmp_path, SMALL)
    assert read_manifest(tmp_path / "manifest.json") == manifest
    assert len({case.patient_id for case in manifest.training}) == 6
    assert {case.session for case in manifest.training} == {"scan0", "scan1"}
    assert {case.group for case in manifest.training} == {"healthy", "diseased"}
    for case in manifest.training:
        assert (case.attributes["lesion_ml"] > 0) <= (case.group == "diseased")
    folds = {case.patient_id: case.fold for case in manifest.training}
    assert all(folds[case.patient_id] == case.fold for case in manifest.training)


def test_regions_are_declared_around_the_zones(tmp_path: Path) -> None:
    manifest = write_phantom_cohort(tmp_path, replace(SMALL, n_cases=2, n_scans=1, with_regions=True))
    assert read_manifest(tmp_path / "manifest.json") == manifest
    assert manifest.region_set is not None
    assert manifest.regions["gland"] == sorted(manifest.structures)
    assert set(manifest.regions["inner gland"]) < set(manifest.regions["gland"])


def test_unlabelled_share_and_surroundings(tmp_path: Path) -> None:
    cohort = replace(SMALL, n_scans=1, unlabelled_share=0.5, with_surroundings=True, rater_noise=True)
    manifest = write_phantom_cohort(tmp_path, cohort)
    labelled = [case for case in manifest.training if case.label]
    assert 0 < len(labelled) < 6
    assert "bladder" in manifest.labels
    assert read_labels(tmp_path / str(labelled[0].label)).labels.max() > 4


def test_protocols_differ_between_patients_and_not_between_their_scans(tmp_path: Path) -> None:
    cohort = replace(SMALL, vary_protocol=True, n_folds=0, n_cases=4)
    manifest = write_phantom_cohort(tmp_path, cohort)
    grids = {case.case_id: read_labels(tmp_path / str(case.label)).grid for case in manifest.training}
    first = [grids[case.case_id] for case in manifest.training if case.session == "scan0"]
    second = [grids[case.case_id] for case in manifest.training if case.session == "scan1"]
    assert len({grid.shape for grid in first}) > 1
    assert [grid.shape for grid in first] == [grid.shape for grid in second]
    fields = [grid.shape[0] * grid.spacing_mm[0] for grid in first]
    assert max(fields) - min(fields) < 8  # about the field that was asked for, 96 mm
