from __future__ import annotations

import os
from pathlib import Path

import pytest

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.engines.label_names import with_structures
from segsuite.engines.pairing import find_pairs
from segsuite.errors import ManifestError
from tests.folders import touch


def paired(predictions: Path, references: Path) -> dict[str, str | None]:
    pairs = find_pairs(predictions, references).pairs
    return {p.case_id: None if p.predicted is None else p.predicted.relative_to(predictions).as_posix() for p in pairs}


def test_same_name_in_the_same_place(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "a.nii.gz", "c.nii.gz", "a_probability_0.nii.gz")
    references = touch(tmp_path / "r", "a.nii.gz", "b.nii.gz")
    assert paired(predictions, references) == {"a": "a.nii.gz", "b": None}


def test_a_missing_prediction_is_never_filled_by_another_patient_s(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "p1/t2w.nii.gz")
    references = touch(tmp_path / "r", "p1/t2w.nii.gz", "p2/t2w.nii.gz")
    assert paired(predictions, references) == {"p1/t2w": "p1/t2w.nii.gz", "p2/t2w": None}
    elsewhere = touch(tmp_path / "q", "other/t2w.nii.gz")
    assert paired(elsewhere, references) == {"p1/t2w": None, "p2/t2w": None}


def test_other_places_and_endings_and_nnunet_names(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "deep/a.nrrd", "b_0000.nii.gz")
    references = touch(tmp_path / "r", "a.nii.gz", "b.nii.gz")
    assert paired(predictions, references) == {"a": "deep/a.nrrd", "b": "b_0000.nii.gz"}


def test_a_name_that_is_no_utf8_is_one_case_in_a_manifest_and_in_a_folder(tmp_path: Path) -> None:
    name = os.fsdecode(b"K\xf6ln")
    try:
        folder = touch(tmp_path / "masks", f"{name}.nii.gz")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    row = Case(image=f"images/{name}.nii.gz", label=f"masks/{name}.nii.gz", case_id="KxF6ln", patient_id=name)
    write_manifest(tmp_path / "m.json", Manifest(name="m", training=[row]))
    for predictions, references in ((folder, tmp_path / "m.json"), (tmp_path / "m.json", folder)):
        (pair,) = find_pairs(predictions, references).pairs
        assert (pair.case_id, pair.predicted) == ("KxF6ln", folder / f"{name}.nii.gz")
        pair.patient_id.encode()


def reasons(predictions: Path, references: Path) -> dict[str, str]:
    return {pair.case_id: pair.reason for pair in find_pairs(predictions, references).pairs}


def test_two_predictions_of_one_name_are_none_and_both_are_named(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "x/a.nii.gz", "y/a.nii.gz")
    references = touch(tmp_path / "r", "a.nii.gz")
    assert paired(predictions, references) == {"a": None}
    assert "but several that may be meant: x/a.nii.gz, y/a.nii.gz" in reasons(predictions, references)["a"]


def test_two_files_of_one_prediction_are_refused(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "a.nii.gz", "a.nrrd", "b.nii", "unasked.nii", "unasked.mha")
    with pytest.raises(ManifestError, match=r"several files of 1 cases \(a: a.nii.gz, a.nrrd\)"):
        find_pairs(predictions, touch(tmp_path / "r", "a.nii.gz", "b.nii.gz"))


def test_masks_called_map_pair(tmp_path: Path) -> None:
    names = ["label_map_01.nii.gz", "p2.nii.gz", "p2_map_final.nii.gz", "x_probability_map_2.nii.gz"]
    found = paired(touch(tmp_path / "p", *names), touch(tmp_path / "r", *names))
    assert sorted(filter(None, found.values())) == names


def test_a_segmentation_pairs_with_its_scan_s_name(tmp_path: Path) -> None:
    assert paired(touch(tmp_path / "p", "p1.nii.gz"), touch(tmp_path / "r", "p1.seg.nrrd")) == {"p1": "p1.nii.gz"}


def test_two_masks_are_a_pair_whatever_they_are_called(tmp_path: Path) -> None:
    pair = find_pairs(touch(tmp_path, "model.nii.gz") / "model.nii.gz", touch(tmp_path, "rater.mha") / "rater.mha").pairs[0]
    assert (pair.case_id, pair.predicted) == ("rater", tmp_path / "model.nii.gz")


def test_an_image_s_name_that_is_another_case_s_id_pairs_nothing(tmp_path: Path) -> None:
    """Case `x` was drawn on image b; case `b` is another one, and the only prediction is its own."""
    rows = [Case(image="b.nii", label="l/x.nii", case_id="x"), Case(image="c.nii", label="l/b.nii", case_id="b")]
    write_manifest(tmp_path / "m.json", Manifest(name="m", training=rows))
    pairs = find_pairs(touch(tmp_path / "p", "b.nii.gz"), tmp_path / "m.json").pairs
    assert [pair.predicted is not None for pair in pairs] == [True, False]


def test_accents_are_the_same_however_a_file_system_stores_them(tmp_path: Path) -> None:
    composed, apart = "M\u00fcller_1.nii.gz", "Mu\u0308ller_1.nii.gz"
    predictions, references = touch(tmp_path / "p", apart), touch(tmp_path / "r", composed)
    assert paired(predictions, references) == {"M\u00fcller_1": apart}
    row = Case(image=f"i/{apart}", label=f"r/{composed}", case_id="Mu\u0308ller_1")
    write_manifest(tmp_path / "m.json", Manifest(name="m", training=[row]))
    assert [pair.predicted for pair in find_pairs(touch(tmp_path / "q", composed), tmp_path / "m.json").pairs] == [
        tmp_path / "q" / composed
    ]


