"""The cases in a file, a folder or an archive that a user gives, and what else is there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segsuite.data.manifest import case_name
from segsuite.engines.channel_files import ChannelGroup, group_channels
from segsuite.engines.input_case import InputCase
from segsuite.engines.ledger import LEDGERS, read_ledger
from segsuite.errors import VolumeError
from segsuite.failures import Step, reason_of
from segsuite.volumes.archives import ARCHIVE_ENDINGS, WorkFolder, archive_name, is_archive, unpack
from segsuite.volumes.dicom_files import may_be_slice
from segsuite.volumes.dicom_series import look_into
from segsuite.volumes.finding import Found, SeriesChoice, find_images
from segsuite.volumes.formats.endings import image_ending, mask_name, without_ending
from segsuite.volumes.mask_likeness import looks_like_mask
from segsuite.volumes.writing import SIDE_VOLUMES

__all__ = ["SearchOptions", "cases_at"]

EARLIER = "masks of an earlier run"


@dataclass(frozen=True)
class SearchOptions:
    """How a user's files are looked through.

    Attributes:
        choice: Which DICOM series.
        out: Where the outputs go: nothing in it is an input.
        work: Where archives are unpacked; ``None``: they are left out.
    """

    choice: SeriesChoice = field(default_factory=SeriesChoice)
    out: Path | None = None
    work: WorkFolder | None = None


PLAIN_SEARCH: SearchOptions = SearchOptions()


def cases_at(path: Path, *, n_channels: int, options: SearchOptions) -> tuple[list[InputCase], Counter[str]]:
    """The cases that one path of the user means.

    Args:
        path: An image, a DICOM file or folder, a folder of images, or an archive; a dot is the folder that it stands for.
        n_channels: Channels of the model; with more than one, files ``*_0000`` ... of a folder are grouped.
        options: How to look.

    Returns:
        Cases whose names may still clash, and what is left out.

    Raises:
        VolumeError: A folder that cannot be listed, or an archive without a place to unpack it.
    """
    path = path.resolve() if path.name in ("", "..") else path
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a link leads to what may not be seen
        return _in_folder(path, n_channels, options)
    if is_archive(path):
        if options.work is None:
            raise VolumeError(f"{path} must be unpacked first, got an archive: only `segsuite predict` unpacks it by itself.")
        return _in_archive(Found(path, path.name), n_channels, options)
    if may_be_slice(path, image_ending(path)):
        return [_of_dicom_file(path)], Counter()
    return [InputCase(case_name(path.name), (path,), mask_name(path.name))], Counter()


def _of_dicom_file(path: Path) -> InputCase:
    """One file names its series."""
    series = look_into(path.parent).series
    own = next((one for one in series if path in one.files), None)
    name = path.name if own is None else own.label if len(series) > 1 else path.resolve().parent.name
    return InputCase(name, (path,), f"{name}.nii.gz")


def _in_folder(folder: Path, n_channels: int, options: SearchOptions) -> tuple[list[InputCase], Counter[str]]:
    ours = _ours(folder, options.out)
    search = find_images(
        folder, choice=options.choice, leave_out=lambda path: ours(path) or _mask(path), archive_endings=ARCHIVE_ENDINGS
    )
    cases, left_out = _grouped(search.images, folder.resolve().name, n_channels), search.left_out
    for archive in search.archives:
        found, rest = _in_archive(archive, n_channels, options)
        cases, left_out = cases + found, left_out + rest
        left_out["archive without images"] += not found and options.work is not None
    return cases, left_out


def _in_archive(archive: Found, n_channels: int, options: SearchOptions) -> tuple[list[InputCase], Counter[str]]:
    """An archive is a folder of its name; one that cannot be unpacked is a case that fails."""
    stem = archive_name(Path(archive.relative))
    prefix = (Path(archive.relative).parent / stem).as_posix()
    if options.work is None:
        return [], Counter({"archive": 1})
    here, folder = archive.path.resolve(), options.work.place_for(archive.path)
    try:
        hidden = unpack(archive.path, folder)
        search = find_images(folder, choice=options.choice, leave_out=_mask)
    except Exception as error:
        problem = reason_of(error, Step.LOOKING)
        return [InputCase(prefix, (archive.path,), f"{prefix}.nii.gz", problem=problem)], Counter()
    below = [Found(one.path, f"{prefix}/{one.relative}".rstrip("/"), one.is_series, one.problem) for one in search.images]
    cases = _grouped(below, stem, n_channels)
    places = ((case, "\n".join(str(here / image.relative_to(folder)) for image in case.images)) for case in cases)
    return [_copied(case, source) for case, source in places], search.left_out + hidden


def _copied(case: InputCase, source: str) -> InputCase:
    return InputCase(case.case_id, case.images, case.output, case.attributes, source, case.problem)


def _grouped(images: Sequence[Found], name: str, n_channels: int) -> list[InputCase]:
    """One case per image, or per group of files that differ in the number of their channel only."""
    series = [image for image in images if image.is_series]
    files = {image.relative: image for image in images if not image.is_series}
    groups = group_channels({relative: image.path for relative, image in files.items()}, n_channels=n_channels)
    problems = {image.path: image.problem for image in files.values()}
    cases = [_of_series(image, image.relative or name) for image in series] + [_of_files(group, problems) for group in groups]
    place = {image.path: number for number, image in enumerate(images)}
    return sorted(cases, key=lambda case: min(place[path] for path in case.images))


def _of_series(image: Found, relative: str) -> InputCase:
    return InputCase(relative, (image.path,), f"{relative}.nii.gz", problem=image.problem)


def _of_files(group: ChannelGroup, problems: Mapping[Path, str]) -> InputCase:
    place = Path(group.name)
    case_id = "/".join((*place.parent.parts, case_name(place.name)))
    problem = next((problems[path] for path in group.files if problems[path]), group.problem)
    return InputCase(case_id, group.files, mask_name(group.name), problem=problem)


def _mask(path: Path) -> str:
    """Scans and their masks often lie side by side."""
    return "mask" if image_ending(path) and looks_like_mask(path) else ""


def _ours(top: Path, out: Path | None) -> Callable[[Path], str]:
    """Says of a path whether an earlier run of ours wrote it: what is below ``out``, or carries our ledger."""
    resolved = None if out is None else out.resolve()
    written = {line.output for line in read_ledger(top).values()}
    beside = tuple(f"{without_ending(name)}{mark}" for name in written for mark in SIDE_VOLUMES)

    def what(path: Path) -> str:
        if os.path.isdir(path):  # noqa: PTH112 - as above
            return EARLIER if path.resolve() == resolved or _carries_ledger(path) else ""
        name = path.relative_to(top).as_posix()
        return "mask of an earlier run" if name in written or (name.startswith(beside) and image_ending(path)) else ""

    return what


def _carries_ledger(folder: Path) -> bool:
    try:
        return any(folder.glob(LEDGERS))
    except OSError:
        return False
