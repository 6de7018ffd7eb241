"""Which files of a folder are the slices of which DICOM series, whatever their names; and which files may belong to one.

A series is named by a path: the folder, where it is the only one there, or any one of its files.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_files import DicomFile, candidates, is_dicom, says_dicom
from segsuite.volumes.folders import FolderWalk

__all__ = ["FolderOfSeries", "Series", "join_parts", "look_into", "series_at", "series_by_place", "why_spread"]

MOST_SEARCHED_BYTES = 2**17
State = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Series:
    """The slices of one series.

    Attributes:
        uid: Empty where an anonymiser removed it.
        files: In the order of their names.
        number: Of the series; empty if unknown.
        description: Never with the patient's name or number in it.
        localiser: Whether its slices say that they are survey pictures.
        damaged: Files that cannot be read and are, or may be, slices of it: with the reasons.
        objects: Identifiers of its files; copies have the same.
    """

    uid: str
    files: tuple[Path, ...]
    number: str = ""
    description: str = ""
    localiser: bool = False
    damaged: tuple[str, ...] = ()
    objects: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """A name made of number and description, for files: ``3_t2_tse_tra``."""
        words = re.sub(r"[^A-Za-z0-9]+", "_", self.description).strip("_")[:60]
        number = re.sub(r"[^A-Za-z0-9]+", "", self.number)[:12]
        return "_".join(part for part in (number, words) if part) or "series"

    @property
    def shown(self) -> str:
        """For messages."""
        said = f" ({self.label}, {len(self.files)} files)"
        return (self.uid or "without SeriesInstanceUID") + said


@dataclass(frozen=True)
class FolderOfSeries:
    """What DICOM a folder holds directly.

    Attributes:
        series: In the order of number, then identifier.
        left_out: Kind of file to count: directories, reports, segmentations.
        files: All DICOM files, to tell them from others.
    """

    series: tuple[Series, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    files: frozenset[str] = frozenset()


def look_into(folder: Path) -> FolderOfSeries:
    """The series of a folder, without its sub-folders.

    Args:
        folder: Any folder.

    Returns:
        The series; a damaged file is put down to each series that it may belong to.
    """
    files = [path for path in candidates(folder) if is_dicom(path) or _named_like_a_slice(path)]
    if not any(is_dicom(path) for path in files):
        return FolderOfSeries()
    states = tuple((str(path), status.st_size, status.st_mtime_ns) for path in files if (status := path.stat()))
    return _grouped(states)


def series_at(path: Path, *, series_uid: str | None = None) -> Series:
    """The series that a path names.

    Args:
        path: A folder that holds one series, directly or spread over its sub-folders, or a file of a series.
        series_uid: Which one, where the folder holds several.

    Returns:
        The series.

    Raises:
        VolumeError: None there, several without a choice, or a file of it that cannot be read.
    """
    from segsuite.volumes.dicom_headers import read_header  # pydicom takes a third of a second

    if not path.is_dir():
        own = read_header(path)
        if own.no_scan:
            raise VolumeError(f"{path} must be a DICOM image, got a {own.no_scan}.")
        series = [one for one in look_into(path.parent).series if path in one.files]
        chosen = series[0] if series else Series(own.series_uid, (path,), own.number, own.description)
        if series_uid is not None and chosen.uid != series_uid:
            raise VolumeError(f"{path} must be of series {series_uid}, got one of {chosen.shown}.")
    else:
        chosen = _chosen(path, _in_folder(path), series_uid)
    if chosen.damaged:
        more = f" (and {len(chosen.damaged) - 1} more)" if len(chosen.damaged) > 1 else ""
        raise VolumeError(f"{path} must hold readable slices only, got: {chosen.damaged[0]}{more}")
    return chosen


def _chosen(folder: Path, found: Sequence[Series], series_uid: str | None) -> Series:
    if not found:
        raise VolumeError(f"{folder} must hold the slices of a DICOM series, got none. Point to the folder with them.")
    if series_uid is not None:
        fitting = [one for one in found if one.uid == series_uid]
        if not fitting:
            raise VolumeError(f"{folder} must hold series {series_uid}, got: {', '.join(one.shown for one in found)}.")
        return fitting[0]
    scans = [one for one in found if not one.localiser] or list(found)
    if len(scans) > 1:
        listed = ", ".join(one.shown for one in scans)
        raise VolumeError(
            f"{folder} must hold one series, got {len(scans)}: {listed}. Choose one with --series-uid, or give one of its files."
        )
    return scans[0]


def _in_folder(folder: Path) -> list[Series]:
    """Series that lie directly in it, with what is below it of them; else those that are below it."""
    direct = look_into(folder).series
    found = list(direct)
    for here in FolderWalk(folder, once=True):
        if here.folder != folder:
            found += look_into(here.folder).series
    whole = join_parts(found)
    return [one for one in whole if one.files[0].parent == folder] if direct else whole


def series_by_place(parts: Sequence[Series]) -> dict[Path, list[Series]]:
    """Series that were found folder by folder, put together, by the nearest folder that all their slices are in.

    Args:
        parts: Of all folders.

    Returns:
        Folder to its series.
    """
    places: dict[Path, list[Series]] = {}
    for one in join_parts(parts):
        here = Path(os.path.commonpath([path.parent for path in one.files]))
        places.setdefault(here, []).append(one)
    return places


def why_spread(series: Series, here: Path) -> str:
    """What is wrong with a series that is not the only one of its place, where its slices lie in several folders.

    Args:
        series: With all its parts.
        here: Its place.

    Returns:
        A sentence; empty where all slices lie in ``here`` itself, so that one of them names the series.
    """
    folders = sorted({path.parent.relative_to(here).as_posix() for path in series.files})
    if folders == ["."]:
        return ""
    return (
        f"{here} must hold the slices of a series in one folder where there are several series, got those of {series.shown} in "
        f"{', '.join(folders[:5])}. Put them into one folder."
    )


def join_parts(found: Sequence[Series]) -> list[Series]:
    """Series whose slices lie in several folders, put together; copies stay apart.

    Args:
        found: Of several folders.

    Returns:
        In the order of their first parts.
    """
    groups: dict[str, list[list[Series]]] = {}
    for one in found:
        same = groups.setdefault(one.uid or str(one.files[0]), [])
        fitting = next((parts for parts in same if not any(part.objects & one.objects for part in parts)), None)
        if fitting is None:
            same.append([one])
        else:
            fitting.append(one)
    return [_joined(parts) for same in groups.values() for parts in same]


def _joined(parts: Sequence[Series]) -> Series:
    first = parts[0]
    if len(parts) == 1:
        return first
    return Series(
        first.uid,
        tuple(path for part in parts for path in part.files),
        first.number,
        first.description,
        all(part.localiser for part in parts),
        tuple(reason for part in parts for reason in part.damaged),
        frozenset().union(*(part.objects for part in parts)),
    )


def _named_like_a_slice(path: Path) -> bool:
    """A file without ending that is empty or overwritten may still be a slice: its name has the form of the others'."""
    return bool(re.search(r"\d", path.name)) and os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where it may not look