def test_one_file_that_two_references_may_mean_is_neither_s(tmp_path: Path) -> None:
    rows = [Case(image="i/y_0000.nii", label="l/u.nii", case_id="one"), Case(image="i/z.nii", label="l/y.nii", case_id="two")]
    write_manifest(tmp_path / "m.json", Manifest(name="m", training=rows))
    pairs = find_pairs(touch(tmp_path / "p", "q/y_0000.nii.gz"), tmp_path / "m.json").pairs
    assert [pair.predicted for pair in pairs] == [None, None]
    assert "y_0000.nii.gz fits several references" in pairs[0].reason


def test_what_is_not_scored_and_what_is_near_are_said(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "case_1_seg.nii.gz", "case_2.nii.gz")
    references = touch(tmp_path / "r", "case_1.nii.gz", "case_2.nii.gz")
    assert reasons(predictions, references)["case_1"] == "no prediction of this name (the nearest is `case_1_seg`)"
    assert find_pairs(predictions, references).notes == ["predictions without a reference are not scored: case_1_seg"]


def test_a_folder_of_structures_is_the_prediction_of_a_label_map(tmp_path: Path) -> None:
    rows = [Case(image=f"{name}.nii", label=f"l/{name}.nii", case_id=name) for name in ("s1", "s2")]
    write_manifest(tmp_path / "m.json", Manifest(name="m", labels={"background": 0, "Liver": 1}, training=rows))
    pairs = find_pairs(touch(tmp_path / "p", "s1/liver.nii.gz", "s1/aorta.nii.gz", "s2/notes.nii.gz"), tmp_path / "m.json").pairs
    assert sorted(pairs[0].predicted_files) == ["aorta", "liver"]
    assert not pairs[1].predicted_files


def test_manifest_pairs_by_case_id_or_image_name(cohort_folder: Path, tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "phantom_0001.nii.gz", "images/phantom_0002.nii.gz")
    pairing = find_pairs(predictions, cohort_folder / "manifest.json")
    assert [pair.predicted is not None for pair in pairing.pairs] == [False, True, True, False, False, False]
    assert pairing.structures[1] == "peripheral_zone"
    assert pairing.pairs[0].patient_id == "P0000"
    assert len(find_pairs(predictions, cohort_folder / "manifest.json", fold=0).pairs) == 2


def test_structures_are_those_of_the_references(cohort_folder: Path) -> None:
    pairing = with_structures(find_pairs(cohort_folder / "labels", cohort_folder / "labels"))
    assert pairing.structures == {n: f"label {n}" for n in (1, 2, 3, 4)}


def test_a_link_to_itself_is_a_case_that_fails(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "a.nii.gz").symlink_to("a.nii.gz")
    assert paired(touch(tmp_path / "p", "a.nii.gz"), tmp_path / "r") == {"a": "a.nii.gz"}


class TestFoldersInsideEachOther:
    """A reference that is taken for its own prediction would be perfect."""

    def test_references_inside_the_folder_of_predictions(self, tmp_path: Path) -> None:
        references = touch(tmp_path / "all" / "ref", "a.nii.gz", "b.nii.gz")
        touch(tmp_path / "all", "pred/a.nii.gz")
        found = find_pairs(tmp_path / "all", references)
        assert [pair.predicted and pair.predicted.parent.name for pair in found.pairs] == ["pred", None]
        assert found.notes == ["2 masks among the predictions are the references themselves and predict nothing"]

    def test_references_of_a_manifest_and_links_to_them(self, tmp_path: Path) -> None:
        touch(tmp_path, "labels/a.nii.gz", "pred/b.nii.gz")
        (tmp_path / "pred" / "a.nii.gz").symlink_to(tmp_path / "labels" / "a.nii.gz")
        write_manifest(tmp_path / "m.json", Manifest(name="m", training=[Case(image="i/a.nii.gz", label="labels/a.nii.gz")]))
        for folder in (tmp_path, tmp_path / "pred"):
            assert find_pairs(folder, tmp_path / "m.json").pairs[0].predicted is None

    def test_predictions_inside_the_folder_of_references(self, tmp_path: Path) -> None:
        references = touch(tmp_path / "ref", "a.nii.gz", "masks/a.nii.gz", "masks/b.nii.gz")
        assert paired(references / "masks", references) == {"a": "a.nii.gz"}
        (references / "a.nii.gz").unlink()
        with pytest.raises(ManifestError, match="must hold references beside"):
            find_pairs(references / "masks", references)

    def test_references_against_themselves_are_what_somebody_wants(self, tmp_path: Path) -> None:
        folder = touch(tmp_path / "labels", "a.nii.gz")
        assert paired(folder, folder) == {"a": "a.nii.gz"}
        write_manifest(tmp_path / "m.json", Manifest(name="m", training=[Case(image="i/a.nii.gz", label="labels/a.nii.gz")]))
        found = find_pairs(folder, tmp_path / "m.json")
        assert found.pairs[0].predicted == folder / "a.nii.gz"
        assert found.notes == ["the predictions are the references themselves"]


class TestRefusals:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="must be a folder or a manifest"):
            find_pairs(tmp_path, tmp_path / "gone")

    def test_no_references(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="must hold reference masks, got none"):
            find_pairs(tmp_path, tmp_path)
