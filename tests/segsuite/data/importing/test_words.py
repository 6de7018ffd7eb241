from __future__ import annotations

import pytest

from segsuite.data.importing.words import is_session_word, is_split_word, kind_by_name, read_name, stem_of, word_set


@pytest.mark.parametrize(
    "path",
    [
        "scan_mask.nii.gz", "P1_lesion.nii", "sub-1_dseg.nii.gz", "a_roi.mha", "gt.nii.gz", "label03.nii.gz", "P1/liverMask.nrrd",
        "images/scan_seg.nii.gz", "labelsTr/a.nii.gz", "manual_masks/P1/scan.nii.gz", "seg_scan_1.nii.gz", "scans/seg_1.nii.gz",
        "P1/scan.seg.nrrd", "labels/image_001.nii.gz", "segmentations/liver.nii.gz", "lesion_001.nii.gz", "brainmask.nii.gz",
    ],
)  # fmt: skip
def test_masks_are_known_by_their_words(path: str) -> None:
    assert kind_by_name(path) == "mask"


@pytest.mark.parametrize(
    "path",
    [
        "scan.nii.gz",
        "P1/t2w.nii.gz",
        "imagesTr/a_0000.nii.gz",
        "images/lesion_001.nii.gz",
        "segmented_study/a.nii",
        "x/unmasked.nii",
    ],
)
def test_images_are_no_masks(path: str) -> None:
    assert kind_by_name(path) == "image"


def test_words_are_taken_out_and_separators_stay() -> None:
    assert [read_name(f"images/{stem}.nii.gz").image_plain for stem in ("img_1_2", "img_1-2", "1_2_img")] == ["1_2", "1-2", "1_2"]
    name = read_name("imagesTr/P1/CT_scan_07_0000.nii.gz")
    assert (name.folders, name.stem, name.bare, name.modalities) == (("P1",), "CT_scan_07", "CT_07", {"ct"})
    assert read_name("label_03.nii").mask_form == read_name("label03.nii").mask_form == "03"


def test_folders_of_time_and_modality_are_no_patients() -> None:
    assert all(is_session_word(part) for part in ("ses-1", "2021", "2021-03-04", "20210304", "T2w", "baseline", "visit2", "MR"))
    assert not any(is_session_word(part) for part in ("P0", "patient2021", "0001", "sub-01", "1234567"))
    assert is_split_word("Train")
    assert not is_split_word("P1")


def test_small_things() -> None:
    assert stem_of("scan.seg.nrrd") == "scan"
    assert word_set("a b a") == {"a", "b"}