def _form(name: str) -> str:
    return re.sub(r"\d+", "0", name)


@functools.lru_cache(maxsize=64)
def _grouped(states: State) -> FolderOfSeries:
    """By files, sizes and times of change: one process looks into the same folder several times."""
    from segsuite.volumes.dicom_headers import read_header  # pydicom takes a third of a second

    scans: list[DicomFile] = []
    unreadable: dict[Path, str] = {}
    left_out: Counter[str] = Counter()
    others: list[Path] = []
    for path in (Path(name) for name, _, _ in states):
        if not is_dicom(path):
            others.append(path)
            continue
        try:
            found = read_header(path)
        except VolumeError as error:
            if says_dicom(path):
                unreadable[path] = str(error)
            else:
                others.append(path)
            continue
        if found.no_scan:
            left_out[found.no_scan] += 1
        else:
            scans.append(found)
    forms = {_form(file.path.name) for file in scans}
    unreadable |= {
        path: f"{path} must be a DICOM file as its neighbours are, got something else. It may be damaged: export it again."
        for path in others
        if _form(path.name) in forms
    }
    groups: dict[str, list[DicomFile]] = {}
    for file in scans:
        groups.setdefault(file.series_uid, []).append(file)
    belongs = _belonging(unreadable, list(groups))
    series = [
        _series(files, [unreadable[path] for path, uids in belongs.items() if uid in uids]) for uid, files in groups.items()
    ]
    if not groups and unreadable:
        series = [Series("", tuple(unreadable), damaged=tuple(unreadable.values()))]
    known = frozenset(str(path) for path in [*unreadable, *(Path(name) for name, _, _ in states if Path(name) not in others)])
    return FolderOfSeries(tuple(sorted(series, key=_order)), left_out, known)


def _series(files: Sequence[DicomFile], damaged: Sequence[str]) -> Series:
    first = files[0]
    paths = tuple(file.path for file in files)
    description = first.description if all(file.description for file in files) else ""
    localiser, objects = all(file.localiser for file in files), frozenset(file.object_uid for file in files)
    return Series(first.series_uid, paths, first.number, description, localiser, tuple(damaged), objects)


def _order(series: Series) -> tuple[int, str]:
    return int(series.number) if series.number.isdigit() else 10**9, series.uid


def _belonging(unreadable: dict[Path, str], uids: Sequence[str]) -> dict[Path, Sequence[str]]:
    """The series that each damaged file may be a slice of: the one whose identifier is still in it, else all."""
    found: dict[Path, Sequence[str]] = {}
    for path in unreadable:
        try:
            with path.open("rb") as stream:
                start = stream.read(MOST_SEARCHED_BYTES)
        except OSError:
            start = b""
        own = [uid for uid in uids if uid and re.search(re.escape(uid.encode()) + rb"(?![0-9.])", start)]
        found[path] = own if len(own) == 1 else uids
    return found
