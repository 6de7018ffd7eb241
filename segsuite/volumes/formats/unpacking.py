"""Gzip, zlib and bzip2 streams, unpacked piece by piece, their checksums checked and nothing left over at their end."""

from __future__ import annotations

import bz2
import io
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from isal import igzip, isal_zlib

__all__ = [
    "CHUNK_BYTES",
    "DAMAGE",
    "GZIP_MAGIC",
    "MOST_PER_PACKED_BYTE",
    "Packing",
    "plain_reason",
    "unpacked_bytes",
    "unpacked_stream",
]

Packing = Literal["gzip", "zlib", "bzip2"]
MOST_PER_PACKED_BYTE = {"gzip": 1032, "zlib": 1032, "bzip2": 100_000}
"""What one packed byte can expand to at most."""
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 22
_ISAL_ERROR: Any = isal_zlib.error  # its stub calls the class an instance
DAMAGE: Any = (ValueError, _ISAL_ERROR, zlib.error)
"""What a damaged stream raises, besides OSError and EOFError."""


def unpacked_stream(stream: Any, packing: Packing) -> Any:
    """A buffered stream of what another one holds.

    Args:
        stream: Open where the packed bytes begin.
        packing: How they are packed.
    """
    if packing == "gzip":
        return igzip.open(stream, "rb")
    inflate: Any = isal_zlib.decompressobj() if packing == "zlib" else bz2.BZ2Decompressor()
    return io.BufferedReader(Inflated(stream, inflate), CHUNK_BYTES)


def unpacked_bytes(path: Path, packing: str, begin: int) -> int:
    """How much a packed stream that was cut short still gives, counted from its start.

    Args:
        path: The file.
        packing: How it is packed; others than gzip and zlib are not counted.
        begin: Where in the file the stream begins.
    """
    if packing not in ("gzip", "zlib"):
        return 0
    inflate, count = isal_zlib.decompressobj(wbits=31 if packing == "gzip" else 15), 0
    with path.open("rb") as stream, suppress(_ISAL_ERROR):
        stream.seek(begin)
        while part := stream.read(1 << 16):
            count += len(inflate.decompress(part))
    return count


def plain_reason(error: BaseException) -> str:
    """What is wrong with a damaged stream, without a library's words.

    Args:
        error: What the library raised.
    """
    text = str(error)
    if "Not a gzipped file" in text or text == LEFT_OVER:
        return LEFT_OVER
    return "its checksum is wrong" if "CRC" in text or "Incorrect length" in text else "it cannot be unpacked"


LEFT_OVER = "something else follows it"


class Inflated(io.RawIOBase):
    """A zlib or bzip2 stream, its checksum checked; anything that follows it is a fault."""

    def __init__(self, stream: Any, inflate: Any) -> None:
        self._stream, self._inflate = stream, inflate

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._inflate.eof:
            packed = getattr(self._inflate, "unconsumed_tail", b"")
            if not packed and getattr(self._inflate, "needs_input", True):
                packed = self._stream.read(CHUNK_BYTES)
                if not packed:
                    raise EOFError
            if part := self._inflate.decompress(packed, len(buffer)):
                buffer[: len(part)] = part
                return len(part)
        if self._inflate.unused_data or self._stream.read(1):
            raise ValueError(LEFT_OVER)
        return 0
