"""A folder of masks as predict writes it, to an archive and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.cli import main
from segsuite.volumes.grid import back_to_grid
from segsuite.volumes.reading import read_labels, read_volume
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_mask

pytest.importorskip("highdicom", reason="needs the extra: pip install 'segsuite[dicom]'")


@pytest.fixture
def masks(write_series: Callable[..., Path], tmp_path: Path) -> Path:
    """Masks of patients a, b and c; that of b is empty."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in "abc":
        image = read_volume(write_series(name))
        labels = np.zeros(image.grid.shape, dtype=np.uint8)
        labels[2:5, 3:6, 0:2] = 0 if name == "b" else 2
        write_mask(folder / f"{name}.nii.gz", labels, like=Volume(image.array, image.grid))
    (folder / "labels.tsv").write_text("index\tname\n0\tbackground\n2\tliver\n")
    return folder


def code_of(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["dicomseg", *map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_folder_goes_out_and_comes_back(masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert code_of(masks, "--series", tmp_path / "series", "--out", out) == 2
    assert {path.name for path in out.iterdir()} == {"a.dcm", "c.dcm"}
    said = capsys.readouterr().err
    assert "a: done" in said
    assert "b: " in said
    assert "empty mask" in said
    assert code_of(out / "a.dcm", "--out", tmp_path / "again.nii.gz") == 0
    before, after = read_labels(masks / "a.nii.gz"), read_labels(tmp_path / "again.nii.gz")
    assert np.array_equal(back_to_grid(after.labels, after.grid, before.grid) == 1, before.labels == 2)
    assert (tmp_path / "again_labels.tsv").read_text().splitlines()[-1] == "1\tliver"


def test_endings_in_capitals_do_not_stay_in_the_names_of_what_is_written(masks: Path, tmp_path: Path) -> None:
    (masks / "a.nii.gz").rename(masks / "a.NII.GZ")
    code_of(masks, "--series", tmp_path / "series", "--out", tmp_path / "out")
    assert code_of(tmp_path / "out" / "a.dcm", "--out", tmp_path / "again.NII.GZ") == 0
    assert (tmp_path / "again_labels.tsv").is_file()


def test_a_single_mask_and_what_it_needs(masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(masks / "a.nii.gz", "--out", tmp_path / "a.dcm") == 1
    assert "must have --series" in capsys.readouterr().err
    assert code_of(masks / "a.nii.gz", "--series", tmp_path / "series" / "a", "--out", tmp_path / "a.dcm") == 0
    assert (tmp_path / "a.dcm").is_file()
    assert code_of(masks / "b.nii.gz", "--series", tmp_path / "series" / "b", "--out", tmp_path / "b.dcm") == 1
    assert not (tmp_path / "b.dcm").exists()


def test_a_slice_is_not_lost_to_a_segmentation(masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = tmp_path / "series"
    before = {path: path.read_bytes() for path in series.rglob("*.dcm")}
    assert code_of(masks / "a.nii.gz", "--series", series / "a" / "1.dcm", "--out", series / "a" / "2.dcm") == 1
    assert "must not be an input" in capsys.readouterr().err
    assert code_of(masks / "a.nii.gz", "--series", series / "a", "--out", series / "c" / "2.dcm") == 1
    assert "must not be there yet" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in series.rglob("*.dcm")} == before


def test_a_scan_of_the_name_of_a_segmentation_is_left_and_the_others_are_written(masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "archive"
    out.mkdir()
    (out / "a.dcm").write_bytes((tmp_path / "series" / "a" / "1.dcm").read_bytes())
    assert code_of(masks, "--series", tmp_path / "series", "--out", out) == 2
    assert (out / "a.dcm").read_bytes() == (tmp_path / "series" / "a" / "1.dcm").read_bytes()
    assert (out / "c.dcm").is_file()


def test_the_same_command_again_leaves_what_it_wrote(masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (masks / "a.nii.gz", "--series", tmp_path / "series" / "a", "--out", tmp_path / "a.dcm")
    assert code_of(*words) == 0
    first = (tmp_path / "a.dcm").read_bytes()
    assert code_of(*words) == 0
    assert "was there before" in capsys.readouterr().err
    assert (tmp_path / "a.dcm").read_bytes() == first
    other = (masks / "c.nii.gz", "--series", tmp_path / "series" / "c", "--out", tmp_path / "a.dcm")
    assert code_of(*other) == 1
    assert (tmp_path / "a.dcm").read_bytes() == first


@pytest.mark.parametrize("taken", ["scan.nii.gz", "scan_labels.tsv"])
def test_a_mask_from_an_archive_replaces_no_file(masks: Path, tmp_path: Path, taken: str) -> None:
    assert code_of(masks / "a.nii.gz", "--series", tmp_path / "series" / "a", "--out", tmp_path / "a.dcm") == 0
    (tmp_path / taken).write_text("mine")
    assert code_of(tmp_path / "a.dcm", "--out", tmp_path / "scan.nii.gz") == 1
    assert (tmp_path / taken).read_text() == "mine"
    assert len(list(tmp_path.glob("scan*"))) == 1
