from __future__ import annotations

import bz2
import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.formats.content import open_content, size_text
from segsuite.volumes.formats.unpacking import Packing

VOXELS = np.arange(24, dtype="<i2").reshape(2, 3, 4)
BYTES = VOXELS.tobytes(order="F")


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["bare", "gzip"])
def test_voxels_come_whatever_the_name_says(tmp_path: Path, pack: object) -> None:
    path = put(tmp_path / "a.bin", b"head" + BYTES if pack is bytes else gzip.compress(b"head" + BYTES))
    with open_content(path) as content:
        assert content.start() == b"head" + BYTES
        assert content.exactly(4, what="its header") == b"head"
        found = content.voxels(VOXELS.shape, VOXELS.dtype)
        content.require_end()
    np.testing.assert_array_equal(found, VOXELS)
    assert found.flags.writeable


@pytest.mark.parametrize(("packing", "pack"), [("gzip", gzip.compress), ("zlib", zlib.compress), ("bzip2", bz2.compress)])
def test_a_packed_body_is_unpacked_to_its_last_byte(tmp_path: Path, packing: Packing, pack: object) -> None:
    def read(path: Path) -> np.ndarray:
        with open_content(path) as whole:
            whole.exactly(4, what="its header")
            body = whole.unpacked(packing)
            found = body.voxels(VOXELS.shape, VOXELS.dtype)
            body.require_end()
            return found

    content = b"head" + pack(BYTES)  # type: ignore[operator]
    np.testing.assert_array_equal(read(put(tmp_path / "a.bin", content)), VOXELS)
    for damaged in (content[:-1], content[:-8], content + b"xx" * 20, content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]):
        with pytest.raises(VolumeError, match="a.bin must be a complete image file"):
            read(put(tmp_path / "a.bin", damaged))


def test_big_endian_voxels_come_in_this_machines_order(tmp_path: Path) -> None:
    with open_content(put(tmp_path / "a", VOXELS.astype(">i2").tobytes(order="F"))) as content:
        found = content.voxels(VOXELS.shape, np.dtype(">i2"))
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, VOXELS)


def test_several_gzip_members_are_one_content(tmp_path: Path) -> None:
    with open_content(put(tmp_path / "a.gz", gzip.compress(BYTES[:10]) + gzip.compress(BYTES[10:]))) as content:
        np.testing.assert_array_equal(content.voxels(VOXELS.shape, VOXELS.dtype), VOXELS)
        content.require_end()


def test_a_truncated_file_says_how_many_bytes_of_how_many_came(tmp_path: Path) -> None:
    with (
        open_content(put(tmp_path / "a.nii", BYTES[:20])) as content,
        pytest.raises(VolumeError, match="truncated: 20 of 48 bytes"),
    ):
        content.voxels(VOXELS.shape, VOXELS.dtype)


def test_a_truncated_gzip_says_how_many_bytes_of_how_many_came(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 9000).astype(np.uint8)
    path = put(tmp_path / "a.nii.gz", gzip.compress(noise.tobytes())[:5000])
    with open_content(path) as content, pytest.raises(VolumeError, match=r"truncated: 4\d{3} of 9000 bytes"):
        content.voxels((9000,), noise.dtype)


@pytest.mark.parametrize("end", ["-8", "-3", "garbage"])
def test_a_gzip_whose_end_alone_is_wrong_is_not_said_to_lack_voxels(tmp_path: Path, end: str) -> None:
    whole = gzip.compress(BYTES)
    path = put(tmp_path / "a.nii.gz", whole + b"garbage" if end == "garbage" else whole[: int(end)])

    def read() -> None:
        with open_content(path) as content:
            content.voxels(VOXELS.shape, VOXELS.dtype)
            content.require_end()

    with pytest.raises(VolumeError, match=r"its voxels are whole, but not its end"):
        read()


def test_a_header_that_promises_more_than_the_file_can_hold_is_no_truncation(tmp_path: Path) -> None:
    wanted = r"32767 x 32767 x 32767 voxels of int16 \(64\.0 TiB\) in a file of 48 bytes"
    with open_content(put(tmp_path / "a.nii", BYTES)) as content, pytest.raises(VolumeError, match=wanted):
        content.voxels((32767,) * 3, np.dtype("<i2"))


def test_a_gzip_bomb_is_not_inflated_beyond_what_the_header_says(tmp_path: Path) -> None:
    path = put(tmp_path / "a.nii.gz", gzip.compress(bytes(1 << 26)))
    with open_content(path) as content:
        content.voxels((8, 8, 8), np.dtype("u1"))
        with pytest.raises(VolumeError, match="more bytes follow than its header says"):
            content.require_end()


def test_what_is_no_plain_file_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")  # opening it would wait for a writer forever
    for path, kind in ((tmp_path / "pipe.nii.gz", "pipe"), (tmp_path, "folder"), (Path("/dev/zero"), "device")):
        with pytest.raises(VolumeError, match=f"must be an image file, got a {kind}"), open_content(path):
            pass


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="got 0 bytes: it is empty"), open_content(put(tmp_path / "a.nii", b"")):
        pass


def test_sizes_are_said_as_people_say_them() -> None:
    assert [size_text(n) for n in (312, 2048, 3 << 20, 95 << 30)] == ["312 bytes", "2.0 KiB", "3.0 MiB", "95.0 GiB"]
