"""An archive that holds one image, or one DICOM series, is read as that image, wherever a path is read."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from segsuite.errors import InputError, VolumeError
from segsuite.volumes.archives import WorkFolder, is_archive, members_of, unpack
from segsuite.volumes.dicom_files import ENDINGS as DICOM_ENDINGS
from segsuite.volumes.dicom_files import PREAMBLE_BYTES
from segsuite.volumes.finding import SeriesChoice, find_images
from segsuite.volumes.formats.endings import image_ending
from segsuite.volumes.formats.opening import is_known
from segsuite.volumes.volume import Volume

__all__ = ["image_at", "images_packed_in", "is_packed", "listed", "reads_archives"]

N_NAMED = 5
How = ParamSpec("How")
Read = TypeVar("Read")


def is_packed(path: Path) -> bool:
    """Whether a path is an archive by its name and no image by its content.

    Args:
        path: Any path.
    """
    return is_archive(path) and path.exists() and not is_known(path)


@contextmanager
def image_at(path: Path, *, series_uid: str | None = None) -> Iterator[Path]:
    """The image that a path means; an archive is unpacked into a private folder while the block lasts.

    Args:
        path: An image as ``read_volume`` takes it, or an archive that holds exactly one.
        series_uid: Of an archive with several series, this one.

    Returns:
        The path itself, or that of the image in the folder. Errors of the block name the archive and what is in it.

    Raises:
        VolumeError: A bad archive, or one that holds no image, or several.
        OutputError: The folder for temporary files is full.
    """
    if not is_packed(path):
        yield path
        return
    with WorkFolder(Path(tempfile.gettempdir())) as work:
        place = work.place_for(path)
        unpack(path, place)
        try:
            yield _only_image(path, place, series_uid)
        except (InputError, FileNotFoundError) as error:
            raise type(error)(str(error).replace(str(place), str(path))) from error


def _only_image(archive: Path, place: Path, series_uid: str | None) -> Path:
    found = find_images(place, choice=SeriesChoice(uid=series_uid)).images
    if len(found) != 1:
        names = [one.relative or "a series" for one in found]
        raise VolumeError(
            f"{archive} must hold one image or one DICOM series to be read as an image, got {len(found) or 'none'}"
            f"{listed(names)}. {'Unpack it and give one of them.' if found else 'Check what was packed.'}"
        )
    if found[0].problem:
        raise VolumeError(found[0].problem)
    return found[0].path


def listed(names: list[str]) -> str:
    """A colon and the first names; nothing where there are none.

    Args:
        names: Of images in an archive.
    """
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return f": {', '.join(names[:N_NAMED])}{more}" if names else ""


def images_packed_in(archive: Path) -> list[str]:
    """Which images an archive holds; it is unpacked only where it holds DICOM, of which names tell nothing.

    Args:
        archive: Zip or tar.

    Returns:
        Their names in it; several are not all listed. Empty if it holds none.

    Raises:
        VolumeError: A bad archive.
        OutputError: The folder for temporary files is full.
    """
    named: list[str] = []
    dicom = False
    for name, start in members_of(archive, n_bytes=PREAMBLE_BYTES + 4):
        ending = image_ending(Path(name))
        if ending and not (ending.startswith(".img") and start[PREAMBLE_BYTES:] != b"DICM"):  # of a pair, the header counts
            named.append(name)
        dicom = dicom or start[PREAMBLE_BYTES:] == b"DICM" or Path(name).suffix.lower() in DICOM_ENDINGS
        if len(named) > N_NAMED:
            return named
    if not dicom:
        return named
    with WorkFolder(Path(tempfile.gettempdir())) as work:
        place = work.place_for(archive)
        unpack(archive, place)
        return [one.relative or "a series" for one in find_images(place).images]


def reads_archives(read: Callable[Concatenate[Path, How], Read]) -> Callable[Concatenate[Path, How], Read]:
    """A function that reads an image at a path, so that it also takes an archive of one; what it returns names the archive.

    Args:
        read: Takes the path first; whatever it returns must not need the file any more.

    Returns:
        The same for archives too.
    """

    @functools.wraps(read)
    def reading(path: Path, *args: How.args, **how: How.kwargs) -> Read:
        with image_at(path, series_uid=cast(str | None, how.get("series_uid"))) as place:
            found = read(place, *args, **how)
        return cast(Read, replace(found, path=path)) if place != path and isinstance(found, Volume) else found

    return cast(Callable[Concatenate[Path, How], Read], reading)
