"""The two sides of an evaluation as they are found: a mask, a folder of masks, a folder per case, or a manifest."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from segsuite.data.importing.patients import patients_by_folder
from segsuite.data.label_table import LABELS_FILE, read_label_table
from segsuite.data.locate import find_data_root, label_path
from segsuite.data.manifest import case_name, read_manifest
from segsuite.engines.pairs import Pair
from segsuite.engines.structure_files import by_folder, structure_folders
from segsuite.errors import InputError, ManifestError, few_of
from segsuite.files import printable
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.mask_files import MaskFiles, list_masks
from segsuite.volumes.reading import image_ending, read_labels
from segsuite.volumes.regions import Regions

__all__ = ["Predictions", "Reference", "References", "find_predictions", "find_references"]

"""Beside the masks, as predict writes it."""
N_NAMED = 3
"""Files named in a note."""


@dataclass(frozen=True)
class Reference:
    """A reference before it has its prediction: the names that are its own, and those that others may share."""

    pair: Pair
    own_names: tuple[str, ...]
    bare_names: tuple[str, ...]


@dataclass(frozen=True)
class References:
    """All references.

    Attributes:
        cases: As found.
        structures: Integer to name; empty if only the masks can tell.
        ignore_label: Label of voxels that are not scored.
        notes: What was left out or taken in a certain way.
        regions: That the manifest declares.
    """

    cases: list[Reference]
    structures: dict[int, str] = field(default_factory=dict)
    ignore_label: int | None = None
    notes: tuple[str, ...] = ()
    regions: Regions | None = None


@dataclass(frozen=True)
class Predictions:
    """All predictions.

    Attributes:
        by_name: Path below the folder without ending, or case id, to the files of that name.
        folders: Folder to name to file, where there are folders.
        labels: What they call their integers; empty if nothing says so.
        mapping: Of their manifest.
        side_volumes: Files that are masks only if a reference bears their name.
        notes: What was left out.
    """

    by_name: Mapping[str, list[Path]]
    folders: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    labels: Mapping[int, str] = field(default_factory=dict)
    mapping: Mapping[int, int] = field(default_factory=dict)
    side_volumes: Mapping[str, list[Path]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_references(references: Path, *, data_root: Path | None, fold: int | None) -> References:
    """Every case that counts.

    Args:
        references: A mask, a folder or a manifest.
        data_root: For a manifest, where its paths start.
        fold: For a manifest, only this fold.

    Returns:
        The references; also those that cannot be read, so that they are not lost in silence.

    Raises:
        ManifestError: No reference, or two files of one case.
    """
    if references.suffix.lower() == ".json":
        found = _of_manifest(references, data_root, fold)
    elif references.is_dir():
        found = _of_folder(references, list_masks(references))
    else:
        case_id = _name(case_name(references.name))
        found = References([Reference(Pair(case_id, case_id, references, None), (case_id,), (case_id,))])
    if not found.cases:
        raise ManifestError(
            f"{references} must hold reference masks, got none{'' if fold is None else f' of fold {fold}'}. "
            "Check the folder, or --fold." + "".join(f" {note}." for note in found.notes)
        )
    return found


def find_predictions(predictions: Path, *, data_root: Path | None) -> Predictions:
    """Every prediction by its names.

    Args:
        predictions: A mask, a folder or a manifest whose labels are the predictions.
        data_root: For a manifest, where its paths start.

    Returns:
        The predictions.
    """
    if predictions.suffix.lower() == ".json":
        manifest = read_manifest(predictions)
        root = find_data_root(manifest, predictions, data_root)
        files = {_name(case.case_id): [label_path(case, root)] for case in manifest.cases if case.label}
        return Predictions(files, labels=manifest.structures, mapping=manifest.label_mapping)
    if not predictions.is_dir():
        return Predictions({_name(without_ending(predictions.name)): [predictions]})
    masks = list_masks(predictions)
    notes = tuple(f"{path} of the predictions is not seen: {reason}" for path, reason in masks.unseen.items())
    return Predictions(
        _by_stem(masks.masks, predictions),
        folders={_name(folder): names for folder, names in by_folder(masks.masks, predictions).items()},
        labels=_table_beside(predictions),
        side_volumes=_by_stem(masks.side_volumes, predictions),
        notes=notes,
    )


def _of_manifest(references: Path, data_root: Path | None, fold: int | None) -> References:
    manifest = read_manifest(references)
    root = find_data_root(manifest, references, data_root)
    found = []
    for row in (case for case in manifest.cases if case.label and (fold is None or case.fold == fold)):
        image, mask = row.images[0], label_path(row, root)
        labelled = manifest.shown_by(row)
        case_id, form = printable(row.case_id), _name(without_ending(image))
        pair = Pair(
            case_id, printable(row.patient_id), mask, None, manifest.label_mapping, root / image, labelled, row.attributes
        )
        bare = _name(case_name(image)), _name(without_ending(mask.name))
        found.append(Reference(pair, (_name(case_id), form), bare))
    return References(found, manifest.structures, manifest.ignore_label, regions=manifest.region_set)


def _of_folder(references: Path, masks: MaskFiles) -> References:
    notes = []
    masks, side_volumes = _with_whole_numbers(masks)
    if side_volumes:
        notes.append(f"{_named(side_volumes)} belong to masks beside them and are no references")
    if folders := structure_folders(masks.masks, references):
        taken = {path for names in folders.values() for path in names.values()}
        structures = dict(enumerate(sorted({name for names in folders.values() for name in names}), start=1))
        notes.append(
            f"{references} is read as a folder per case with a file per structure: {len(folders)} cases, {len(structures)} "
            f"structures ({', '.join(list(structures.values())[:N_NAMED])}{', ...' if len(structures) > N_NAMED else ''})"
        )
        if left := [path for path in masks.masks if path not in taken]:
            notes.append(f"{_named(left)} lie beside folders of masks and are no references")
        cases = [_folder_reference(references / name, _name(name), names) for name, names in sorted(folders.items())]
        return References([*cases, *_unseen(references, masks)], structures, None, tuple(notes))
    if (
        (alone := by_folder(masks.masks, references))
        and len(alone) == 1
        and len(masks.masks) == len(next(iter(alone.values()))) > 1
    ):
        name = next(iter(alone))
        notes.append(
            f"the {len(masks.masks)} masks in {references / name} are as many cases; if each is a structure of one, put them "
            f"into {name}/segmentations"
        )
    by_stem = _by_stem(masks.masks, references)
    _require_one_each(by_stem, references)
    patients, findings = patients_by_folder({name: f"{name}{image_ending(path)}" for name, (path,) in by_stem.items()})
    if findings:
        notes.append("several scans are taken as one patient's, by their folders or names: intervals are over patients")
    cases = []
    for case_id, (path,) in by_stem.items():
        pair = Pair(case_id, patients.get(case_id, case_id), path, None)
        cases.append(Reference(pair, (case_id,), (case_id.rsplit("/", 1)[-1],)))
    return References([*cases, *_unseen(references, masks)], _table_beside(references), None, tuple(notes))


def _with_whole_numbers(masks: MaskFiles) -> tuple[MaskFiles, list[Path]]:
    """A reference is a mask if it holds whole numbers, though it is called like a volume of another mask and stored as floats."""
    wanted = [path for path in masks.side_volumes if _holds_labels(path)]
    found = replace(masks, masks=sorted([*masks.masks, *wanted]))
    return found, [path for path in masks.side_volumes if path not in wanted]


def _holds_labels(path: Path) -> bool:
    try:
        read_labels(path)
    except InputError:
        return False
    return True


def _folder_reference(folder: Path, case_id: str, names: Mapping[str, Path]) -> Reference:
    pair = Pair(case_id, case_id, folder, None, reference_files=names)
    return Reference(pair, (case_id,), (case_id.rsplit("/", 1)[-1],))


def _unseen(references: Path, masks: MaskFiles) -> list[Reference]:
    """A folder of references that cannot be looked into is a case that fails, and not one that does not count."""
    names = {_name(path.relative_to(references).as_posix()): path for path in masks.unseen}
    return [Reference(Pair(name, name, path, None), (name,), ()) for name, path in names.items() if name != "."]


def _name(text: str) -> str:
    """A name to compare: letters with accents are the same however a file system stores them."""
    return unicodedata.normalize("NFC", printable(text))


def _by_stem(paths: Iterable[Path], folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(_name(without_ending(path.relative_to(folder).as_posix())), []).append(path)
    return found


def _require_one_each(by_stem: Mapping[str, list[Path]], folder: Path) -> None:
    if twice := {name: paths for name, paths in by_stem.items() if len(paths) > 1}:
        said = "; ".join(f"{name}: {' and '.join(path.name for path in paths)}" for name, paths in list(twice.items())[:N_NAMED])
        raise ManifestError(
            f"{folder} must hold one reference per case, got several files of {len(twice)} cases ({said}). Move the others away, "
            "or name the right ones in a manifest."
        )


def _table_beside(folder: Path) -> dict[int, str]:
    table = folder / LABELS_FILE
    return read_label_table(table) if table.is_file() else {}


def _named(paths: list[Path]) -> str:
    return few_of([path.name for path in paths], most=N_NAMED)
