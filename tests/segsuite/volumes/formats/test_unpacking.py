from __future__ import annotations

import bz2
import gzip
import io
import zlib
from pathlib import Path

import pytest

from segsuite.volumes.formats.unpacking import Packing, plain_reason, unpacked_bytes, unpacked_stream

TEXT = bytes(range(256)) * 40
PACKERS = {"gzip": gzip.compress, "zlib": zlib.compress, "bzip2": bz2.compress}


@pytest.mark.parametrize("packing", ["gzip", "zlib", "bzip2"])
def test_each_packing_gives_back_what_was_packed(packing: Packing) -> None:
    with unpacked_stream(io.BytesIO(PACKERS[packing](TEXT)), packing) as stream:
        assert stream.read(100) == TEXT[:100]
        assert stream.read() == TEXT[100:]


@pytest.mark.parametrize("packing", ["zlib", "bzip2"])
def test_what_follows_a_stream_is_a_fault(packing: Packing) -> None:
    left_over = io.BytesIO(PACKERS[packing](TEXT) + b"left over")
    with unpacked_stream(left_over, packing) as stream, pytest.raises(ValueError, match="follows"):
        stream.read()


@pytest.mark.parametrize("packing", ["gzip", "zlib"])
def test_what_a_cut_stream_still_gives_is_counted(tmp_path: Path, packing: Packing) -> None:
    packed = PACKERS[packing](TEXT)
    for cut, expected in ((len(packed), len(TEXT)), (3, 0)):
        (tmp_path / "a").write_bytes(b"head" + packed[:cut])
        assert unpacked_bytes(tmp_path / "a", packing, 4) == expected


def test_reasons_are_plain_words() -> None:
    assert plain_reason(OSError("CRC check failed 0x1 != 0x2")) == "its checksum is wrong"
    assert plain_reason(OSError("Not a gzipped file (b'xx')")) == "something else follows it"
    assert plain_reason(zlib.error("Error -3 while decompressing")) == "it cannot be unpacked"
