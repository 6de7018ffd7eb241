from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.combining import Overlap, combine_channels, combine_structures
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

Write = Callable[..., Path]
SHAPE = (4, 3, 2)


def structure(*places: tuple[int, int, int], value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    for place in places:
        mask[place] = value
    return mask


def test_one_file_per_structure_becomes_one_map(tmp_path: Path, write_nifti: Write) -> None:
    files = {
        "liver": write_nifti(tmp_path / "liver.nii.gz", structure((0, 0, 0), (1, 0, 0)), spacing=2.0),
        "spleen": write_nifti(tmp_path / "spleen.nii.gz", structure((3, 2, 1), value=255), spacing=2.0),
        "kidney": write_nifti(tmp_path / "kidney.nii.gz", structure(), spacing=2.0),
    }
    combined = combine_structures(files, {"liver": 1, "kidney": 2, "spleen": 300})
    expected = np.zeros(SHAPE, dtype=np.uint16)
    expected[:2, 0, 0], expected[3, 2, 1] = 1, 300
    np.testing.assert_array_equal(combined.volume.labels, expected)
    assert combined.volume.array.dtype == np.uint16
    assert combined.volume.spacing_mm == (2.0, 2.0, 2.0)
    assert (combined.overlaps, combined.empty) == ((), ("kidney",))


def test_structures_whose_files_store_the_axes_in_different_orders_are_joined(tmp_path: Path, write_nifti: Write) -> None:
    turned = np.array([[0, 0, -1, 3], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    files = {
        "liver": write_nifti(tmp_path / "liver.nii.gz", structure((0, 0, 0), (1, 0, 0))),
        "spleen": write_nifti(tmp_path / "spleen.nii.gz", structure((3, 2, 1)).transpose(1, 2, 0)[:, :, ::-1], turned),
    }
    combined = combine_structures(files, {"liver": 1, "spleen": 2}).volume
    np.testing.assert_array_equal(combined.labels, structure((0, 0, 0), (1, 0, 0)) + 2 * structure((3, 2, 1)))


def test_overlaps_are_decided_by_the_declared_order_and_counted(tmp_path: Path, write_nifti: Write) -> None:
    organ = structure((0, 0, 0), (1, 0, 0), (2, 0, 0))
    files = {
        "tumour": write_nifti(tmp_path / "tumour.nii.gz", structure((1, 0, 0), (2, 0, 0))),
        "organ": write_nifti(tmp_path / "organ.nii.gz", organ),
        "far": write_nifti(tmp_path / "far.nii.gz", structure((3, 2, 1))),
    }
    values = {"organ": 1, "tumour": 2, "far": 3}
    with pytest.raises(VolumeError, match=r"organ and tumour in 2 voxels .*organ.nii.gz.*tumour.nii.gz.*Name both in the order"):
        combine_structures(files, values)
    with pytest.raises(VolumeError, match="in 2 voxels"):
        combine_structures(files, values, order=["organ"])
    inner = combine_structures(files, values, order=["organ", "tumour"])
    assert inner.volume.labels[:3, 0, 0].tolist() == [1, 2, 2]
    assert inner.volume.labels[3, 2, 1] == 3
    assert inner.overlaps == (Overlap("tumour", "organ", 2),)
    outer = combine_structures(files, values, order=["tumour", "organ"])
    assert outer.volume.labels[:3, 0, 0].tolist() == [1, 1, 1]
    assert outer.overlaps == (Overlap("organ", "tumour", 2),)


def test_a_label_map_among_the_structures_is_named(tmp_path: Path, write_nifti: Write) -> None:
    both = structure((0, 0, 0)) + structure((1, 0, 0), value=2)
    files = {"all": write_nifti(tmp_path / "all.nii.gz", both)}
    with pytest.raises(
        VolumeError, match=r"all.nii.gz must hold one structure \(all: 0 and one other value\), got values \[1, 2\]"
    ):
        combine_structures(files, {"all": 1})


def test_files_on_two_grids_are_refused(tmp_path: Path, write_nifti: Write) -> None:
    files = {
        "a": write_nifti(tmp_path / "a.nii.gz", structure(), spacing=1.0),
        "b": write_nifti(tmp_path / "b.nii.gz", structure(), spacing=2.0),
    }
    with pytest.raises(GridError, match=r"a.nii.gz and .*b.nii.gz must lie on one grid"):
        combine_structures(files, {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("names", "values", "order", "message"),
    [
        ([], {}, [], "At least one file"),
        (["livre"], {"liver": 1}, [], r"`livre` must have an integer.*Did you mean `liver`\?"),
        (["a"], {"a": 1, "b": 1}, [], "an integer of its own from 1 to 65535, got a 1, b 1"),
        (["a"], {"a": 0}, [], "got a 0"),
        (["a"], {"a": 1}, ["c"], "must name known structures, got `c`"),
    ],
)
def test_what_is_wrong_is_said_before_a_file_is_read(
    tmp_path: Path, names: list[str], values: dict[str, int], order: list[str], message: str
) -> None:
    with pytest.raises(VolumeError, match=message):
        combine_structures({name: tmp_path / f"{name}.nii.gz" for name in names}, values, order=order)


class TestChannels:
    def volume(self, *channels: list[float]) -> Volume:
        array = np.asarray(channels, dtype=np.float32)[:, :, None, None]
        return Volume(array, Grid(array.shape[1:], np.eye(4)), Path("p.nii.gz"))

    def combined(self, *channels: list[float], **options: Any) -> list[int]:
        options = {"with_background": False, **options}
        return combine_channels(self.volume(*channels), [1, 5], **options).ravel().tolist()

    def test_one_hot_with_and_without_background(self) -> None:
        assert self.combined([0, 1, 0], [0, 0, 1]) == [0, 1, 5]
        assert self.combined([1, 0, 0], [0, 1, 0], [0, 0, 1], with_background=True) == [0, 1, 5]
        assert self.combined([0, 255, 0], [0, 0, 255]) == [0, 1, 5]

    def test_channels_that_overlap_need_an_order(self) -> None:
        with pytest.raises(VolumeError, match=r"p.nii.gz: channels .*labels 1 and 5 in 2 voxels"):
            self.combined([1, 1, 0], [1, 1, 0])
        assert self.combined([1, 1, 0], [0, 1, 0], order=[1, 5]) == [1, 5, 0]
        assert self.combined([1, 1, 0], [0, 1, 0], order=[5, 1]) == [1, 1, 0]

    def test_probabilities(self) -> None:
        assert self.combined([0.6, 0.4, 0.1], [0.2, 0.45, 0.5]) == [1, 0, 5]
        assert self.combined([0.6, 0.4, 0.1], [0.2, 0.45, 0.5], threshold=0.3) == [1, 5, 5]
        assert self.combined([0.4, 0.3], [0.35, 0.3], [0.25, 0.4], with_background=True) == [0, 5]

    @pytest.mark.parametrize("worst", [1.2, -3.0, 7.0, float("nan"), float("inf")])
    def test_what_is_no_probability_is_refused(self, worst: float) -> None:
        with pytest.raises(VolumeError, match=r"must hold probabilities from 0 to 1"):
            self.combined([0.5, worst], [0.1, 0.2])

    def test_another_number_of_channels(self) -> None:
        with pytest.raises(VolumeError, match="a channel for each of 2 structures and the background, got 2"):
            self.combined([0, 1], [1, 0], with_background=True)
