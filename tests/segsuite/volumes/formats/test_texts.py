from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.formats.content import open_content
from segsuite.volumes.formats.texts import Body, numbers, read_body, voxels_beside, whole_numbers


def test_numbers_of_a_line() -> None:
    assert numbers(" 1 2.5  -3e1 ", 3) == [1.0, 2.5, -30.0]
    assert whole_numbers("3 4 5") == [3, 4, 5]
    for text, count in (("1 2", 3), ("1 x", None), ("", 1)):
        with pytest.raises(ValueError):
            numbers(text, count)
    for text in ("1" * 5000, "1.5", "-"):
        with pytest.raises(ValueError):
            whole_numbers(text, 1)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("1 2 3", "u1", "truncated: 3 of 4 bytes"),
        ("1 2 3 256", "u1", "not the numbers"),
        ("1 2 3 x", "u1", "not the numbers"),
        ("1 2 3 0.5", "u1", "not the numbers"),
        ("1 2 3 4 5", "f4", "truncated: 5 of 4"),
    ],
)
def test_written_voxels_must_be_the_numbers_of_the_header(tmp_path: Path, text: str, kind: str, reason: str) -> None:
    (tmp_path / "a").write_text(text)
    with open_content(tmp_path / "a") as content, pytest.raises(VolumeError, match=reason):
        read_body(content, Body((2, 2), np.dtype(kind), written="text"))


def test_lines_and_bytes_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo\nxx" + bytes([1, 2, 3, 4]))
    with open_content(tmp_path / "a") as content:
        found = read_body(content, Body((2, 2), np.dtype("u1"), file=tmp_path / "a", skip_lines=2, skip_bytes=2))
    assert found.tolist() == [[1, 3], [2, 4]]


def test_only_names_in_the_same_folder_are_taken() -> None:
    assert voxels_beside(Path("x/a.mhd"), "./a.raw") == Path("x/a.raw")
    for name in ("../a.raw", "/a.raw", "s/a.raw", "", ".."):
        with pytest.raises(VolumeError, match="in itself or in a file beside it"):
            voxels_beside(Path("x/a.mhd"), name)
