from __future__ import annotations

import os
from pathlib import Path

import pytest

from segsuite.volumes import folders
from segsuite.volumes.folders import SYSTEM_FOLDERS, FolderWalk
from tests.folders import refuse_to_list, touch


def below(walk: FolderWalk) -> list[str]:
    return [path.relative_to(walk.top).as_posix() for here in walk for path in here.files]


def test_what_is_hidden_is_listed_apart_and_not_entered(tmp_path: Path) -> None:
    touch(tmp_path, "b/x", "a/y", "top", ".hidden", ".git/z", "lost+found/w")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")
    first, *others = FolderWalk(tmp_path, pass_over=SYSTEM_FOLDERS)
    assert [path.name for path in first.files] == ["gone", "pipe", "top"]
    assert [path.name for path in first.folders] == ["a", "b"]
    assert ([path.name for path in first.hidden_files], [path.name for path in first.hidden_folders]) == ([".hidden"], [".git"])
    assert [here.folder.name for here in others] == ["a", "b"]


def test_folders_that_the_caller_takes_out_are_not_entered(tmp_path: Path) -> None:
    walk, seen = FolderWalk(touch(tmp_path, "a/x", "b/y")), []
    for here in walk:
        here.folders = [path for path in here.folders if path.name != "a"]
        seen += here.files
    assert seen == [tmp_path / "b" / "y"]


def test_loops_end_and_each_name_of_a_folder_is_walked_unless_once_is_enough(tmp_path: Path) -> None:
    touch(tmp_path, "store/P/x", "study/Q/y")
    for name in ("P1", "P2"):
        (tmp_path / "study" / name).symlink_to(tmp_path / "store" / "P")
    (tmp_path / "study" / "Q" / "up").symlink_to(tmp_path / "study")
    walk, once = FolderWalk(tmp_path / "study"), FolderWalk(tmp_path / "study", once=True)
    assert (below(walk), walk.n_repeats) == (["P1/x", "P2/x", "Q/y"], 1)
    assert (below(once), once.n_repeats) == (["P1/x", "Q/y"], 2)


def test_a_link_to_a_folder_above_does_not_bring_the_same_files_again(tmp_path: Path) -> None:
    touch(tmp_path, "study/x", "other/y")
    (tmp_path / "study" / "all").symlink_to(tmp_path)
    assert below(FolderWalk(tmp_path / "study")) == below(FolderWalk(tmp_path / "study", once=True)) == ["x", "all/other/y"]


def test_a_folder_inside_a_linked_folder_that_a_link_leads_to_as_well_is_walked_once(tmp_path: Path) -> None:
    touch(tmp_path, "store/deep/x")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "a").symlink_to(tmp_path / "store" / "deep")
    (tmp_path / "study" / "b").symlink_to(tmp_path / "store")
    assert below(FolderWalk(tmp_path / "study", once=True)) == ["a/x"]


@pytest.mark.parametrize("once", [False, True])
def test_folders_that_all_link_to_each_other_do_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, once: bool) -> None:
    monkeypatch.setattr(folders, "MOST_LINKS_TO_A_FOLDER", 3)
    names = [f"f{n}" for n in range(8)]
    touch(tmp_path, *(f"{name}/a" for name in names))
    for name in names:
        for other in names:
            (tmp_path / name / other).symlink_to(tmp_path / other)
    found = below(FolderWalk(tmp_path, once=once))
    assert {f"{name}/a" for name in names} <= set(found)
    assert len(found) <= len(names) * (1 if once else 4)


def test_folders_that_cannot_be_listed_are_kept_with_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a", "closed/b", "open/c")
    refuse_to_list(monkeypatch, "closed")
    walk = FolderWalk(tmp_path)
    assert below(walk) == ["a", "open/c"]
    assert {path.name: error.strerror for path, error in walk.unlistable.items()} == {"closed": "Permission denied"}
