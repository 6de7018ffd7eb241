from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.label_values import whole_labels
from segsuite.volumes.reading import read_labels

HERE = Path("l.nii")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_dust_of_floats_is_no_fraction(kind: type) -> None:
    found = whole_labels(np.array([0.0, 1e-7, 0.9999999, 1.0000001, 2.0000002, 2.9995], dtype=kind), HERE)
    assert found.tolist() == [0, 0, 1, 1, 2, 3]
    assert found.dtype == np.uint8


def test_masks_of_0_and_255_with_a_slope_are_labels_0_and_1(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.array([[[0, 255]]], dtype=np.uint8), np.eye(4))
    image.header.set_slope_inter(1 / 255, 0)
    nib.save(image, tmp_path / "l.nii.gz")
    assert read_labels(tmp_path / "l.nii.gz").labels.tolist() == [[[0, 1]]]


def test_a_probability_map_is_still_refused_with_its_values() -> None:
    with pytest.raises(VolumeError, match=r"got values such as \[0\.7, 0\.998\] in 2 of 4 voxels\. It may be a probability map"):
        whole_labels(np.array([0, 0.7, 0.998, 1.0]), HERE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_counted(bad: float) -> None:
    with pytest.raises(VolumeError, match="got NaN or infinity in 1 of 3 voxels"):
        whole_labels(np.array([0, 1, bad]), HERE)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([-1, 0, 1], r'got -1 to 1\. Map them first, for example with "label_mapping": \{"-1": 0\}'),
        ([0, 70000], r'got 0 to 70000\. Map them first, for example with "label_mapping": \{"70000": 0\}'),
        ([0, 2**63 - 1], "got 0 to 9223372036854775807"),
    ],
)
def test_values_that_are_no_labels_say_how_to_map_them(values: list[int], reason: str) -> None:
    with pytest.raises(VolumeError, match=reason):
        whole_labels(np.array(values), HERE)


@pytest.mark.parametrize(
    ("values", "mapping", "expected"),
    [
        ([-1, 0, 1], {-1: 2}, [2, 0, 1]),
        ([-1.0, 0.0, 1.0], {-1: 0}, [0, 0, 1]),
        ([0, 70000, 3], {70000: 1}, [0, 1, 3]),
        ([0, 5_000_000_000, 3], {5_000_000_000: 1}, [0, 1, 3]),
        ([0, 1, 2], {1: 2, 2: 1}, [0, 2, 1]),
        ([0, 1], {1: 300}, [0, 300]),
        ([0, 1], {1_500_000_000: 4}, [0, 1]),
    ],
)
def test_a_mapping_is_applied_before_values_are_judged(values: list[float], mapping: dict[int, int], expected: list[int]) -> None:
    assert whole_labels(np.array(values), HERE, mapping=mapping).tolist() == expected


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64])
def test_every_integer_type_is_mapped_alike(kind: type) -> None:
    low = 0 if np.dtype(kind).kind == "u" else -100
    assert whole_labels(np.array([low, 100], dtype=kind), HERE, mapping={low: 9}).tolist() == [9, 100]


def test_a_target_that_is_no_label_is_refused() -> None:
    for target in (-5, 70000, 10**30):
        with pytest.raises(VolumeError, match="must hold labels between 0 and 65535"):
            whole_labels(np.array([0, 1]), HERE, mapping={1: target})


def test_a_float_beyond_integers_is_a_sentence(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    with pytest.raises(VolumeError, match=r"got 0 to 1e\+30"):
        read_labels(write_nifti(tmp_path / "l.nii", np.array([[[0, 1e30]]], dtype=np.float32)))
