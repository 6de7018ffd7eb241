"""Nothing that is read is written over, however it is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segsuite.errors import OutputError
from segsuite.outputs import require_outputs_apart


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    (tmp_path / "out").mkdir()
    path = tmp_path / "scans" / "a.nii.gz"
    path.write_bytes(b"voxels")
    return path


def test_outputs_beside_the_inputs_are_fine(scan: Path, tmp_path: Path) -> None:
    require_outputs_apart({tmp_path / "out" / "a.nii.gz": "a"}, [scan], inside=tmp_path / "out")
    require_outputs_apart({scan.parent / "b.nii.gz": "b"}, [scan])


def named_otherwise(scan: Path, way: str) -> Path:
    out = scan.parents[1] / "out"
    if way == "itself":
        return scan
    if way == "dots":
        return out / ".." / "scans" / "a.nii.gz"
    if way == "relative":
        return Path(os.path.relpath(scan))
    if way == "link to the folder":
        (out / "link").symlink_to(scan.parent)
        return out / "link" / "a.nii.gz"
    (out / "a.nii.gz").symlink_to(scan) if way == "link" else os.link(scan, out / "a.nii.gz")
    return out / "a.nii.gz"


@pytest.mark.parametrize("way", ["itself", "dots", "relative", "link to the folder", "link", "hard link"])
def test_an_output_that_is_an_input_is_refused(scan: Path, way: str) -> None:
    with pytest.raises(OutputError, match=r"must not be an input, but .*a\.nii\.gz is read"):
        require_outputs_apart({named_otherwise(scan, way): "a"}, [scan])


def test_an_input_reached_by_a_link_is_an_input(scan: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(scan.parent)
    with pytest.raises(OutputError, match="must not be an input"):
        require_outputs_apart({scan: "a"}, [tmp_path / "linked" / "a.nii.gz"])


def test_nothing_is_written_into_a_series(scan: Path) -> None:
    with pytest.raises(OutputError, match="folder that is read as one image"):
        require_outputs_apart({scan.parent / "deep" / "mask.nii.gz": "series"}, [scan.parent])


@pytest.mark.parametrize("name", ["../scans/new.nii.gz", "/elsewhere/new.nii.gz", "link/new.nii.gz"])
def test_outputs_stay_in_their_folder(scan: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "out" / "link").symlink_to(scan.parent)
    with pytest.raises(OutputError, match="must lie in"):
        require_outputs_apart({tmp_path / "out" / name: "new"}, [scan], inside=tmp_path / "out")


def test_two_outputs_of_one_name_are_refused_with_both_owners(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="twice: for one and for two"):
        require_outputs_apart({out / "b.nii.gz": "one", out / "." / "c" / ".." / "b.nii.gz": "two"}, [scan])
