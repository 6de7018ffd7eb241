"""Zip and tar archives of images: unpacked piece by piece into a private folder, within limits, nothing outside it."""

from __future__ import annotations

import bz2
import contextlib
import errno
import fcntl
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from segsuite.errors import OutputError, VolumeError
from segsuite.files import make_folder, writing_to
from segsuite.volumes.archive_names import ARCHIVE_ENDINGS, archive_name, is_archive

__all__ = [
    "ARCHIVE_ENDINGS",
    "UnpackLimits",
    "WorkFolder",
    "archive_name",
    "is_archive",
    "members_of",
    "unpack",
]

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
WORK_PREFIX = ".segsuite-unpacked-"
LOCK_FILE = ".lock"
_CHUNK_BYTES = 2**20
MOST_NAME_BYTES = 2**20
MOST_PADDING_BYTES = 2**24
ZIP_MAGIC = b"PK"
_COMPRESSED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_COMPRESSED = (gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile)
_PLAIN_TYPES = (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE)
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError, KeyError,
)  # fmt: skip


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may hold.

    Attributes:
        files: At most so many.
        total_bytes: Unpacked, at most.
        ratio: Unpacked bytes per byte of the archive, where it unpacks to more than ``free_bytes``.
        free_bytes: So much may come out of any archive.
        spare_bytes: Of the disk, that stay free.
    """

    files: int = 100_000
    total_bytes: int = 200 * 10**9
    ratio: int = 200
    free_bytes: int = 300 * 10**6
    spare_bytes: int = 10**9


class WorkFolder:
    """A private folder that is made when it is needed and is gone afterwards.

    What a killed process left of its own is removed first. As a context manager.
    """

    def __init__(self, parent: Path) -> None:
        """Set up; nothing is made yet.

        Args:
            parent: In which it is made: the outputs' folder has the space, and other machines see it.
        """
        self.parent = parent
        self._path: Path | None = None
        self._lock: IO[str] | None = None
        self._n_places = 0

    def __enter__(self) -> WorkFolder:
        """Remove what dead processes left."""
        for folder in self.parent.glob(f"{WORK_PREFIX}*"):
            with contextlib.suppress(OSError), (folder / LOCK_FILE).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its process would hold it
                shutil.rmtree(folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def place_for(self, archive: Path) -> Path:
        """A new place, which ends in the archive's name.

        Args:
            archive: What will be unpacked there.

        Returns:
            A path where nothing is yet.

        Raises:
            OutputError: The folder cannot be made.
        """
        if self._path is None:
            make_folder(self.parent)
            with writing_to(self.parent):
                self._path = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=self.parent))
                new = self._path / f"{LOCK_FILE}.new"
                self._lock = new.open("w")
                with contextlib.suppress(OSError):  # a file system without locks: then nobody removes it either
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                new.rename(self._path / LOCK_FILE)
        self._n_places += 1
        return self._path / str(self._n_places) / archive.name


def unpack(archive: Path, folder: Path, limits: UnpackLimits = UnpackLimits()) -> Counter[str]:
    """Unpack the files of an archive; names that lead out of the folder, links and devices are refused.

    Args:
        archive: Zip or tar, also compressed.
        folder: Where to; is made.
        limits: What it may hold.

    Returns:
        What was not unpacked, by kind: archives inside it, hidden files.

    Raises:
        VolumeError: Damaged, encrypted, too large, too many files, or names that lead elsewhere.
        OutputError: The disk is full.
    """
    if not stat.S_ISREG(archive.stat().st_mode):
        raise VolumeError(f"{archive} must be a regular file, got a pipe or device.")
    left_out: Counter[str] = Counter()
    budget = _Budget(archive, folder, limits)
    try:
        with _opened(archive) as members:
            for name, size, open_member in members:
                if what := _not_followed(name):
                    left_out[what] += 1
                    continue
                target = folder / _safe_name(archive, name)
                budget.take_file(size)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    raise VolumeError(f"{archive} must hold each name once, got `{name}` twice.")
                with open_member() as source, target.open("xb") as sink:
                    while chunk := source.read(_CHUNK_BYTES):
                        budget.take_bytes(len(chunk))
                        sink.write(chunk)
    except VolumeError:
        raise
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise OutputError(
                f"{folder} must have the space for what {archive} holds, got: {error.strerror}. Free some."
            ) from error
        raise VolumeError(_sentence(archive, error)) from error
    return left_out


def members_of(archive: Path, *, n_bytes: int) -> Iterator[tuple[str, bytes]]:
    """What an archive holds, without unpacking it; what ``unpack`` leaves out is left out here.

    Args:
        archive: Zip or tar, also compressed.
        n_bytes: So much of the beginning of each file.

    Returns:
        Name and beginning of each file.

    Raises:
        VolumeError: Damaged or encrypted, links or devices.
    """
    if not stat.S_ISREG(archive.stat().st_mode):
        raise VolumeError(f"{archive} must be a regular file, got a pipe or device.")
    try:
        with _opened(archive) as members:
            for name, _, open_member in members:
                if not _not_followed(name):
                    with open_member() as source:
                        start = source.read(n_bytes)
                    yield name, start
    except VolumeError:
        raise
    except _BROKEN as error:
        raise VolumeError(_sentence(archive, error)) from error


def _sentence(archive: Path, error: Exception) -> str:
    """What is wrong with an archive, without a library's words."""
    if isinstance(error, PermissionError):
        return f"{archive} must be readable, got: permission denied. Change its permissions."
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{archive} must hold names that this disk can have, got one that is too long. Unpack it by hand."
    said = str(error)
    if isinstance(error, NotImplementedError):
        what = "one that is packed in a way that is not read"
    else:
        what = "an encrypted one" if "password" in said or "encrypted" in said else f"a damaged one ({_damage(archive, error)})"
    return f"{archive} must be a complete zip or tar archive, got {what}. Unpack it by hand."


