from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from segsuite.volumes.reading import read_channels, read_volume
from segsuite.volumes.voxel_hash import salted, voxel_hash

COS, SIN = np.cos(0.1), np.sin(0.1)
AFFINE = np.array([[COS, SIN, 0, -20], [-SIN, COS, 0, 7], [0, 0, 1, 11], [0, 0, 0, 1]]) @ np.diag([0.3125, 0.3125, 3.3, 1])


def scan() -> np.ndarray:
    return np.random.default_rng(0).integers(-50, 900, (5, 6, 7)).astype(np.int16)


def test_all_48_orders_of_the_axes_hash_alike(write_nifti: Callable[..., Path], tmp_path: Path) -> None:
    image = nib.Nifti1Image(scan(), AFFINE)
    found = set()
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = image.as_reoriented(np.column_stack([axes, flips]))
            path = write_nifti(tmp_path / "turned.nii", np.asarray(turned.dataobj), turned.affine)
            found.add(voxel_hash(read_volume(path)))
    assert len(found) == 1


def test_type_compression_and_format_do_not_count(write_nifti: Callable[..., Path], tmp_path: Path) -> None:
    array = scan()
    paths = [
        write_nifti(tmp_path / f"{kind}.nii.gz", array.astype(kind), AFFINE) for kind in ("int16", "int32", "float32", "float64")
    ]
    paths.append(write_nifti(tmp_path / "plain.nii", array, AFFINE))
    paths.append(write_nifti(tmp_path / "lighter.nii.gz", array, AFFINE * [[2], [2], [2], [1]]))
    picture = sitk.ReadImage(str(paths[0]))
    for ending in ("nrrd", "mha"):
        sitk.WriteImage(picture, str(tmp_path / f"a.{ending}"), True)
        paths.append(tmp_path / f"a.{ending}")
    assert len({voxel_hash(read_volume(path)) for path in paths}) == 1


def test_one_voxel_or_a_turned_body_is_another_scan(write_nifti: Callable[..., Path], tmp_path: Path) -> None:
    array = scan()
    other = array.copy()
    other[2, 3, 4] += 1
    arrays = [array, other, array[::-1], array.transpose(1, 0, 2), array.reshape(7, 6, 5)]
    paths = [write_nifti(tmp_path / f"{n}.nii", made, AFFINE) for n, made in enumerate(arrays)]
    assert len({voxel_hash(read_volume(path)) for path in paths}) == len(arrays)


def test_minus_zero_is_zero_and_files_of_channels_are_one_image(write_nifti: Callable[..., Path], tmp_path: Path) -> None:
    array = scan().astype(np.float32)
    array[0, 0, 0] = 0.0
    minus = array.copy()
    minus[0, 0, 0] = -0.0
    first, second = write_nifti(tmp_path / "a.nii", array), write_nifti(tmp_path / "b.nii", minus)
    assert voxel_hash(read_volume(first)) == voxel_hash(read_volume(second))
    both = write_nifti(tmp_path / "c.nii", np.stack([array, minus + 1], axis=-1))
    apart = [first, write_nifti(tmp_path / "d.nii", array + 1)]
    one, two = (voxel_hash(read_channels(paths, n_channels=2)) for paths in ([both], apart))
    assert one == two


def test_a_salt_hides_the_hash_and_the_order() -> None:
    hashes = ["00" * 16, "11" * 16]
    first, again, other = (salted(given, salt) for given, salt in ((hashes, "ab"), (hashes[::-1], "ab"), (hashes, "cd")))
    assert first == again == sorted(first)
    assert not {*first} & {*other, *hashes}
