"""Which image files lie below a folder: links are followed, loops end, and what cannot be taken is told."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segsuite.data.importing.found import ImportFinding
from segsuite.errors import InputError, ManifestError
from segsuite.volumes.archive_names import is_archive
from segsuite.volumes.dicom_series import Series, look_into, series_by_place, why_spread
from segsuite.volumes.folders import SYSTEM_FOLDERS, FolderWalk
from segsuite.volumes.packed import images_packed_in, listed
from segsuite.volumes.reading import image_ending, is_image, stored_shape

__all__ = ["MADE_MARK", "Tree", "axes_of", "list_tree", "matches", "without_four_dimensional"]

MADE_MARK = "made_by_segsuite.json"
"""File of a folder of masks that `manifest import`, `combine` or `resample` made: no source of the next import."""


@dataclass(frozen=True)
class Tree:
    """What lies below a folder.

    Attributes:
        root: The folder.
        paths: Image files, archives of one image, and folders of DICOM slices, relative to it, POSIX, sorted; links to nothing
            among them.
        findings: What could not be looked into, and what was passed over.
    """

    root: Path
    paths: tuple[str, ...]
    findings: tuple[ImportFinding, ...] = ()


@dataclass
class _Walk:
    paths: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    spread: dict[str, str] = field(default_factory=dict)


def list_tree(root: Path, *, leave_out: Sequence[str] = ()) -> Tree:
    """Find the images below a folder; hidden files and folders are passed over.

    Args:
        root: Where to look, at any depth.
        leave_out: Globs of relative paths (or of names, where they have no ``/``) that are passed over.

    Returns:
        Paths and findings.

    Raises:
        ManifestError: A glob of ``leave_out`` that no file matches: it would do nothing.
    """
    walk = _Walk()
    used: set[str] = set()

    def wanted(relative: str) -> bool:
        hits = [glob for glob in leave_out if matches(relative, glob)]
        used.update(hits)
        walk.left_out.extend([relative] if hits else [])
        return not hits

    _look(root, walk, wanted)
    if idle := [glob for glob in leave_out if glob not in used]:
        raise ManifestError(f"--leave-out must match files of {root}, got `{idle[0]}`, which matches none.")
    return Tree(root, tuple(sorted(walk.paths)), tuple(_findings(root, walk)))


def _look(root: Path, walk: _Walk, wanted: Callable[[str], bool]) -> None:
    parts: list[Series] = []
    folders = FolderWalk(root, pass_over=SYSTEM_FOLDERS)
    for here in folders:
        if any(path.name == MADE_MARK for path in here.files):
            walk.ours.append(here.folder.relative_to(root).as_posix())
            here.folders.clear()
            continue
        content = look_into(here.folder)
        parts += content.series
        for path in here.files:
            packed = is_archive(path)
            if str(path) in content.files or not (packed or is_image(path)):
                continue
            relative = path.relative_to(root).as_posix()
            if not path.is_file() and path.exists():
                walk.odd.append(relative)
            elif wanted(relative) and (not packed or _holds_one(path, relative, walk)):
                walk.paths.append(relative)
    walk.paths += [relative for relative in _series_of(parts, root, walk.spread) if wanted(relative)]
    walk.unseen += [path.relative_to(root).as_posix() for path in folders.unlistable]


def _holds_one(archive: Path, relative: str, walk: _Walk) -> bool:
    """An archive of one image is that image."""
    try:
        names = images_packed_in(archive) if archive.exists() else [""]  # a link to nothing is told as such
    except InputError as error:
        walk.broken[relative] = str(error)
        return False
    if len(names) != 1:
        walk.several.append(f"{relative} ({len(names)} images{listed(names)})" if names else f"{relative} (no image)")
    return len(names) == 1


def _series_of(parts: Sequence[Series], root: Path, spread: dict[str, str]) -> Iterable[str]:
    """Of a folder's only series the folder, of several one file each; survey pictures are none."""
    for here, several in series_by_place(parts).items():
        scans = [one for one in several if not one.localiser]
        if len(scans) == 1 and here != root:
            yield here.relative_to(root).as_posix()
            continue
        for one in scans:
            if problem := why_spread(one, here):
                spread[here.relative_to(root).as_posix()] = problem
            else:
                yield one.files[0].relative_to(root).as_posix()


def _findings(root: Path, walk: _Walk) -> Iterable[ImportFinding]:
    if walk.unseen:
        yield ImportFinding("error", "folders that cannot be listed", tuple(sorted(walk.unseen)), "Change their permissions.")
    for place, problem in walk.spread.items():
        yield ImportFinding("error", "series in several folders", (place,), problem)
    if walk.left_out:
        yield ImportFinding("note", "left out as asked", tuple(sorted(walk.left_out)), "They match --leave-out.")
    if walk.odd:
        yield ImportFinding("note", "pipes and devices", tuple(sorted(walk.odd)), "They are no files, and are not opened.")
    if walk.ours:
        yield ImportFinding("note", "masks that segsuite made", tuple(sorted(walk.ours)), "They are made of others here.")
    if walk.several:
        message = "An archive of one image, or of one series, is taken as that. Unpack these to import what they hold."
        yield ImportFinding("note", "archives that are not one image", tuple(sorted(walk.several)), message)
    if walk.broken:
        message = next(iter(walk.broken.values()))
        yield ImportFinding("error", "archives that cannot be read", tuple(sorted(walk.broken)), message)
    dangling = [path for path in walk.paths if not (root / path).exists()]
    if dangling:
        yield ImportFinding(
            "error", "links to files that are not there", tuple(sorted(dangling)), "Get the content (such as `datalad get`)."
        )


def matches(relative: str, glob: str) -> bool:
    """Whether a relative path matches a glob; one without ``/`` is one of names."""
    return fnmatch.fnmatchcase(relative if "/" in glob else relative.rsplit("/", 1)[-1], glob)


def axes_of(path: Path) -> tuple[int, ...]:
    """The shape of an image by its header, trailing axes of length 1 left out.

    Args:
        path: The file.

    Returns:
        For example (128, 128, 40) or (64, 64, 30, 200); empty where the header cannot be read, which checking tells.
    """
    try:
        return stored_shape(path)
    except (InputError, OSError):
        return ()


def without_four_dimensional(
    root: Path, images: Sequence[str], *, n_channels: int | None = None
) -> tuple[list[str], list[ImportFinding]]:
    """Images that can be a case: time series and diffusion volumes are none.

    Args:
        root: The data set's folder.
        images: Relative paths.
        n_channels: How long a fourth axis may be that holds channels; ``None``: none may.

    Returns:
        Those that remain, and what to tell of the others.
    """
    files = [path for path in images if image_ending(Path(path)) or is_archive(Path(path))]
    found = {path: axes_of(root / path) for path in files if (root / path).is_file()}
    more = [path for path, axes in found.items() if len(axes) > 3 and axes[3:] != (n_channels,)]
    if not more:
        return list(images), []
    shape = " x ".join(map(str, found[more[0]]))
    message = (
        f"They have more than three axes ({shape} for the first), such as a time series, and are no cases. If the fourth axis "
        "is channels, declare `channels` in a manifest or dataset.json of your own."
    )
    return [path for path in images if path not in set(more)], [ImportFinding("note", "4-D images", tuple(more), message)]
