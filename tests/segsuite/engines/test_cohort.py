from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segsuite.data.manifest import Case, read_manifest, write_manifest
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.cohort import open_cohort, whole_case_loader
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ManifestError, SettingsError


def quiet(doing: str, share: float, **numbers: float) -> None:
    pass


def data(**more: object) -> dict[str, Any]:
    return {"manifest": None, "data_root": None, "fold": None, "cache_dir": None, "phantom": None, **more}


def test_manifest_is_split_and_prepared(cohort_folder: Path, tmp_path: Path) -> None:
    values = data(manifest=str(cohort_folder / "manifest.json"), fold=1)
    cohort = open_cohort(values, RunFolder(tmp_path), workers=0, tell=quiet)
    training, held_out = cohort.prepare(Preprocessing(None, (Normalisation(),)), tell=quiet)
    assert (len(training), len(held_out)) == (4, 2)
    assert cohort.class_labels == (0, 1, 2, 3, 4)
    assert cohort.class_names[1] == "peripheral_zone"
    assert [case.case.case_id for case in whole_case_loader(held_out)] == [case.case_id for case in cohort.held_out]


def test_patient_on_both_sides_is_refused(cohort_folder: Path, tmp_path: Path) -> None:
    text = (cohort_folder / "manifest.json").read_text().replace('"P0001"', '"P0000"').replace('"P0002"', '"P0000"')
    (tmp_path / "m.json").write_text(text)
    values = data(manifest=str(tmp_path / "m.json"), data_root=str(cohort_folder), fold=0)
    with pytest.raises(ManifestError, match="A patient must be on one side of a split only"):
        open_cohort(values, RunFolder(tmp_path), workers=0, tell=quiet)


def test_no_cases_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give --manifest M.json"):
        open_cohort(data(), RunFolder(tmp_path), workers=0, tell=quiet)


def test_unlabelled_cases_of_held_out_patients_are_left_out(cohort_folder: Path, tmp_path: Path) -> None:
    manifest = read_manifest(cohort_folder / "manifest.json")
    held_out = next(case for case in manifest.training if case.fold == 0)
    bare = [Case(image=held_out.image, case_id="a", patient_id=held_out.patient_id), Case(image=held_out.image, case_id="b")]
    update = {"training": [*manifest.training, *bare], "data_root": str(cohort_folder)}
    write_manifest(tmp_path / "m.json", manifest.model_copy(update=update))
    cohort = open_cohort(data(manifest=str(tmp_path / "m.json"), fold=0), RunFolder(tmp_path), workers=0, tell=quiet)
    assert [case.case_id for case in cohort.unlabelled] == ["b"]
    prepared = cohort.prepare_unlabelled(Preprocessing(None, (Normalisation(),)))
    assert [case.label for case in prepared] == [None]
    cohort.prepare(Preprocessing(None, (Normalisation(),)), tell=quiet)
    assert cohort.prepare_unlabelled(Preprocessing(None, (Normalisation(),))) == [], "b is a copy of a held-out image"


def test_regions_are_classes_only_where_a_pipeline_trains_them(cohort_folder: Path, tmp_path: Path) -> None:
    regions = {"regions": {"gland": [1, 2, 3, 4], "stroma": [4]}, "regions_class_order": [1, 4]}
    manifest = read_manifest(cohort_folder / "manifest.json").model_copy(update={**regions, "data_root": str(cohort_folder)})
    write_manifest(tmp_path / "m.json", manifest)
    told: list[str] = []

    def tell(doing: str, share: float, **numbers: float) -> None:
        told.append(doing)

    values, run = data(manifest=str(tmp_path / "m.json"), fold=0), RunFolder(tmp_path)
    trained = open_cohort(values, run, workers=0, tell=tell, with_regions=True)
    assert trained.class_regions is not None
    assert trained.class_regions.names == ("gland", "stroma")
    assert told == []
    plain = open_cohort(values, run, workers=0, tell=tell)
    assert plain.class_regions is None
    assert told == ["phantom_prostates: training the single labels, not the regions gland, stroma"]
