"""What NRRD and MetaImage share: a header of text lines, and voxels that follow or lie in a file beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import VolumeError
from segsuite.volumes.formats.content import Content, open_content
from segsuite.volumes.formats.unpacking import Packing

__all__ = ["LINES_AT_MOST", "Body", "numbers", "read_body", "require_room", "spacing_or_refuse", "voxels_beside", "whole_numbers"]

LINES_AT_MOST = 100_000
CHARACTERS_PER_VOXEL = 64
Named = TypeVar("Named")
Written = Literal["binary", "text", "hex"]


@dataclass(frozen=True)
class Body:
    """How the voxels are stored.

    Attributes:
        shape: In the order of the file, the axis that runs fastest first.
        dtype: With its byte order.
        packing: Their compression, if any.
        written: As bytes, as decimal text or as hexadecimal digits.
        file: The file that holds them; ``None`` if they follow the header.
        skip_lines: Lines of that file to pass over first.
        skip_bytes: Bytes after those, before anything is unpacked; -1: the voxels are the last bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    packing: Packing | None = None
    written: Written = "binary"
    file: Path | None = None
    skip_lines: int = 0
    skip_bytes: int = 0


def read_body(content: Content, body: Body) -> NDArray[Any]:
    """The voxels, checked to the last byte.

    Args:
        content: The file of the header, read to its end.
        body: How they are stored.

    Returns:
        Array of ``body.shape``, writable.

    Raises:
        FileNotFoundError: The file of the voxels is not there.
        VolumeError: Too few or too many bytes, or damage.
    """
    n_bytes = math.prod(body.shape) * body.dtype.itemsize
    with _opened(content, body) as stream:
        for _ in range(body.skip_lines):
            stream.line()
        if body.skip_bytes == -1:
            stream.skip(stream.size - n_bytes, what="what is before its voxels")
        else:
            stream.skip(body.skip_bytes, what="what is before its voxels")
        if body.packing:
            stream = stream.unpacked(body.packing)
        if body.written == "binary":
            array = stream.voxels(body.shape, body.dtype)
            stream.require_end()
            return array
        return _written_out(stream, body)


def voxels_beside(header: Path, name: str) -> Path:
    """The file that a header names for its voxels.

    Args:
        header: The file of the header.
        name: As the header has it.

    Returns:
        A file in the same folder.

    Raises:
        VolumeError: The name leads out of the folder, or stands for several files.
    """
    plain = name.strip().removeprefix("./")
    if not plain or "/" in plain or "\\" in plain or plain in (".", "..") or "\0" in plain or ":" in plain:
        raise VolumeError(
            f"{header} must have its voxels in itself or in a file beside it, got `{name.strip()[:200]}` in its header. "
            "Save the image as one file."
        )
    if "%" in plain or plain.split()[0] == "LIST":
        raise VolumeError(f"{header} must have its voxels in one file, got `{plain[:200]}` in its header. Save it as one file.")
    return header.with_name(plain)


def numbers(text: str, count: int | None = None) -> list[float]:
    """Numbers of a header line.

    Args:
        text: Separated by blanks.
        count: How many must come.

    Raises:
        ValueError: Another count, or no numbers.
    """
    found = [float(part) for part in text.split()]
    if count is not None and len(found) != count:
        raise ValueError(f"{count} numbers must come, got `{text[:100]}`")
    return found


def whole_numbers(text: str, count: int | None = None) -> list[int]:
    """Whole numbers of a header line; see ``numbers``.

    Args:
        text: Separated by blanks.
        count: How many must come.

    Raises:
        ValueError: Another count, or no whole numbers of at most 18 digits.
    """
    parts = text.split()
    if any(len(part) > 18 for part in parts) or (count is not None and len(parts) != count):
        raise ValueError(f"{'' if count is None else f'{count} '}whole numbers must come, got `{text[:100]}`")
    return [int(part) for part in parts]


def require_room(content: Content, body: Body) -> None:
    """Check that the voxels can be in the file, before any is read; of a file beside the header nothing is known yet.

    Args:
        content: The file of the header.
        body: How they are stored.

    Raises:
        VolumeError: The header promises more than the file can hold.
    """
    if body.file is None and body.written == "binary":
        content.require_room(body.shape, body.dtype, body.packing)


@contextmanager
def _opened(content: Content, body: Body) -> Iterator[Content]:
    if body.file is None:
        yield content
        return
    try:
        with open_content(body.file, unpack=body.packing is None and body.file.name.lower().endswith(".gz")) as other:
            yield other
    except FileNotFoundError as error:
        raise VolumeError(
            f"{content.path} must have its voxels beside it, but there is no {body.file.name}. Copy both files."
        ) from error


def _written_out(stream: Content, body: Body) -> NDArray[Any]:
    count = math.prod(body.shape)
    text = stream.rest(min(stream.capacity, count * CHARACTERS_PER_VOXEL + 4096))
    try:
        if body.written == "hex":
            found = np.frombuffer(bytearray(bytes.fromhex(text.decode("ascii"))), dtype=body.dtype)
        else:
            values = np.array(text.split(), dtype=np.float64 if body.dtype.kind == "f" else np.int64)
            found = values.astype(body.dtype.newbyteorder("="))
            if body.dtype.kind != "f" and not np.array_equal(found, values):
                raise ValueError("a number is outside its type")
    except (ValueError, OverflowError) as error:
        raise stream.damaged("its voxels are not the numbers that its header names") from error
    if found.size != count:
        raise stream.truncated(found.size, count, what="its voxels, written as numbers")
    return found.astype(body.dtype.newbyteorder("=")).reshape(body.shape, order="F")


def spacing_or_refuse(found: Named | None, path: Path, *, fields: str) -> Named:
    """Voxel sizes that a header has to name.

    Args:
        found: What it names.
        path: For the message.
        fields: Where it would name them.

    Raises:
        VolumeError: Nothing.
    """
    if found is None:
        raise VolumeError(f"{path} must say how large its voxels are, but its header has no {fields}. Add them before using it.")
    return found
