from __future__ import annotations

import pytest

from segsuite.data.importing.structures import find_structures, match_structures
from segsuite.errors import ManifestError


def found(images: list[str], masks: list[str]) -> dict[str, dict[str, str]]:
    return find_structures(images, masks)


def test_a_folder_of_organs_beside_each_image() -> None:
    masks = [f"s{n}/segmentations/{organ}.nii.gz" for n in (1, 2) for organ in ("liver", "spleen", "rib_left_1")]
    assert found(["s1/ct.nii.gz", "s2/ct.nii.gz"], masks) == {
        f"s{n}/ct.nii.gz": {organ: f"s{n}/segmentations/{organ}.nii.gz" for organ in ("liver", "spleen", "rib_left_1")}
        for n in (1, 2)
    }


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/s{n}.nii", "labels/s{n}/{organ}.nii"),
        ("images/s{n}/ct.nii", "labels/s{n}/{organ}.nii"),
        ("s{n}/mr.nii", "s{n}/masks/{organ}_mask.nii"),
    ],
)
def test_other_places_of_the_same(image: str, mask: str) -> None:
    masks = [mask.format(n=n, organ=organ) for n in (1, 2) for organ in ("liver", "spleen")]
    groups = found([image.format(n=n) for n in (1, 2)], masks)
    assert {name: sorted(files) for name, files in groups.items()} == {image.format(n=n): ["liver", "spleen"] for n in (1, 2)}


@pytest.mark.parametrize(
    "masks",
    [
        ["s1/labels/rater1.nii", "s1/labels/rater2.nii"],
        ["s1/labels/manual.nii", "s1/labels/auto.nii"],
        ["s1/labels/1.nii", "s1/labels/2.nii"],
        ["s1/labels/lesion_1.nii", "s1/labels/lesion_2.nii"],
        ["s1/labels/ct.nii", "s1/labels/liver.nii"],
        ["s1/liver_mask.nii", "s1/spleen_mask.nii"],
    ],
    ids=lambda masks: masks[0],
)
def test_raters_and_copies_are_no_structures(masks: list[str]) -> None:
    assert found(["s1/ct.nii"], masks) == {}


def test_two_images_of_a_folder_do_not_share_structures() -> None:
    assert found(["s1/ct.nii", "s1/mr.nii"], ["s1/masks/liver.nii", "s1/masks/spleen.nii"]) == {}


class TestPattern:
    images = ["images/s1_0000.nii", "images/s2_0000.nii"]

    def test_case_and_structure_are_read_from_the_path(self) -> None:
        paths = ["seg/liver/s1.nii", "seg/spleen/s1.nii", "seg/liver/s2.nii", "seg/readme.nii"]
        assert match_structures("seg/{structure}/{case}.nii", self.images, paths) == {
            "images/s1_0000.nii": {"liver": "seg/liver/s1.nii", "spleen": "seg/spleen/s1.nii"},
            "images/s2_0000.nii": {"liver": "seg/liver/s2.nii"},
        }

    @pytest.mark.parametrize(
        ("pattern", "paths", "message"),
        [
            ("seg/{case}.nii", ["seg/s1.nii"], r"must hold \{structure\}"),
            ("seg/{case}_{structure}.nii", ["seg/x.nii"], "matches none of 1 files"),
            (
                "seg/{case}_{structure}.nii",
                ["seg/s9_liver.nii"],
                "one image for each mask, got `s9` of seg/s9_liver.nii, which fits none",
            ),
            (
                "*/{case}_{structure}.nii",
                ["a/s1_x.nii", "b/s1_x.nii"],
                "each structure once a case, got a/s1_x.nii and b/s1_x.nii",
            ),
        ],
    )
    def test_what_does_not_fit_is_named(self, pattern: str, paths: list[str], message: str) -> None:
        with pytest.raises(ManifestError, match=message):
            match_structures(pattern, self.images, paths)