def _damage(archive: Path, error: Exception) -> str:
    if not archive.stat().st_size:
        return "it is empty"
    said = str(error)
    if member := re.match(r"Bad CRC-32 for file ['\"](.*)['\"]$", said):
        return f"the checksum of `{member[1][:100]}` is wrong"
    if "CRC" in said:
        return "its checksum is wrong"
    if isinstance(error, tarfile.ReadError) and "could not be opened" in said:
        with archive.open("rb") as stream:
            start = stream.read(6)
        if start.startswith(ZIP_MAGIC):
            return "cut short: the list of what it holds, at its end, is missing"
        return "it cannot be unpacked to a tar" if start.startswith(_COMPRESSED_MAGIC) else "its content is neither"
    is_short = isinstance(error, EOFError) or "end of data" in said or "Compressed file ended" in said
    return "cut short" if is_short else "it cannot be unpacked"


class _Budget:
    """What may still come out."""

    def __init__(self, archive: Path, folder: Path, limits: UnpackLimits) -> None:
        self.archive, self.limits = archive, limits
        packed = archive.stat().st_size
        make_folder(folder)
        space = shutil.disk_usage(folder).free - limits.spare_bytes
        self.most_bytes = min(limits.total_bytes, max(limits.free_bytes, packed * limits.ratio))
        self.space = space
        self.n_files = self.n_bytes = 0

    def take_file(self, size: int) -> None:
        self.n_files += 1
        if self.n_files > self.limits.files:
            raise VolumeError(f"{self.archive} must hold at most {self.limits.files:,} files, got more. Unpack it by hand.")
        self._require(self.n_bytes + size)

    def take_bytes(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        self._require(self.n_bytes)

    def _require(self, n_bytes: int) -> None:
        if n_bytes > self.most_bytes:
            raise VolumeError(
                f"{self.archive} must unpack to at most {self.most_bytes / 1e9:.1f} GB, got more. Unpack it by hand."
            )
        if n_bytes > self.space:
            raise VolumeError(
                f"{self.archive} must unpack into the {max(self.space, 0) / 1e9:.1f} GB that may be used, got more."
            )


class _Opener(Protocol):
    def __call__(self) -> IO[bytes]: ...


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[str, int, _Opener]]]:
    """The members of either kind, by what the content says: name, size and how to open."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(archive, packed)
    else:
        with tarfile.open(archive, "r:*", tarinfo=_ModestInfo) as bundle:
            yield _tar_members(archive, bundle)


class _ModestInfo(tarfile.TarInfo):
    """A member whose long names and attributes are of a size that names have: the module reads them as a whole."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in _PLAIN_TYPES and self.size > MOST_NAME_BYTES:
            raise VolumeError(
                f"{Path(str(tarfile_.name))} must have names that people write, got one of {self.size:,} bytes. Do not trust it."
            )
        return super()._proc_member(tarfile_)  # type: ignore[misc]


def _zip_members(archive: Path, packed: zipfile.ZipFile) -> Iterator[tuple[str, int, _Opener]]:
    for member in packed.infolist():
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise VolumeError(f"{archive} must hold plain files, got the link or device `{member.filename}`. Pack it again.")
        if not member.is_dir():
            yield member.filename, member.file_size, lambda member=member: packed.open(member)  # type: ignore[misc]


def _tar_members(archive: Path, bundle: tarfile.TarFile) -> Iterator[tuple[str, int, _Opener]]:
    for member in bundle:
        if member.isdir():
            continue
        if not member.isreg():
            raise VolumeError(f"{archive} must hold plain files, got the link or device `{member.name}`. Pack it again.")
        yield member.name, member.size, lambda member=member: bundle.extractfile(member)  # type: ignore[misc]
    _read_to_the_end(archive, bundle)


def _read_to_the_end(archive: Path, bundle: tarfile.TarFile) -> None:
    """The checksum of a compressed stream comes after the last member, where the module does not look."""
    left, stream = MOST_PADDING_BYTES, bundle.fileobj
    while isinstance(stream, _COMPRESSED) and (chunk := stream.read(_CHUNK_BYTES)):
        left -= len(chunk)
        if left < 0:
            raise VolumeError(
                f"{archive} must end after its last file, got more than {MOST_PADDING_BYTES:,} bytes. Pack it again."
            )


def _not_followed(name: str) -> str:
    parts = PurePosixPath(name).parts
    if any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts):
        return "hidden file"
    return "archive inside an archive" if name.lower().endswith(ARCHIVE_ENDINGS) else ""


def _safe_name(archive: Path, name: str) -> Path:
    """The path below the folder; backslashes are what some programs for Windows write."""
    pure = PurePosixPath(name.replace("\\", "/"))
    first = pure.parts[0] if pure.parts else ""
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or first.endswith(":") or "\0" in name:
        raise VolumeError(
            f"{archive} must hold names below its own folder, got `{name[:100]}`. Do not trust it: ask for another."
        )
    return Path(*(part for part in pure.parts if part != "."))
