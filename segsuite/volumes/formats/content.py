"""The bytes of a file, gzip undone where the content is gzip, never more of them than a header asks for.

Every fault comes out as an error that names the file and says what is wrong with it: empty, cut after so many bytes,
damaged, longer than its header says, or promising more than it can hold.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import VolumeError
from segsuite.volumes.formats.unpacking import (
    CHUNK_BYTES,
    DAMAGE,
    GZIP_MAGIC,
    MOST_PER_PACKED_BYTE,
    Packing,
    plain_reason,
    unpacked_bytes,
    unpacked_stream,
)

__all__ = ["Content", "open_content", "size_text"]

START_BYTES = 4096
NOT_ITS_END = "its voxels are whole, but not its end: the checksum is missing, or something else follows"
PIECE_BYTES = 1 << 16
"""Of what is read to be passed over or joined: a buffer of the size asked for is made before anything comes."""


@contextmanager
def open_content(path: Path, *, unpack: bool = True) -> Iterator[Content]:
    """A file, open at its start, unpacked if it is gzip; what is no plain file is refused without being opened.

    Args:
        path: File, links followed.
        unpack: Whether to look for gzip; not where bare voxels may begin like it by chance.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: A folder, pipe or device; no permission; empty.
    """
    try:
        found = path.stat()
    except PermissionError as error:
        raise VolumeError(f"{path} must be readable, got: permission denied. Change its permissions.") from error
    except OSError as error:
        raise FileNotFoundError(f"{path} must be an image file, but nothing is there. Check the path and --data-root.") from error
    if not stat.S_ISREG(found.st_mode):
        raise VolumeError(f"{path} must be an image file, got a {_kind(found.st_mode)}. Point to a file.")
    if found.st_size == 0:
        raise VolumeError(f"{path} must be a complete image file, got 0 bytes: it is empty. Copy or export it again.")
    try:
        stream = path.open("rb")
    except OSError as error:
        reason = "permission denied" if isinstance(error, PermissionError) else error.strerror
        raise VolumeError(f"{path} must be readable, got: {reason}. Change its permissions.") from error
    with stream:
        packed = stream.peek(2)[:2] == GZIP_MAGIC and unpack
        content = Content(path, stream, size=found.st_size, capacity=found.st_size)
        yield content.unpacked("gzip") if packed else content


class Content:
    """A stream of bytes of one file, read once from front to back.

    Attributes:
        path: The file, for messages and for what lies beside it.
        size: Bytes on disk.
        capacity: Bytes that can come at most.
        packed: How it is packed; empty if it is not.
    """

    def __init__(self, path: Path, stream: Any, *, size: int, capacity: int, packed: str = "", begin: int | None = 0) -> None:
        """Wrap a stream.

        Args:
            path: The file.
            stream: Buffered, open where the content begins.
            size: Bytes on disk.
            capacity: Bytes that can come at most.
            packed: How it is packed.
            begin: Where in the file it begins; ``None`` if that is unknown.
        """
        self._begin = begin
        self.path, self.size, self.capacity, self.packed = path, size, capacity, packed
        self._stream, self._position = stream, 0

    def unpacked(self, packing: Packing) -> Content:
        """What comes from here on, unpacked. Checksums are checked at the end of the stream.

        Args:
            packing: How it is packed.
        """
        if packing == "zlib" and self._stream.peek(2)[:2] == GZIP_MAGIC:
            packing = "gzip"  # MetaImage allows either
        capacity = self.capacity * MOST_PER_PACKED_BYTE[packing]
        begin = None if self.packed else self._position
        return Content(
            self.path, unpacked_stream(self._stream, packing), size=self.size, capacity=capacity, packed=packing, begin=begin
        )

    def start(self) -> bytes:
        """The first 4096 bytes, fewer in a small file; they stay to be read.

        Raises:
            VolumeError: Damage in them. What a file cut short still holds comes.
        """
        found = self.up_to(START_BYTES)
        with self._naming_faults():
            self._stream.seek(0)
        self._position = 0
        return found

    def up_to(self, count: int) -> bytes:
        """The next bytes, fewer at the end.

        Args:
            count: How many at most.

        Raises:
            VolumeError: Damage in what was read.
        """
        with self._naming_faults():
            found = bytes(self._stream.read(count))
        self._position += len(found)
        return found

    def exactly(self, count: int, *, what: str) -> bytes:
        """The next bytes, all of them.

        Args:
            count: How many; few, as in a header.
            what: Names them in the message.

        Raises:
            VolumeError: Fewer are there, or damage.
        """
        found = self.up_to(count)
        if len(found) < count:
            raise self.truncated(len(found), count, what=what)
        return found

    def line(self, limit: int = 1 << 20) -> str:
        """The next line of a text header, without its end; empty at the end of the file too.

        Args:
            limit: Longest line.

        Raises:
            VolumeError: Longer, or damaged.
        """
        with self._naming_faults():
            text = self._stream.readline(limit)
        self._position += len(text)
        if len(text) == limit:
            raise self.damaged(f"a line of its header has more than {limit} characters")
        return str(text.decode("utf-8", errors="replace").rstrip("\r\n"))

    def skip(self, count: int, *, what: str) -> None:
        """Pass over bytes.

        Args:
            count: How many.
            what: Names them in the message.

        Raises:
            VolumeError: They are not there.
        """
        missing = count
        while missing > 0:
            part = self.up_to(min(missing, PIECE_BYTES))
            if not part:
                raise self.truncated(count - missing, count, what=what)
            missing -= len(part)

    def rest(self, limit: int) -> bytes:
        """Everything that is left.

        Args:
            limit: Most bytes.

        Raises:
            VolumeError: More, or damaged.
        """
        parts, count = [], 0
        while part := self.up_to(PIECE_BYTES):
            parts.append(part)
            count += len(part)
            if count > limit:
                raise self.damaged(f"more than {limit} bytes follow where its header allows no more")
        return b"".join(parts)

    def voxels(self, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The next bytes as an array, the first axis running fastest.

        Args:
            shape: Voxels along each axis.
            dtype: Of one voxel, with its byte order.

        Returns:
            The array, writable, in the byte order of this machine.

        Raises:
            VolumeError: The header promises more than comes, or than memory holds; or damage.
        """
        count = self.require_room(shape, dtype)
        try:
            buffer = np.empty(count, dtype=np.uint8)
        except (MemoryError, ValueError) as error:
            promised = _promise(shape, dtype, count)
            raise VolumeError(f"{self.path} must fit into memory, got {promised}. Close other programs or crop it.") from error
        view, found = memoryview(buffer.data), 0
        with self._naming_faults(wanted=count):
            while found < count and (came := self._stream.readinto(view[found : found + CHUNK_BYTES])):
                found += came
        if found < count:
            raise self.truncated(found, count, what="its voxels")
        array = buffer.view(dtype).reshape(tuple(shape), order="F")
        return array if array.dtype.isnative else array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))

    def require_room(self, shape: Sequence[int], dtype: np.dtype[Any], packing: Packing | None = None) -> int:
        """Check that so many voxels can be in the file.

        Args:
            shape: Voxels along each axis.
            dtype: Of one voxel.
            packing: How the voxels alone are packed.

        Returns:
            Their bytes.

        Raises:
            VolumeError: The header promises more than the file can hold.
        """
        count = math.prod(int(n) for n in shape) * dtype.itemsize
        capacity = self.capacity * MOST_PER_PACKED_BYTE.get(packing or "", 1)
        if count <= capacity:
            return count
        if count <= 100 * capacity and not self.packed and packing is None:
            raise self.truncated(capacity, self._position + count, what="its content")
        raise VolumeError(
            f"{self.path} must hold what its header promises, got a header for {_promise(shape, dtype, count)} in a file "
            f"of {size_text(self.size)}. The header is damaged: export the image again."
        )

    def require_end(self) -> None:
        """Check that nothing follows, and with that the checksum of a packed stream.

        Raises:
            VolumeError: More bytes than the header says, or damage.
        """
        if self.up_to(1):
            raise self.damaged("more bytes follow than its header says")

    def truncated(self, found: int, wanted: int, *, what: str) -> VolumeError:
        """The error for a file that ends too early.

        Args:
            found: Bytes that came.
            wanted: Bytes that had to come.
            what: Of what.
        """
        return VolumeError(
            f"{self.path} must be a complete image file, got {self.size} bytes that cannot be read "
            f"(truncated: {found} of {wanted} bytes of {what}). It is cut short: copy or export it again."
        )

    def damaged(self, reason: str) -> VolumeError:
        """The error for a file whose bytes are not what they were.

        Args:
            reason: What shows it.
        """
        return VolumeError(
            f"{self.path} must be a complete image file, got {self.size} bytes that cannot be read ({reason}). "
            "It may be damaged: copy or export it again."
        )

    @contextmanager
    def _naming_faults(self, wanted: int | None = None) -> Iterator[None]:
        try:
            yield
        except EOFError as error:
            if wanted is not None:
                found = self._position if self._begin is None else unpacked_bytes(self.path, self.packed, self._begin)
                if found >= self._position + wanted:
                    raise self.damaged(NOT_ITS_END) from error
                raise self.truncated(found, self._position + wanted, what="its content") from error
            raise self.damaged(f"truncated: the {self.packed or 'file'} stream ends before its end") from error
        except OSError as error:
            if error.errno is not None:
                raise VolumeError(f"{self.path} must be readable, got: {error.strerror}. Check the disk.") from error
            raise self.damaged(f"damaged {self.packed} stream: {plain_reason(error)}") from error
        except DAMAGE as error:
            raise self.damaged(f"damaged {self.packed} stream: {plain_reason(error)}") from error


def size_text(count: int) -> str:
    """Bytes as people say them: ``95.4 GiB``, ``12.3 MiB``, ``312 bytes``.

    Args:
        count: Bytes.
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:.1f} {unit}"
    return f"{count} bytes"


def _promise(shape: Sequence[int], dtype: np.dtype[Any], count: int) -> str:
    return f"{' x '.join(str(int(n)) for n in shape)} voxels of {dtype.name} ({size_text(count)})"


def _kind(mode: int) -> str:
    kinds = {stat.S_ISDIR: "folder", stat.S_ISFIFO: "pipe (FIFO)", stat.S_ISSOCK: "socket"}
    return next((name for test, name in kinds.items() if test(mode)), "device")
