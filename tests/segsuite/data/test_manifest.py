from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from segsuite.data.manifest import Case, Manifest, case_name, read_manifest, write_manifest
from segsuite.errors import ManifestError

ROW = {"image": "i/a.nii.gz", "label": "l/a.nii.gz"}


def write(path: Path, **content: object) -> Path:
    path.write_text(json.dumps({"name": "m", "labels": {"background": 0, "x": 1}, "training": [ROW], **content}))
    return path


def test_ids_are_filled_in(tmp_path: Path) -> None:
    case = read_manifest(write(tmp_path / "m.json")).training[0]
    assert (case.case_id, case.patient_id) == ("a", "a")


def test_labels_are_accepted_in_both_directions(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "m.json", labels={"0": "background", "2": "y", "1": "x"}))
    assert manifest.labels == {"background": 0, "y": 2, "x": 1}
    assert manifest.structures == {1: "x", 2: "y"}


def test_round_trip(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "m.json", training=[{**ROW, "fold": 2, "site": "A"}], label_mapping={"255": 1}))
    write_manifest(tmp_path / "again.json", manifest)
    assert read_manifest(tmp_path / "again.json") == manifest


def test_ignore_label_is_no_structure() -> None:
    manifest = Manifest(name="m", labels={"background": 0, "x": 1, "unsure": 9}, ignore_label=9)
    assert manifest.structures == {1: "x"}


@pytest.mark.parametrize(
    ("file", "name"),
    [("a/b/t2_001.nii.gz", "t2_001"), ("case_0012.nii.gz", "case_0012"), ("c.NRRD", "c"), ("series_folder", "series_folder")],
)
def test_case_name_is_the_stem(file: str, name: str) -> None:
    assert case_name(file) == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"training": [{**ROW, "foldd": 1}]}, r"key `training.0.foldd` is unknown. Did you mean `fold`\?"),
        ({"lables": {}}, r"key `lables` is unknown. Did you mean `labels`\?"),
        ({"training": [{**ROW, "fold": "two"}]}, r"`training.0.fold`: .*got 'two'"),
        ({"training": [ROW, ROW]}, r"`case_id` must be unique, got \['a'\]"),
        ({"labels": {"x": 1}}, r"`labels` must name the background 0"),
        ({"labels": {"background": 0, "x": 1, "y": 1}}, r"its own integer, got \[1\] twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: dict[str, object], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(tmp_path / "m.json", **content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", r"must hold an object \{...\}, got a list"),
        (b"[" * 100_000, "nested at most"),
        (b'{"name": "a", "name": "b"}', "the key `name` twice"),
        (b"PK\x03\x04\xff\x00", "must be a text file"),
    ],
)
def test_what_is_no_manifest_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "m.json")


def test_a_windows_editor_saved_it(tmp_path: Path) -> None:
    write(tmp_path / "m.json", licence="x")
    (tmp_path / "m.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "m.json").read_bytes())
    assert read_manifest(tmp_path / "m.json").licence == "x"


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(ManifestError, match="must be JSON"):
        read_manifest(tmp_path / "m.json")


def test_split_holds_out_one_fold(cohort: Manifest) -> None:
    training, held_out = cohort.split(1)
    assert {case.fold for case in held_out} == {1}
    assert len(training) + len(held_out) == len(cohort.training)
    assert cohort.split(None)[1] == []
    with pytest.raises(ManifestError, match=r"must have fold 7, got folds \[0, 1, 2\]"):
        cohort.split(7)


def test_what_a_case_shows_must_be_declared() -> None:
    labels = {"background": 0, "pz": 1, "tz": 2}
    manifest = Manifest(name="m", labels=labels, training=[Case(image="a.nii.gz", label="b.nii.gz", labelled=["pz"])])
    assert manifest.training[0].labelled == ["pz"]
    with pytest.raises(ValidationError, match=r"`labelled` must name structures.*got \['urethra'\]"):
        Manifest(name="m", labels=labels, training=[Case(image="a.nii.gz", labelled=["urethra"])])


def test_unlabelled_cases_are_kept_apart() -> None:
    rows = [Case(image="a.nii.gz", label="l.nii.gz"), Case(image="b.nii.gz")]
    manifest = Manifest(name="m", labels={"background": 0, "x": 1}, training=rows)
    assert [case.case_id for case in manifest.unlabelled] == ["b"]
    assert [case.case_id for case in manifest.split(None)[0]] == ["a"]
