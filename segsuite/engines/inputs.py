"""What the user wants segmented: files, folders, DICOM series or a manifest, as a list of cases with output names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from segsuite.data.locate import find_data_root, image_paths
from segsuite.data.manifest import Case, case_name, read_manifest
from segsuite.documents import is_missing, read_table
from segsuite.engines.case_names import distinct
from segsuite.engines.input_case import InputCase
from segsuite.engines.input_search import PLAIN_SEARCH, SearchOptions, cases_at
from segsuite.engines.pairing import Pair
from segsuite.errors import ManifestError, SettingsError, VolumeError
from segsuite.volumes.finding import left_out_text
from segsuite.volumes.formats.endings import image_ending, mask_name, without_ending
from segsuite.volumes.image_files import files_of_image, is_series

__all__ = [
    "PLAIN_SEARCH",
    "InputCase",
    "Inputs",
    "SearchOptions",
    "find_inputs",
    "parse_shard",
    "search_inputs",
    "take_shard",
    "with_attributes",
]


Described = TypeVar("Described", "InputCase", Pair)


@dataclass(frozen=True)
class Inputs:
    """What there is to segment.

    Attributes:
        cases: In a stable order, with unique ids and outputs.
        left_out: What else was found and is not taken, by kind.
    """

    cases: list[InputCase]
    left_out: Counter[str]


def find_inputs(
    paths: Sequence[Path], *, n_channels: int, data_root: Path | None = None, fold: int | None = None
) -> list[InputCase]:
    """Collect the cases in a stable order; archives are not unpacked. See ``search_inputs``."""
    return search_inputs(paths, n_channels=n_channels, data_root=data_root, fold=fold).cases


def search_inputs(
    paths: Sequence[Path],
    *,
    n_channels: int,
    data_root: Path | None = None,
    fold: int | None = None,
    where: SearchOptions = PLAIN_SEARCH,
) -> Inputs:
    """Collect the cases in a stable order.

    Args:
        paths: Image files, DICOM folders or files, folders of images (looked into at any depth), archives, or manifests.
        n_channels: Channels of the model; with more than one, files ``*_0000`` ... of a folder are grouped.
        data_root: For a manifest, where its paths start.
        fold: For a manifest, take only the cases of this fold.
        where: Which DICOM series, where the outputs are, where archives are unpacked.

    Returns:
        Cases, and what else is there.

    Raises:
        FileNotFoundError: A path does not exist.
        VolumeError: Nothing to segment.
    """
    cases: list[InputCase] = []
    left_out: Counter[str] = Counter()
    slices: set[Path] = set()
    for path in paths:
        if path in slices:  # of a series that is a case already: all of a folder's files were given
            continue
        if not os.path.lexists(path):
            raise FileNotFoundError(f"The input {path} must exist, but nothing is there. Check the path.")
        if path.suffix.lower() == ".json":
            cases += _from_manifest(path, data_root, fold)
            continue
        found, rest = cases_at(path, n_channels=n_channels, options=where)
        is_file = os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where it may not look
        slices.update(files_of_image(path) if is_file and is_series(path) else ())
        cases, left_out = cases + found, left_out + rest
    if not cases:
        said = f" ({left_out_text(left_out)})" if left_out_text(left_out) else ""
        hint = " No series fits --series-uid and --series-description." if where.choice.is_made else ""
        raise VolumeError(f"The input must hold at least one image, got none in {', '.join(map(str, paths))}{said}.{hint}")
    return Inputs(sorted(distinct(cases), key=lambda case: case.case_id), left_out)


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
        return mask_name(image.name)
    inside = not image.is_absolute() and ".." not in image.parts
    return mask_name(image.as_posix() if inside else f"{row.case_id}{image_ending(image)}")


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
        without_ending(row[column]): {key: value for key, value in row.items() if key != column and not is_missing(value)}
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
