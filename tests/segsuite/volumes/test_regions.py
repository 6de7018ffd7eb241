from __future__ import annotations

import numpy as np
import pytest

from segsuite.volumes.regions import Regions, code_dtype, file_word, integers_of, label_of, mask_of

TUMOUR = Regions({"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}, (1, 2, 3))
"""Outputs in this order are bits 0, 1, 2."""


def test_later_regions_overwrite_earlier_ones() -> None:
    """As nnU-Net: for each region in order, the map is set to its integer where the region is."""
    codes = np.array([[[0b000, 0b001, 0b011, 0b111]]], dtype=np.uint8)
    assert TUMOUR.written(codes).tolist() == [[[0, 1, 2, 3]]]


def test_region_outside_of_the_one_around_it_is_written_all_the_same() -> None:
    codes = np.array([[[0b010, 0b100, 0b101]]], dtype=np.uint8)
    assert TUMOUR.written(codes).tolist() == [[[2, 3, 3]]]


def test_each_region_is_read_back_from_its_bits() -> None:
    codes = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    for place, name in enumerate(TUMOUR.names):
        assert TUMOUR.mask(codes, name).ravel().tolist() == [bool(n // 2**place % 2) for n in range(8)]


def test_true_map_comes_back_from_its_regions() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (5, 6, 7))
    codes = sum(np.isin(labels, integers).astype(np.uint8) << n for n, integers in enumerate(TUMOUR.members.values()))
    assert np.array_equal(TUMOUR.written(np.asarray(codes)), labels)


def test_only_the_largest_component_of_a_region_stays_and_the_region_around_keeps_the_voxels() -> None:
    codes = np.zeros((1, 1, 8), dtype=np.uint8)
    codes[..., :] = 0b001
    codes[..., 0] = codes[..., 3:5] = 0b011  # a speck and a core
    reduced = TUMOUR.with_largest_components(codes, which=("core",))
    assert TUMOUR.written(reduced).ravel().tolist() == [1, 1, 1, 2, 2, 1, 1, 1]
    assert codes[0, 0, 0] == 0b011  # what was given is as before


def test_twelve_regions_have_a_bit_each() -> None:
    many = Regions({f"r{n}": (n,) for n in range(1, 13)}, tuple(range(1, 13)))
    codes = np.array([[[1 << n for n in range(12)]]], dtype=code_dtype(12))
    assert many.written(codes).ravel().tolist() == list(range(1, 13))
    assert many.with_largest_components(codes, which=many.names).tolist() == codes.tolist()
    assert code_dtype(8).itemsize == 1
    assert code_dtype(15).itemsize == 2
    assert code_dtype(31).itemsize == 4


def test_membership_and_class_indices() -> None:
    of_integers = Regions({"all": (10, 30), "inner": (30,)}, (10, 30))
    of_classes = of_integers.of_classes((0, 10, 20, 30))
    assert of_classes == Regions({"all": (1, 3), "inner": (3,)}, (1, 3))
    assert of_classes.membership(4).tolist() == [[False, True, False, True], [False, False, False, True]]


def test_json_there_and_back() -> None:
    assert Regions.from_json(TUMOUR.to_json()) == TUMOUR
    assert Regions.from_json({"labels": {"background": 0}}) is None


@pytest.mark.parametrize(("label", "expected"), [(2, [0, 1, 0, 0]), ("2", [0, 1, 0, 0]), ("1+3", [1, 0, 1, 0])])
def test_label_of_several_integers_is_their_union(label: int | str, expected: list[int]) -> None:
    assert mask_of(np.array([[[1, 2, 3, 0]]]), label).ravel().tolist() == expected
    assert label_of(integers_of("1+2+3")) == "1+2+3"


@pytest.mark.parametrize(("name", "word"), [("whole tumor", "whole-tumor"), ("a/b: c", "a-b-c"), ("x_1", "x_1")])
def test_file_names_have_no_blanks_and_slashes(name: str, word: str) -> None:
    assert file_word(name) == word
