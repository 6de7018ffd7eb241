from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.engines.label_names import match_labels, with_structures
from segsuite.engines.pairing import find_pairs
from segsuite.engines.pairs import NO_STRUCTURE, Pair, Pairing
from segsuite.errors import ManifestError


def test_names_count_before_numbers() -> None:
    mapping, notes = match_labels({1: "liver", 5: "kidney"}, {1: "liver", 2: "kidney", 5: "spleen"})
    assert mapping == {5: 2, 2: NO_STRUCTURE}, "a 2 that the predictions do not name is no kidney"
    assert notes == ["predictions and references number their labels differently (kidney is 5 and 2): taken by name"]


def test_swapped_numbers() -> None:
    assert match_labels({1: "a", 2: "b"}, {1: "b", 2: "a"})[0] == {1: 2, 2: 1}


def test_writing_does_not_matter_unless_it_tells_two_apart() -> None:
    assert match_labels({1: "Left Kidney", 2: "liver"}, {7: "left_kidney", 2: "liver"})[0] == {1: 7, 7: NO_STRUCTURE}
    mapping, notes = match_labels({1: "Cyst", 2: "liver"}, {3: "cyst", 4: "CYST", 2: "liver"})
    assert mapping == {}
    assert notes == []


def test_equal_tables_say_nothing() -> None:
    assert match_labels({1: "a", 2: "b"}, {1: "a", 2: "b"}) == ({}, [])
    assert match_labels({1: "a"}, {1: "a", 2: "b"}) == ({}, [])


def test_other_names_of_one_number_are_taken_by_number_and_said() -> None:
    mapping, notes = match_labels({1: "PZ", 2: "gland"}, {1: "peripheral zone", 2: "gland"})
    assert mapping == {}
    assert notes == ["labels whose names differ in predictions and references are taken by number: 1 is PZ and peripheral zone"]
    mapping, notes = match_labels({1: "PZ"}, {1: "peripheral zone"})
    assert mapping == {}
    assert "no label has one name in predictions and references (1 PZ; 1 peripheral zone): taken by number" in notes


def test_a_label_whose_number_is_another_structure_s_is_none_of_them() -> None:
    """The predictions call 3 `bowel`; in the references 3 is the kidney, which the predictions call 1."""
    assert match_labels({1: "kidney", 3: "bowel"}, {3: "kidney"})[0] == {1: 3, 3: NO_STRUCTURE}


def segmentation(path: Path, segments: dict[int, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.array([[[0, *segments]]], dtype=np.uint8))
    for number, (value, name) in enumerate(segments.items()):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(image, str(path))
    return path


def test_each_segmentation_file_numbers_its_names_anew(tmp_path: Path) -> None:
    for name, segments in (("p1", {1: "prostate", 2: "tumour"}), ("p2", {1: "tumour", 2: "prostate"})):
        segmentation(tmp_path / "r" / f"{name}.seg.nrrd", segments)
        segmentation(tmp_path / "p" / f"{name}.seg.nrrd", {5: "tumour", 1: "prostate"})
    pairing = with_structures(find_pairs(tmp_path / "p", tmp_path / "r"))
    assert pairing.structures == {1: "prostate", 2: "tumour"}
    assert [dict(pair.mapping) for pair in pairing.pairs] == [{}, {1: 2, 2: 1}]
    assert [dict(pair.predicted_mapping) for pair in pairing.pairs] == [{5: 2, 2: NO_STRUCTURE}] * 2


def test_references_without_names_bear_those_of_the_predictions(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    mask = np.array([[[0, 1, 2]]], dtype=np.uint8)
    for side in ("p", "r"):
        write_nifti(tmp_path / side / "a.nii.gz", mask)
    (tmp_path / "p" / "labels.tsv").write_text("index\tname\n1\tliver\n")
    pairing = with_structures(find_pairs(tmp_path / "p", tmp_path / "r"))
    assert pairing.structures == {1: "liver", 2: "label 2"}
    assert pairing.notes == ["the references do not name their labels: they bear the names of the predictions"]


def test_mappings_of_a_manifest_and_of_names_are_one_after_the_other() -> None:
    pair = Pair("a", "a", Path("r.nii"), Path("p.nii"), mapping={10: 1})
    pairing = Pairing([pair], {1: "liver", 2: "kidney"}, None, {1: "kidney", 2: "liver"}, {10: 1, 20: 2})
    mapped = with_structures(pairing).pairs[0]
    assert dict(mapped.predicted_mapping) == {1: 2, 2: 1, 10: 2, 20: 1}
    assert dict(mapped.mapping) == {10: 1}


def test_many_pairs_share_one_mapping() -> None:
    """Memory must not grow by a table per case."""
    pairs = [Pair(f"c{n}", f"c{n}", Path("r.nii"), Path("p.nii")) for n in range(3)]
    mapped = with_structures(Pairing(pairs, {1: "a", 2: "b"}, None, {1: "b", 2: "a"})).pairs
    assert len({id(pair.predicted_mapping) for pair in mapped}) == 1


def test_references_that_show_nothing_need_names(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    for side in ("p", "r"):
        write_nifti(tmp_path / side / "a.nii.gz", np.zeros((2, 2, 2), dtype=np.uint8))
    with pytest.raises(ManifestError, match="got 1 masks that hold nothing but 0. Name them with --labels"):
        with_structures(find_pairs(tmp_path / "p", tmp_path / "r"))
    assert with_structures(find_pairs(tmp_path / "p", tmp_path / "r"), {1: "lesion"}).structures == {1: "lesion"}
    (tmp_path / "p" / "labels.tsv").write_text("index\tname\n1\tlesion\n")
    assert with_structures(find_pairs(tmp_path / "p", tmp_path / "r")).structures == {1: "lesion"}


def test_a_scan_among_the_references_is_said(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    parcels = np.arange(1, 61, dtype=np.uint8).reshape(3, 4, 5).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    scan = np.random.default_rng(0).integers(60, 200, (8, 8, 8), dtype=np.uint8)
    for case, array in (("P1", parcels), ("P2", scan)):
        write_nifti(tmp_path / "r" / case / "a.nii.gz", array)
        write_nifti(tmp_path / "p" / case / "a.nii.gz", array)
    notes = with_structures(find_pairs(tmp_path / "p", tmp_path / "r")).notes
    assert [note for note in notes if "look like images" in note] == [
        "references that look like images, each grey level of which is a structure here: P2/a. Move them away"
    ]


def test_numbers_mean_nothing_where_references_have_a_file_per_structure(
    tmp_path: Path, write_nifti: Callable[..., Path]
) -> None:
    mask = np.ones((2, 2, 2), dtype=np.uint8)
    for case in ("s1", "s2"):
        for name in ("liver", "spleen"):
            write_nifti(tmp_path / "r" / case / f"{name}.nii.gz", mask)
        write_nifti(tmp_path / "p" / f"{case}.nii.gz", mask)
    pairing = find_pairs(tmp_path / "p", tmp_path / "r")
    found = with_structures(pairing).pairs[0]
    assert found.predicted is None
    assert "must name its labels, because" in found.reason
    assert with_structures(pairing, {1: "spleen", 2: "liver"}).pairs[0].predicted is not None
    (tmp_path / "p" / "labels.tsv").write_text("index\tname\n1\tspleen\n2\tliver\n")
    found = with_structures(find_pairs(tmp_path / "p", tmp_path / "r")).pairs[0]
    assert dict(found.predicted_mapping) == {1: 2, 2: 1}
