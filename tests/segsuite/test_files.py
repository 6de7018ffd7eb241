from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from segsuite.errors import OutputError
from segsuite.files import (
    hash_of_file,
    hash_of_json,
    make_folder,
    printable,
    real_path,
    remove_unfinished,
    write_atomically,
    write_json,
    write_text,
)


def test_a_name_that_can_be_written_anywhere_and_be_a_file_again() -> None:
    assert printable(os.fsdecode(b"K\xf6ln")) == "KxF6ln"
    assert printable("Köln") == "Köln"


def test_nothing_is_left_when_the_disk_is_full(tmp_path: Path) -> None:
    target = tmp_path / "mask.nii.gz"
    target.write_text("old")

    def fill(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"mask.nii.gz must be writable, got: No space left.*Free some space"):
        write_atomically(target, fill)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_name_keeps_the_ending_and_is_hidden(tmp_path: Path) -> None:
    seen: list[str] = []

    def fill(path: Path) -> None:
        seen.append(path.name)
        path.write_text("x")

    write_atomically(tmp_path / "a.nii.gz", fill)
    assert seen[0].startswith(".")
    assert seen[0].endswith(".nii.gz")


def test_hash_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "abc")
    assert hash_of_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_hash_of_folder_sees_names_and_content(tmp_path: Path) -> None:
    write_text(make_folder(tmp_path / "one") / "a", "1")
    write_text(make_folder(tmp_path / "two") / "b", "1")
    assert hash_of_file(tmp_path / "one") != hash_of_file(tmp_path / "two")


def test_hash_of_json_ignores_order_of_keys() -> None:
    assert hash_of_json({"a": 1, "b": 2}) == hash_of_json({"b": 2, "a": 1}) != hash_of_json({"a": 2, "b": 1})


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})


def test_a_file_name_that_is_no_utf8_is_the_same_name_when_read_again(tmp_path: Path) -> None:
    name = os.fsdecode(b"K\xf6ln.nii.gz")
    write_json(tmp_path / "a.json", {"image": name, "umlaut": "ö"})
    content = (tmp_path / "a.json").read_bytes()
    assert json.loads(content.decode("utf-8")) == {"image": name, "umlaut": "ö"}
    assert "ö".encode() in content


def test_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(OutputError, match="A file is in the way"):
        make_folder(tmp_path / "f" / "g")


@pytest.mark.parametrize("n_bytes", [50, 51, 143, 241, 255])
@pytest.mark.parametrize("letter", ["x", "ä", "\udcff"])
def test_a_temporary_name_fits_where_the_name_fits(tmp_path: Path, n_bytes: int, letter: str) -> None:
    ending = ".nii.gz"
    many = letter * ((n_bytes - len(ending)) // len(os.fsencode(letter)))
    name = f"{many}{'y' * (n_bytes - len(ending) - len(os.fsencode(many)))}{ending}"
    seen: list[str] = []

    def fill(path: Path) -> None:
        seen.append(path.name)
        path.write_text("x")

    write_atomically(tmp_path / name, fill)
    assert os.listdir(tmp_path) == [name]
    assert len(os.fsencode(name)) == n_bytes
    assert len(os.fsencode(seen[0])) <= max(n_bytes, 64)
    assert seen[0].endswith(ending)


@pytest.mark.parametrize("stem", ["scan", "x" * 60, "ä" * 100])
def test_what_a_dead_process_left_is_found_by_the_name_that_it_was_for(tmp_path: Path, stem: str) -> None:
    def leave(path: Path) -> None:
        path.write_text("half")
        another = "1" if path.name[1] != "1" else "2"
        path.rename(path.with_name(f".{another}{path.name[2:]}"))  # as if the process had died before it could tidy up
        raise OSError("dead")

    names = [f"{stem}.nii.gz", f"{stem}_map_1.nii.gz", f"{stem}2.nii.gz", f"{stem}_2.nii.gz"]
    for name in names:
        with pytest.raises(OutputError):
            write_atomically(tmp_path / name, leave)
    assert len(os.listdir(tmp_path)) == 4
    remove_unfinished(tmp_path, f"{stem}.nii.gz")
    assert len(os.listdir(tmp_path)) == 3
    remove_unfinished(tmp_path, f"{stem}_map_", is_beginning=True)
    assert sorted(name[-9:] for name in os.listdir(tmp_path)) == sorted(name[-9:] for name in names[2:])
    remove_unfinished(tmp_path, "\ud800")


def test_a_path_that_no_file_can_have_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert real_path(tmp_path / "link") == os.path.realpath(tmp_path / "a")
    assert real_path("a\0b") == "a\0b"


def test_hash_of_a_folder_whose_names_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "\udcff.dcm").write_bytes(b"1")
    assert len(hash_of_file(tmp_path)) == 64
