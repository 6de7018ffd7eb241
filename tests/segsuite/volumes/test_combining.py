from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.combining import Overlap, combine_structures

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
