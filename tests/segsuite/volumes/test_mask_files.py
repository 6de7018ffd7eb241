from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.volumes.mask_files import list_masks, why_absent
from tests.folders import refuse_to_list, touch


def below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_masks(folder).masks]


def test_linked_folders_are_walked_and_loops_end(tmp_path: Path) -> None:
    store = touch(tmp_path / "store", "P0/seg.nii.gz")
    study = touch(tmp_path / "study", "P9/seg.nii.gz")
    (study / "P0").symlink_to(store / "P0")
    (study / "P1").symlink_to(store / "P0")
    (study / "P9" / "back").symlink_to(study)
    (store / "P0" / "again").symlink_to(study / "P9")
    found = below(study)
    assert {"P0/seg.nii.gz", "P1/seg.nii.gz", "P9/seg.nii.gz"} <= set(found)
    assert len(found) < 20


def test_links_to_nothing_are_masks_or_said(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", ".hidden.nii.gz", ".git/x.nii.gz", "lost+found/y.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to("annex/b.nii.gz")
    (tmp_path / "P3").symlink_to("store/P3")
    (tmp_path / "notes.txt").symlink_to("gone.txt")
    found = list_masks(tmp_path)
    assert [path.name for path in found.masks] == ["a.nii.gz", "b.nii.gz"]
    assert {path.name: reason for path, reason in found.unseen.items()} == {"P3": "the link points to store/P3, where nothing is"}


def test_a_folder_that_cannot_be_listed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.nii.gz", "closed/b.nii.gz")
    refuse_to_list(monkeypatch, "closed")
    found = list_masks(tmp_path)
    assert [path.name for path in found.masks] == ["a.nii.gz"]
    assert list(found.unseen.values()) == ["the folder cannot be listed (Permission denied)"]


def test_volumes_of_a_mask_are_kept_apart(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    mask = np.ones((2, 2, 2), dtype=np.uint8)
    for name, array in (("a", mask), ("a_probability_1", mask / 3), ("b_map_1", mask)):
        write_nifti(tmp_path / f"{name}.nii.gz", array.astype(array.dtype if name[-1] != "1" else np.float32))
    found = list_masks(tmp_path)
    assert [path.name for path in found.masks] == ["a.nii.gz", "b_map_1.nii.gz"]
    assert [path.name for path in found.side_volumes] == ["a_probability_1.nii.gz"]


def test_why_nothing_can_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    (tmp_path / "link.nii").symlink_to("annex/x.nii")
    os.mkfifo(tmp_path / "pipe.nii")
    assert why_absent(tmp_path / "a.nii") == why_absent(tmp_path) == ""
    assert "link.nii is a link to annex/x.nii, where nothing is. Fetch its content" in why_absent(tmp_path / "link.nii")
    assert "nothing is there. Check the path and --data-root" in why_absent(tmp_path / "gone.nii")
    assert "got a device, a pipe or a socket" in why_absent(tmp_path / "pipe.nii")


def test_archives_are_masks_where_there_are_no_others(tmp_path: Path) -> None:
    """A download that lies beside masks is no case that was missed."""
    assert below(touch(tmp_path, "a.zip", "sub/b.tar.gz", "notes.txt")) == ["a.zip", "sub/b.tar.gz"]
    assert below(touch(tmp_path, "c.nii.gz")) == ["c.nii.gz"]
