"""What the user wants segmented: files, folders, DICOM series or a manifest, as a list of cases with output names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from segsuite.data.locate import find_data_root, image_paths
from segsuite.data.manifest import Case, case_name, read_manifest
from segsuite.documents import is_missing, read_table
from segsuite.engines.pairing import Pair
from segsuite.errors import ManifestError, SettingsError, VolumeError
from segsuite.volumes.formats.endings import image_ending, is_image, mask_name, without_ending

__all__ = ["InputCase", "find_inputs", "parse_shard", "take_shard", "with_attributes"]


Described = TypeVar("Described", "InputCase", Pair)


@dataclass(frozen=True)
class InputCase:
    """One case to segment.

    Attributes:
        case_id: Unique in the run.
        images: One file per channel, or one for all, or a DICOM folder.
        output: Path of the mask below the output folder; bears the image's name.
        attributes: What else is known of the case.
        source: Where the images are for the user, when these are copies of them; empty: these are the user's.
    """

    case_id: str
    images: tuple[Path, ...]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)
    source: str = ""


def find_inputs(
    paths: Sequence[Path], *, n_channels: int, data_root: Path | None = None, fold: int | None = None
) -> list[InputCase]:
    """Collect the cases in a stable order.

    Args:
        paths: Image files, DICOM folders, folders of images (looked into at any depth), or manifests.
        n_channels: Channels of the model; with more than one, files ``*_0000`` ... of a folder are grouped.
        data_root: For a manifest, where its paths start.
        fold: For a manifest, take only the cases of this fold.

    Returns:
        Cases with unique ids and outputs.

    Raises:
        FileNotFoundError: A path does not exist.
        VolumeError: Nothing to segment.
    """
    cases: list[InputCase] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"The input {path} must exist, but nothing is there. Check the path.")
        if path.suffix == ".json":
            cases += _from_manifest(path, data_root, fold)
        elif path.is_dir() and not is_image(path):
            cases += _from_folder(path, n_channels)
        else:
            cases.append(InputCase(case_name(path.name), (path,), _output_name(path.name)))
    if not cases:
        raise VolumeError(f"The input must hold at least one image, got none in {', '.join(map(str, paths))}.")
    return sorted(_distinct(cases), key=lambda case: case.case_id)


def parse_shard(text: str | None) -> tuple[int, int]:
    """``i/n`` as two numbers, counted from 1.

    Args:
        text: What the user gave.

    Returns:
        Number and count; (1, 1) if nothing was given.

    Raises:
        SettingsError: Not of that form, or i outside 1 to n.
    """
    if text is None:
        return 1, 1
    number, slash, count = text.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise SettingsError(f"--shard must be i/n with i from 1 to n, for example 2/8, got `{text}`.")
    return int(number), int(count)


def take_shard(cases: Sequence[InputCase], shard: tuple[int, int]) -> list[InputCase]:
    """The part of the cases that one of several processes takes.

    Args:
        cases: All, in the same order in every process.
        shard: Number counted from 1, and count.

    Returns:
        Every count-th case.
    """
    number, count = shard
    return list(cases[number - 1 :: count])


def _from_manifest(path: Path, data_root: Path | None, fold: int | None) -> list[InputCase]:
    manifest = read_manifest(path)
    root = find_data_root(manifest, path, data_root)
    rows = manifest.cases if fold is None else [case for case in manifest.training if case.fold == fold]
    if not rows:
        raise ManifestError(f"{path} must hold cases{'' if fold is None else f' of fold {fold}'}, got none.")
    names = Counter(Path(row.images[0]).name for row in rows)
    return [InputCase(row.case_id, tuple(image_paths(row, root)), _output_of_row(row, names), row.attributes) for row in rows]


def _output_of_row(row: Case, names: Mapping[str, int]) -> str:
    """The image's name; where others bear it too, its path below the data root, or the case's id where it lies elsewhere."""
    image = Path(row.images[0])
    if names[image.name] == 1:
        return _output_name(image.name)
    inside = not image.is_absolute() and ".." not in image.parts
    return _output_name(image.as_posix() if inside else f"{row.case_id}{image_ending(image)}")


def _from_folder(folder: Path, n_channels: int) -> list[InputCase]:
    found: list[Path] = []
    for here, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        series = [Path(here) / name for name in folders if not name.startswith(".") and is_image(Path(here) / name)]
        folders[:] = [name for name in folders if Path(here) / name not in series and not name.startswith(".")]
        found += series + [Path(here) / name for name in sorted(files) if is_image(Path(here) / name)]
    groups: dict[str, list[Path]] = {}
    for path in found:
        relative = path.relative_to(folder).as_posix()
        key = re.sub(r"_00\d\d(?=\.)", "", relative) if n_channels > 1 else relative
        groups.setdefault(key, []).append(path)
    return [InputCase(_case_id(relative), tuple(sorted(paths)), _output_name(relative)) for relative, paths in groups.items()]


def _case_id(relative: str) -> str:
    path = Path(relative)
    return "/".join((*path.parent.parts, case_name(path.name)))


def _output_name(relative: str) -> str:
    """The image's own name where such files are written; a DICOM folder's and a pair's name gets ``.nii.gz``."""
    return mask_name(relative)


