from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.volumes.segments import read_segment_names


def write_segmentation(path: Path, segments: list[tuple[str, int]]) -> Path:
    image = sitk.GetImageFromArray(np.zeros((2, 3, 4), dtype=np.uint8))
    for number, (name, value) in enumerate(segments):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(image, str(path))
    return path


def test_names_by_integer(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "a.seg.nrrd", [("tumour", 2), ("left kidney: cyst", 1), ("Lésion", 11)])
    assert read_segment_names(path) == {1: "left kidney: cyst", 2: "tumour", 11: "Lésion"}


def test_integers_that_two_layers_share_tell_nothing(tmp_path: Path) -> None:
    assert read_segment_names(write_segmentation(tmp_path / "a.seg.nrrd", [("whole", 1), ("part", 1)])) == {}


def test_a_plain_volume_names_nothing(tmp_path: Path) -> None:
    assert read_segment_names(write_segmentation(tmp_path / "a.nrrd", [])) == {}
    (tmp_path / "b.nrrd").write_bytes(b"\x00\xff" * 1000)
    assert read_segment_names(tmp_path / "b.nrrd") == {}
    with pytest.raises(FileNotFoundError):
        read_segment_names(tmp_path / "gone.nrrd")
