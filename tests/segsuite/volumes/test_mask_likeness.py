from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.volumes.mask_likeness import looks_like_mask

DRAW = np.random.default_rng(0)
SCAN = DRAW.gamma(2.0, 100.0, (40, 40, 20)).astype(np.int16)
MASK = np.zeros((40, 40, 20), np.uint8)
MASK[10:20, 10:30, 5:15] = 3
MASK[20:30, 10:30, 5:15] = 1


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("label_03.nii.gz", MASK, True),
        ("P1/scan_seg.nii.gz", MASK, True),
        ("labelsTr/a.nii", MASK.astype(np.float32), True),
        ("label_04.nii.gz", MASK * 0, True),
        ("a.nii.gz", MASK, True),
        ("a.nii", MASK, True),
        ("image_03.nii.gz", SCAN, False),
        ("mask_of_pain_study.nii.gz", SCAN, False),
        ("labelled_scan.nii.gz", SCAN, False),
        ("label_map.nii.gz", MASK * np.float32(0.3), False),
        ("label_ct.nii.gz", MASK.astype(np.int16) - 1024, False),
        ("small.nii", MASK[:10, :10, :10], False),
        ("bright.nii", np.clip(SCAN, 0, 255).astype(np.uint8), False),
    ],
)
def test_masks_are_told_by_name_and_content(
    name: str, array: np.ndarray, told: bool, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    assert looks_like_mask(write_nifti(tmp_path / name, array)) is told


def test_other_formats_and_dust(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(MASK), str(tmp_path / "a.seg.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(SCAN), str(tmp_path / "scan.mha"))
    assert [looks_like_mask(tmp_path / name) for name in ("a.seg.nrrd", "scan.mha")] == [True, False]
    raw = bytearray(nib.Nifti1Image((MASK > 0).astype(np.uint8) * 255, np.eye(4)).to_bytes())
    raw[112:120] = struct.pack("<ff", 1 / 255, 0)  # slope and intercept: 0 and 1 with dust
    (tmp_path / "mask.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    assert looks_like_mask(tmp_path / "mask.nii.gz")


def test_what_cannot_be_read_is_not_called_a_mask(tmp_path: Path) -> None:
    (tmp_path / "label.nii.gz").write_bytes(b"\x1f\x8b\x08nothing")
    assert [looks_like_mask(tmp_path / name) for name in ("label.nii.gz", "label.nrrd", "")] == [False, False, False]
