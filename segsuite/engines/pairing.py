"""Which prediction belongs to which reference: pairs come from the references, so that a missing prediction is a row.

A name that several files share (``t2w`` in every patient's folder) pairs nothing by itself, and no prediction is used
twice: better a missing prediction than another patient's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segsuite.data.locate import find_data_root, label_path
from segsuite.data.manifest import case_name, read_manifest
from segsuite.errors import ManifestError
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.labels import labels_present
from segsuite.volumes.reading import is_image, read_labels
from segsuite.volumes.writing import is_side_volume

__all__ = ["Pair", "Pairing", "find_pairs", "structures_of"]


@dataclass(frozen=True)
class Pair:
    """A reference and the prediction for it, if there is one; ``labelled`` names what the reference shows, if not all.

    ``attributes`` is what else is known of the case, such as its site.
    """

    case_id: str
    patient_id: str
    reference: Path
    predicted: Path | None
    mapping: Mapping[int, int] = field(default_factory=dict)
    image: Path | None = None
    labelled: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pairing:
    """All pairs of an evaluation.

    Attributes:
        pairs: In order of case id.
        structures: Integer to name; empty if only the masks can tell.
        ignore_label: Label of voxels that are not scored.
    """

    pairs: list[Pair]
    structures: dict[int, str]
    ignore_label: int | None = None


@dataclass(frozen=True)
class _Reference:
    """A reference before it has its prediction: the names that are its own, and those that others may share."""

    pair: Pair
    own_names: tuple[str, ...]
    bare_names: tuple[str, ...]


def find_pairs(predictions: Path, references: Path, *, data_root: Path | None = None, fold: int | None = None) -> Pairing:
    """Pair every reference with its prediction by file name.

    Args:
        predictions: Folder of masks, or a manifest whose labels are the predictions.
        references: Folder of masks, or a manifest.
        data_root: For manifests, where paths start.
        fold: For a manifest of references, only this fold.

    Returns:
        The pairs.

    Raises:
        FileNotFoundError: A folder or manifest does not exist.
        ManifestError: No references.
    """
    for path in (predictions, references):
        if not path.exists():
            raise FileNotFoundError(f"{path} must be a folder or a manifest, but nothing is there. Check the path.")
    if references.suffix == ".json":
        found, structures, ignore = _of_manifest(references, data_root, fold)
    else:
        found, structures, ignore = _of_folder(references), {}, None
    if not found:
        raise ManifestError(f"{references} must hold reference masks, got none. Check the folder, or --fold.")
    pairs = _matched(found, _predictions_by_name(predictions, data_root))
    return Pairing(sorted(pairs, key=lambda pair: pair.case_id), structures, ignore)


def structures_of(pairs: Iterable[Pair]) -> dict[int, str]:
    """The labels found in the references, named by their integers, where no manifest names them.

    Args:
        pairs: All pairs.

    Returns:
        Integer to ``label <n>``.
    """
    found: set[int] = set()
    for pair in pairs:
        found |= set(labels_present(read_labels(pair.reference).array))
    return {value: f"label {value}" for value in sorted(found - {0})}


def _of_manifest(
    references: Path, data_root: Path | None, fold: int | None
) -> tuple[list[_Reference], dict[int, str], int | None]:
    manifest = read_manifest(references)
    root = find_data_root(manifest, references, data_root)
    found = []
    for row in (case for case in manifest.cases if case.label and (fold is None or case.fold == fold)):
        image, mask = row.images[0], label_path(row, root)
        labelled = _tuple(row.labelled)
        pair = Pair(row.case_id, row.patient_id, mask, None, manifest.label_mapping, root / image, labelled, row.attributes)
        found.append(_Reference(pair, (row.case_id, _stem(image)), (case_name(image), case_name(mask.name))))
    return found, manifest.structures, manifest.ignore_label


def _of_folder(references: Path) -> list[_Reference]:
    found = []
    for path in (path for path in sorted(references.rglob("*")) if path.is_file() and is_image(path)):
        if is_side_volume(path):
            continue
        case_id = _stem(path.relative_to(references).as_posix())
        found.append(_Reference(Pair(case_id, case_id, path, None), (case_id,), (case_name(path.name),)))
    return found


def _predictions_by_name(predictions: Path, data_root: Path | None) -> dict[str, Path]:
    """Predictions by their path below the folder, without ending, or by case id."""
    if predictions.suffix == ".json":
        manifest = read_manifest(predictions)
        root = find_data_root(manifest, predictions, data_root)
        return {case.case_id: label_path(case, root) for case in manifest.cases if case.label}
    paths = (path for path in sorted(predictions.rglob("*")) if path.is_file() and is_image(path))
    return {_stem(path.relative_to(predictions).as_posix()): path for path in paths if not is_side_volume(path)}


def _matched(references: list[_Reference], predictions: Mapping[str, Path]) -> list[Pair]:
    """First by names of their own, then, for what is left on both sides, by bare names that only one file has."""
    chosen: dict[str, Path] = {}
    for reference in references:
        name = next((name for name in reference.own_names if name in predictions), None)
        if name is not None:
            chosen[reference.pair.case_id] = predictions[name]
    taken = set(chosen.values())
    left = {name: path for name, path in predictions.items() if path not in taken}
    by_bare = _only_once((bare, path) for name, path in left.items() for bare in _bare_names(name))
    shared = Counter(name for reference in references for name in set(reference.bare_names))
    for reference in references:
        bare = next((name for name in reference.bare_names if shared[name] == 1 and name in by_bare), None)
        if reference.pair.case_id not in chosen and bare is not None:
            chosen[reference.pair.case_id] = by_bare[bare]
    return [_with(reference.pair, chosen.get(reference.pair.case_id)) for reference in references]


def _bare_names(name: str) -> set[str]:
    """The last part of a path, also without nnU-Net's suffix of a single channel."""
    last = name.rsplit("/", 1)[-1]
    return {last, last.removesuffix("_0000")}


def _only_once(items: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    found: dict[str, set[Path]] = {}
    for name, path in items:
        found.setdefault(name, set()).add(path)
    return {name: next(iter(paths)) for name, paths in found.items() if len(paths) == 1}


def _with(pair: Pair, predicted: Path | None) -> Pair:
    return replace(pair, predicted=predicted)


def _tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _stem(relative: str) -> str:
    """The path without the ending, folders kept."""
    return without_ending(relative)
