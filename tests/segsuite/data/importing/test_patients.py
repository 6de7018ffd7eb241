from __future__ import annotations

import pytest

from segsuite.data.importing.patients import patients_by_folder, with_patient_pattern
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError


def patients(*paths: str) -> list[str | None]:
    found, _ = patients_by_folder({path: f"{path}.nii.gz" for path in paths})
    return [found.get(path) for path in paths]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("P0/2020_img", "P0/2021_img", "P1/2020_img"), ["P0", "P0", "P1"]),
        (("P0/2020/img", "P0/2021/img", "P1/2020/img"), ["P0", "P0", "P1"]),
        (("A/P0/ses-1/t1", "A/P0/ses-2/t1", "B/P0/ses-1/t1"), ["A/P0", "A/P0", "B/P0"]),
        (("images/P0/a", "images/P0/b", "images/P1/a"), ["P0", "P0", "P1"]),
        (("train/images/P0/a", "train/images/P0/b", "test/images/P1/a"), ["P0", "P0", "P1"]),
        (("P0/CT/img", "P0/MR/img", "P1/CT/img"), ["P0", "P0", "P1"]),
        (("CT/p1", "MR/p1", "CT/p2"), ["p1", "p1", None]),
        (
            ("r1/p1", "r2/p1", "r1/p2", "r2/p2", "r1/p3", "r2/p3", "r1/p4", "r2/p4", "r1/p5", "r2/p5", "r1/p6", "r2/p6"),
            [f"p{n}" for n in range(1, 7) for _ in "ab"],
        ),
        (("P0/img", "P1/img"), [None, None]),
        (("a", "b"), [None, None]),
        (("images/a", "images/b"), [None, None]),
        (("siteA/p1", "siteA/p2", "siteB/p3"), [None, None, None]),
        (("healthy/p1", "healthy/p2", "diseased/p3"), [None, None, None]),
    ],
    ids=lambda value: str(value[0]),
)
def test_folders_of_several_scans_are_patients(paths: tuple[str, ...], expected: list[str | None]) -> None:
    assert patients(*paths) == expected


def test_names_that_differ_in_a_time_only_are_asked_about() -> None:
    found, findings = patients_by_folder(
        {name: f"{name}.nii" for name in ("p1_pre", "p1_post", "p2_2020", "p2_2021", "p3_pre", "p4")}
    )
    assert found == {}
    assert findings[0].subjects == ("p1_pre", "p1_post", "p2_2020", "p2_2021")
    assert patients_by_folder({"a_1": "a_1.nii", "a_2": "a_2.nii"}) == ({}, [])


def test_visits_are_asked_about_where_a_name_comes_back_at_another_site_too() -> None:
    paths = [f"site{site}/p{patient}_visit{visit}" for site in "AB" for patient in (1, 2) for visit in (1, 2)]
    _, findings = patients_by_folder({path: f"{path}.nii" for path in paths})
    assert {finding.kind: len(finding.subjects) for finding in findings} == {
        "patients by name": 4,
        "perhaps scans of one patient": 8,
    }


def test_a_pattern_sees_the_whole_path() -> None:
    rows = [Case(image="P0/2020_img.nii.gz"), Case(image="P0/2021_img.nii.gz"), Case(image="P1/2020.nii.gz")]
    manifest = with_patient_pattern(Manifest(name="m", training=rows[:2], test=rows[2:]), r"^([^/]+)/")
    assert [case.patient_id for case in manifest.cases] == ["P0", "P0", "P1"]


def test_a_pattern_of_the_case_id_still_does() -> None:
    manifest = Manifest(name="m", training=[Case(image="imagesTr/s1_a_0000.nii.gz", case_id="s1_a")])
    assert with_patient_pattern(manifest, "^(s1)_").training[0].patient_id == "s1"


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "must be a regular expression"), ("(x)", "must match every case"), ("P", "one .group")]
)
def test_a_pattern_that_does_not_do_is_named(pattern: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        with_patient_pattern(Manifest(name="m", training=[Case(image="P0/a.nii")]), pattern)
