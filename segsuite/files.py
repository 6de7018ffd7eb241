"""Files that are either complete or absent: written beside their place, synced, then renamed; and their hashes."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segsuite.errors import OutputError

__all__ = [
    "hash_of_file",
    "hash_of_json",
    "make_folder",
    "printable",
    "real_path",
    "remove_unfinished",
    "write_atomically",
    "write_json",
    "write_text",
    "writing_to",
]

_CHUNK_BYTES = 1 << 20
_SHORT_BYTES = 50
"""A name so short may get longer for a moment: every file system holds 64 bytes."""
_CUT_BYTES = len(".12345678.tmp.") + len("12345678.")


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it, and rename it into place.

    The temporary name ends like ``path`` (``.nii.gz``), because image writers choose the format by it, begins with a dot, so
    that no folder listing takes it for a result, and fits wherever the name of ``path`` fits.

    Args:
        path: Where the complete file shall appear.
        write: Called with the temporary path; must create it.

    Raises:
        OutputError: No permission, no space, or the folder is gone. Nothing is left behind.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.tmp.{_no_longer(path.name)}")
    with writing_to(path):
        try:
            write(temporary)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, name: str, *, is_beginning: bool = False) -> None:
    """Delete what a process that died was writing, as far as it can be deleted.

    Args:
        folder: Where.
        name: Of its file; no other process may be writing such a one.
        is_beginning: All files whose names begin with ``name``.
    """
    with suppress(OSError, ValueError):  # ValueError: a name that no file can have
        for known in {name, _no_longer(name)} if is_beginning else {_no_longer(name)}:
            for leftover in folder.glob(f".????????.tmp.{glob.escape(known)}{'*' if is_beginning else ''}"):
                with suppress(OSError):
                    leftover.unlink()


def _no_longer(name: str) -> str:
    """A name to which ``.12345678.tmp.`` can be added without making a long one longer: a hash stands for its beginning."""
    if len(os.fsencode(name)) <= _SHORT_BYTES:
        return name
    n_cut = next(n for n in range(len(name)) if len(os.fsencode(name[:n])) >= _CUT_BYTES)
    return f"{hashlib.sha256(os.fsencode(name[:n_cut])).hexdigest()[:8]}.{name[n_cut:]}"


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn what the system says of a failed write inside the block into what the user can do.

    Args:
        path: What is written.

    Raises:
        OutputError: No permission, no space, or something is in the way.
    """
    try:
        yield
    except OSError as error:
        raise _output_error(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8.

    Args:
        path: The file.
        text: Its content.
    """
    write_atomically(path, lambda temporary: _write_all(temporary, text))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented, keys in the given order.

    Args:
        path: The file.
        content: Anything that ``json`` can write; NaN is refused, it is no JSON. File names whose bytes are no UTF-8 are
            escaped, so that they are the same names when they are read again.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def make_folder(path: Path) -> Path:
    """Create a folder with its parents, or say why it cannot be.

    Args:
        path: The folder.

    Returns:
        The same path.

    Raises:
        OutputError: A file is in the way, or there is no permission.
    """
    with writing_to(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def printable(name: str) -> str:
    """A file's name as text that can be printed, written anywhere, and be a file's name again.

    Args:
        name: As the system gives it; bytes of it that are no UTF-8 become ``xE4``.

    Returns:
        The same wherever it is UTF-8.
    """
    return re.sub("[\udc80-\udcff]", lambda found: f"x{ord(found[0]) - 0xDC00:02X}", name)


def real_path(path: str | Path) -> str:
    """A path with all links followed; one that no file can have stays as it is, so that its reader can say so.

    Args:
        path: Any; need not exist.
    """
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def hash_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, or, for a folder, of its files' names and bytes in order.

    Args:
        path: File or folder (a DICOM series).

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: Nothing is there.
    """
    digest = hashlib.sha256()
    files = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    for part in files:
        if path.is_dir():
            digest.update(os.fsencode(part.relative_to(path)))
        with part.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def hash_of_json(content: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys.

    Args:
        content: Anything that ``json`` can write.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_all(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _output_error(path: Path, error: OSError) -> OutputError:
    remedies = {
        errno.ENOSPC: "Free some space or choose another --out; everything finished so far is kept",
        errno.EACCES: "Choose a folder that you may write to with --out",
        errno.EPERM: "Choose a folder that you may write to with --out",
        errno.EROFS: "Choose a folder that you may write to with --out",
        errno.EEXIST: "A file is in the way: move it or choose another --out",
        errno.ENOTDIR: "A file is in the way: move it or choose another --out",
        errno.ENAMETOOLONG: "Rename the image that it is made of: the names of its outputs are longer than the disk takes",
    }
    remedy = remedies.get(error.errno or 0, "Check the folder, then run the same command again")
    return OutputError(f"{path} must be writable, got: {error.strerror or error}. {remedy}.")
