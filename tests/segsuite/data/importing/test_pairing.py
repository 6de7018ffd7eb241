from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from segsuite.data.importing.pairing import pair_by_ranks, pair_masks
from segsuite.data.importing.words import kind_by_name


def paired(*paths: str) -> tuple[dict[str, str], list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Pairs and questions of files without their ending."""
    files = [f"{path}.nii.gz" for path in paths]
    images = [path for path in files if kind_by_name(path) == "image"]
    found = pair_masks(images, [path for path in files if path not in images])

    def bare(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.removesuffix(".nii.gz") for name in names)

    pairs = {bare((image,))[0]: bare((mask,))[0] for image, mask in found.mask_of.items()}
    return pairs, [(bare(question.images), bare(question.masks)) for question in found.questions]


@pytest.mark.parametrize(
    "pairs",
    [
        {"P1/scan": "P1/scan_seg", "P2/scan": "P2/scan_seg", "P3/scan": "P3/scan_seg"},
        {"images/P1/scan": "labels/P1/scan", "images/P2/scan": "labels/P2/scan"},
        {"train/images/a": "train/labels/a", "val/images/a": "val/labels/a"},
        {"images/train/a": "masks/train/a", "images/val/a": "masks/val/a"},
        {"images/img_1_2": "labels/img_1_2", "images/img_1-2": "labels/img_1-2", "images/img_12": "labels/img_12"},
        {"CT_001": "CT_001_seg", "MR_001": "MR_001_seg"},
        {"scans/CT_001": "masks/CT_001", "scans/MR_001": "masks/MR_001"},
        {"P0/2020_img": "P0/2020_seg", "P0/2021_img": "P0/2021_seg"},
        {"volume-1": "segmentation-1", "volume-10": "segmentation-10"},
        {"image_03": "label_03", "image_30": "label_30"},
        {"img01": "mask01", "img1": "mask1"},
        {"P1/t2w": "P1/seg", "P2/t2w": "P2/seg"},
        {"P1/scan": "P1/liver_mask", "P2/scan": "P2/liver_mask"},
        {"P1_T2w": "P1_seg", "P2_T2w": "P2_seg"},
        {"imagesTr/a_0000": "labelsTr/a", "imagesTr/b_0000": "labelsTr/b"},
        {"patient001_frame01": "patient001_frame01_gt", "patient001_frame12": "patient001_frame12_gt"},
        {"P1": "P1_liver_seg", "P1_2": "P1_2_liver_seg"},
        {"siteA/P1": "masks/P1", "siteB/P2": "masks/P2"},
        {"images/P1/scan": "masks/P1_scan", "images/P2/scan": "masks/P2_scan"},
        {"P1/left/img": "P1/left/seg", "P1/right/img": "P1/right/seg"},
        {"a.b": "a.b_mask", "a.c": "a.c_mask"},
        {"images/lesion_001": "labels/lesion_001"},
        {"case_1": "case_1_roi", "case_01": "case_01_roi"},
    ],
    ids=lambda pairs: next(iter(pairs)),
)
def test_a_mask_is_taken_by_its_whole_path(pairs: dict[str, str]) -> None:
    assert paired(*pairs, *pairs.values()) == (pairs, [])


@pytest.mark.parametrize(
    "paths",
    [
        ("CT_001", "MR_001_seg"),
        ("P1/CT", "P1/MR_seg"),
        ("images/1_2", "labels/1-2"),
        ("images/a1", "labels/a01"),
        ("images/P1/scan", "labels/P2/scan"),
        ("P0/2020_img", "P0/2021_seg"),
        ("P1/pre_img", "P1/post_seg"),
        ("P1/left_img", "P1/right_seg"),
        ("P1", "P1_2_seg"),
        ("P1", "P1_followup_seg"),
        ("P1/2020_img", "P1/2021_img", "P1/other_seg"),
        ("a/P1", "b/P1_seg"),
        ("axial_1", "coronal_1_seg"),
    ],
    ids=lambda paths: paths[-1],
)
def test_another_scans_mask_is_never_taken(paths: tuple[str, ...]) -> None:
    assert paired(*paths) == ({}, [])


@pytest.mark.parametrize(
    ("paths", "images", "masks"),
    [
        (("P1", "P1_rater1_seg", "P1_rater2_seg"), ("P1",), ("P1_rater1_seg", "P1_rater2_seg")),
        (("images/P1", "labels/r1/P1", "labels/r2/P1"), ("images/P1",), ("labels/r1/P1", "labels/r2/P1")),
        (("CT_001", "MR_001", "001_seg"), ("CT_001", "MR_001"), ("001_seg",)),
        (("B1/B1_flair", "B1/B1_t1", "B1/B1_seg"), ("B1/B1_flair", "B1/B1_t1"), ("B1/B1_seg",)),
        (("P1/ct", "P1/liver_mask", "P1/spleen_mask"), ("P1/ct",), ("P1/liver_mask", "P1/spleen_mask")),
        (("a", "a_seg", "a_mask"), ("a",), ("a_mask", "a_seg")),
        (("images/a", "labels/a", "labels/a_seg"), ("images/a",), ("labels/a", "labels/a_seg")),
        (("images/a", "labels/a", "masks/a"), ("images/a",), ("labels/a", "masks/a")),
        (("A/scan", "B/scan", "labels/scan"), ("A/scan", "B/scan"), ("labels/scan",)),
    ],
    ids=lambda value: value[-1],
)
def test_two_that_fit_equally_are_a_question(paths: tuple[str, ...], images: tuple[str, ...], masks: tuple[str, ...]) -> None:
    assert paired(*paths) == ({}, [(images, masks)])


def test_a_question_is_not_answered_by_what_is_left_over() -> None:
    """The mask of the other image is gone, and its image must not get one of the two."""
    pairs, questions = paired("P1/a", "P1/b", "P1/a_seg", "P1/a_mask")
    assert (pairs, questions) == ({}, [(("P1/a",), ("P1/a_mask", "P1/a_seg"))])


def test_what_stays_alone_is_told() -> None:
    found = pair_masks(["a.nii", "b.nii"], ["b_seg.nii", "c_seg.nii"])
    assert (found.mask_of, found.images, found.masks) == ({"b.nii": "b_seg.nii"}, ("a.nii",), ("c_seg.nii",))


def test_a_stronger_rank_comes_first() -> None:
    found = pair_by_ranks(["a", "b"], ["x", "y"], [{("a", "x")}, {("b", "x"), ("b", "y")}])
    assert found.mask_of == {"a": "x", "b": "y"}


STYLES: list[Callable[[str, str], tuple[str, str]]] = [
    lambda folder, stem: (f"{folder}/{stem}", f"{folder}/{stem}_seg"),
    lambda folder, stem: (f"images/{folder}/{stem}", f"labels/{folder}/{stem}"),
    lambda folder, stem: (f"{folder}/images/{stem}", f"{folder}/masks/{stem}_mask"),
    lambda folder, stem: (f"{folder}/img_{stem}", f"{folder}/seg_{stem}"),
    lambda folder, stem: (f"imagesTr/{folder}/{stem}_0000", f"labelsTr/{folder}/{stem}"),
]
SEPARATORS = ["_", "-", "__", "."]


@pytest.mark.parametrize("seed", range(120))
def test_random_trees_never_give_a_wrong_pair(seed: int) -> None:
    """Stems that differ by zeros, separators, dates, modalities; some masks and images are missing, some masks are doubled."""
    draw = random.Random(seed)
    style = draw.choice(STYLES)
    folders = [f"P{number}" for number in draw.sample(range(1, 30), draw.randint(1, 4))]
    words = ["1", "01", "12", "2", "2020", "2021", "CT", "MR", "pre", "post", "scan"]
    truth, files = {}, []
    doubled: set[str] = set()
    for folder in folders:
        stems = {draw.choice(SEPARATORS).join(draw.sample(words, draw.randint(1, 3))) for _ in range(draw.randint(1, 6))}
        for number, stem in enumerate(sorted(stems)):
            image, mask = style(folder, stem)
            there = "both" if number == 0 else draw.choice(["both", "both", "image", "mask", "doubled"])
            files += [image] * (there != "mask") + [mask] * (there != "image")
            if there == "doubled":
                second = f"{mask}_labels"
                files.append(second)
                doubled |= {mask, second}
            if there == "both":
                truth[image] = mask
    owner = {mask: image for image, mask in truth.items()}
    pairs, questions = paired(*files)
    for image, mask in pairs.items():
        assert owner.get(mask) == image, f"{image} got {mask}"
    asked = {mask for _, masks in questions for mask in masks}
    missed = [image for image in truth if pairs.get(image) != truth[image] and truth[image] not in asked]
    assert not missed, f"not found: {missed}"
    assert not doubled & set(pairs.values())


def test_many_files_of_one_folder_are_paired_in_time() -> None:
    """Names of which none fits at the first rank, so that each with each would be 4 million comparisons."""
    images, masks = [f"img_{n:05d}_a.nii" for n in range(2000)], [f"{n:05d}_b_seg.nii" for n in range(2000)]
    started = time.process_time()
    assert len(pair_masks(images, masks).masks) == 2000
    assert time.process_time() - started < 60