def _distinct(cases: list[InputCase]) -> list[InputCase]:
    """Cases of one name get as many of their parent folders as it takes to tell them apart."""
    depth = 0
    while depth < 10:
        outputs = Counter(case.output for case in cases)
        ids = Counter(case.case_id for case in cases)
        if max(outputs.values()) == 1 and max(ids.values()) == 1:
            return cases
        depth += 1
        cases = [_with_parents(case, depth) if outputs[case.output] > 1 or ids[case.case_id] > 1 else case for case in cases]
    twice = [name for name, count in Counter(case.output for case in cases).items() if count > 1]
    raise VolumeError(f"Every input must be given once, got {twice[:3]} several times.")


def _with_parents(case: InputCase, depth: int) -> InputCase:
    path = case.images[0].resolve()
    parents = path.parts[-1 - depth : -1]
    name = Path(case.output).name
    return replace(case, case_id="/".join((*parents, case_name(name))), output="/".join((*parents, name)))


def with_attributes(cases: Sequence[Described], table: Path) -> list[Described]:
    """Cases with what a table knows of them.

    Args:
        cases: From ``find_inputs``, or the pairs of an evaluation.
        table: TSV or CSV with a column ``case`` (the case's id or its image's name without ending) and any others.

    Returns:
        The cases; a value of the table replaces one of the manifest.

    Raises:
        ManifestError: No column ``case``, a case twice, or a row for no case.
    """
    content = read_table(table, error=ManifestError)
    column = next((name for name in content.columns if name.lower() == "case"), None)
    if column is None:
        raise ManifestError(f"{table} must have a column `case`, got {list(content.columns)}.")
    rows = content.rows
    known = {
        _without_ending(row[column]): {key: value for key, value in row.items() if key != column and not is_missing(value)}
        for row in rows
    }
    if len(known) < len(rows):
        raise ManifestError(f"{table} must name each case once, got {len(rows)} rows for {len(known)} cases.")
    bare = Counter(case_name(case.case_id) for case in cases)
    names = {
        case.case_id: case_name(case.case_id)
        if case.case_id not in known and bare[case_name(case.case_id)] == 1
        else case.case_id
        for case in cases
    }
    if strangers := sorted(set(known) - set(names.values())):
        raise ManifestError(f"{table} must name cases of the input, got {strangers[:3]}, none of its {len(cases)} cases.")
    return [replace(case, attributes={**case.attributes, **known.get(names[case.case_id], {})}) for case in cases]


def _without_ending(case: str) -> str:
    return without_ending(case)
