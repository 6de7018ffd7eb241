"""Zip and tar archives of images: unpacked piece by piece into a private folder, within limits, nothing outside it."""

from __future__ import annotations

import contextlib
import fcntl
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

from segsuite.errors import VolumeError
from segsuite.files import make_folder, writing_to

__all__ = ["ARCHIVE_ENDINGS", "UnpackLimits", "archive_name", "is_archive", "unpack", "work_folder"]

ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
WORK_PREFIX = ".segsuite-unpacked-"
_CHUNK_BYTES = 2**20
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError, KeyError,
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


def is_archive(path: Path) -> bool:
    """Whether a name says archive.

    Args:
        path: Any path.

    Returns:
        True for ``.zip``, ``.tar``, ``.tar.gz`` and their kin.
    """
    return path.name.lower().endswith(ARCHIVE_ENDINGS) and not path.is_dir()


def archive_name(path: Path) -> str:
    """The name without the ending, ``.tar.gz`` counted as one."""
    ending = next((ending for ending in sorted(ARCHIVE_ENDINGS, key=len, reverse=True) if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]


@contextlib.contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A private folder below the outputs that is gone afterwards; what a killed process left of its own is removed first.

    Args:
        out: Where the outputs go; it has the space, and other machines see it.

    Yields:
        An empty folder that only the user may read.
    """
    make_folder(out)
    _remove_orphans(out)
    with writing_to(out):
        folder = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=out))
    with (folder / ".lock").open("w") as lock:
        try:
            _lock(lock)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_orphans(out: Path) -> None:
    """A folder whose lock is free has no process any more."""
    for folder in out.glob(f"{WORK_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / ".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _lock(lock: IO[str]) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: then nothing is removed either
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
                make_folder(target.parent)
                if target.exists():
                    raise VolumeError(f"{archive} must hold each name once, got `{name}` twice.")
                with open_member() as source, target.open("xb") as sink:
                    while chunk := source.read(_CHUNK_BYTES):
                        budget.take_bytes(len(chunk))
                        sink.write(chunk)
    except VolumeError:
        raise
    except _BROKEN as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        encrypted = "password" in lines[0] or "encrypted" in lines[0]
        what = "an encrypted one" if encrypted else f"a damaged one ({lines[0].rstrip('.')[:150]})"
        raise VolumeError(f"{archive} must be a complete zip or tar archive, got {what}. Unpack it by hand.") from error
    return left_out


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
                f"{self.archive} must unpack to at most {self.most_bytes / 1e9:.1f} GB, got more. If that is meant, unpack it by hand."
            )
        if n_bytes > self.space:
            raise VolumeError(f"{self.archive} must unpack into the {max(self.space, 0) / 1e9:.1f} GB that may be used, got more.")


class _Opener(Protocol):
    def __call__(self) -> IO[bytes]: ...


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[Iterator[tuple[str, int, _Opener]]]:
    """The members of either kind, by what the content says: name, size and how to open."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(archive, packed)
    else:
        with tarfile.open(archive, "r:*") as bundle:
            yield _tar_members(archive, bundle)


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
        raise VolumeError(f"{archive} must hold names below its own folder, got `{name[:100]}`. Do not trust it: ask for another.")
    return Path(*(part for part in pure.parts if part != "."))

