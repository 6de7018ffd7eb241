"""Which prediction belongs to which reference: pairs come from the references, so that a missing prediction is a row.

A name that several files share (``t2w`` in every patient's folder) pairs nothing by itself, and no prediction is used
twice: better a missing prediction than another patient's.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os.path import realpath
from pathlib import Path

from segsuite.engines.mask_sources import Predictions, Reference, References, find_predictions, find_references
from segsuite.engines.pairs import Pair, Pairing
from segsuite.engines.structure_files import common_name, files_of
from segsuite.errors import ManifestError, few_of
from segsuite.volumes.archive_names import is_archive
from segsuite.volumes.reading import image_ending

__all__ = ["Pair", "Pairing", "find_pairs"]

N_NAMED = 3
"""Files named in a note."""
MOST_COMPARED = 100
"""Names among which the nearest is looked for."""


def find_pairs(predictions: Path, references: Path, *, data_root: Path | None = None, fold: int | None = None) -> Pairing:
    """Pair every reference with its prediction by file name.

    Args:
        predictions: A mask, a folder of masks (or of folders with a file per structure), or a manifest whose labels are the
            predictions.
        references: The same, or a manifest of references.
        data_root: For manifests, where paths start.
        fold: For a manifest of references, only this fold.

    Returns:
        The pairs, with the names that either side gives its labels.

    Raises:
        FileNotFoundError: A folder or manifest does not exist.
        ManifestError: No references, or two files of one case.
    """
    for path in (predictions, references):
        if not path.exists():
            raise FileNotFoundError(f"{path} must be a folder or a manifest, but nothing is there. Check the path.")
        if path.is_file() and path.suffix.lower() != ".json" and not _is_mask_file(path):
            raise ManifestError(f"{path} must be a folder of masks, a mask or a manifest (.json), got `{path.name}`.")
    found = _without_predictions(find_references(references, data_root=data_root, fold=fold), references, predictions)
    predicted = find_predictions(predictions, data_root=data_root)
    if predictions.is_dir() and predictions.resolve() != references.resolve():
        predicted = _without_references(predicted, found.cases)
    if _is_mask_file(predictions) and _is_mask_file(references):
        pairs = [replace(found.cases[0].pair, predicted=predictions)]  # two files are a pair whatever they are called
    else:
        names = [*found.structures.values(), *(found.regions.names if found.regions else ())]
        pairs = _matched(found.cases, predicted, set(map(common_name, names)))
    notes = [*found.notes, *predicted.notes, *_strangers(pairs, predicted)]
    pairs.sort(key=lambda pair: pair.case_id)
    return Pairing(pairs, found.structures, found.ignore_label, predicted.labels, predicted.mapping, notes, found.regions)


def _is_mask_file(path: Path) -> bool:
    return path.is_file() and bool(image_ending(path) or is_archive(path))


def _without_predictions(found: References, references: Path, predictions: Path) -> References:
    """Masks in a folder of predictions that lies inside that of the references are no references."""
    inside = predictions.resolve()
    if not (references.is_dir() and predictions.is_dir() and references.resolve() in inside.parents):
        return found
    kept = [case for case in found.cases if inside not in Path(realpath(case.pair.reference)).parents]
    if not kept:
        raise ManifestError(f"{references} must hold references beside {predictions}, got none. Check the folders.")
    return replace(found, cases=kept)


def _without_references(predicted: Predictions, references: list[Reference]) -> Predictions:
    """A reference that lies inside the folder of predictions, or is linked there, predicts nothing: it would be perfect.

    Where nothing else is there, references are compared with themselves, as somebody may want.
    """
    own = {realpath(path) for reference in references for path in reference.pair.files}  # resolve() ends at a link to itself
    left = {name: [path for path in paths if realpath(path) not in own] for name, paths in predicted.by_name.items()}
    n_out = sum(map(len, predicted.by_name.values())) - sum(map(len, left.values()))
    if not n_out:
        return predicted
    if not any(left.values()):
        return replace(predicted, notes=(*predicted.notes, "the predictions are the references themselves"))
    note = f"{n_out} masks among the predictions are the references themselves and predict nothing"
    folders = {folder: names for folder, names in predicted.folders.items() if not own & set(map(realpath, names.values()))}
    by_name = {name: paths for name, paths in left.items() if paths}
    return replace(predicted, by_name=by_name, folders=folders, notes=(*predicted.notes, note))


def _matched(references: list[Reference], predictions: Predictions, structures: set[str]) -> list[Pair]:
    """First by names of their own, then, for what is left on both sides, by bare names that only one file has."""
    chosen = _by_own_names(references, predictions)
    taken = {path for paths in chosen.values() for path in paths}
    left = {name: paths for name, paths in predictions.by_name.items() if not taken & set(paths)}
    by_bare: dict[str, list[Path]] = {}
    for name, paths in left.items():
        for bare in _bare_names(name):
            by_bare.setdefault(bare, []).extend(paths)
    shared = Counter(name for reference in references for name in set(reference.bare_names))
    for reference in references:
        own = [name for name in reference.bare_names if name in by_bare and shared[name] == 1]
        if own and reference.pair.case_id not in chosen:
            chosen[reference.pair.case_id] = by_bare[own[0]]
    wanted = Counter(path for case, paths in chosen.items() for path in paths if path not in taken)
    pairs = []
    for reference in references:
        found = chosen.get(reference.pair.case_id, [])
        folder = {} if found else _files_per_structure(reference, predictions, structures)
        if folder:
            place = next(iter(folder.values())).parent
            pairs.append(replace(reference.pair, predicted=place, predicted_files=folder))
        elif len(found) == 1 and wanted[found[0]] <= 1:
            pairs.append(replace(reference.pair, predicted=found[0]))
        else:
            pairs.append(replace(reference.pair, reason=_why_none(reference, found, by_bare)))
    return pairs


def _by_own_names(references: list[Reference], predictions: Predictions) -> dict[str, list[Path]]:
    """By case id; then by image, unless that is another case's id. A side volume is a mask where a case bears its name.

    Raises:
        ManifestError: Two files of one case.
    """
    files = {**predictions.side_volumes, **predictions.by_name}
    ids = {reference.pair.case_id for reference in references}
    chosen = {}
    for reference in references:
        own = [name for name in reference.own_names if name in files and (name == reference.pair.case_id or name not in ids)]
        if own:
            chosen[reference.pair.case_id] = files[own[0]]
    if twice := {case: paths for case, paths in chosen.items() if len(paths) > 1}:
        said = "; ".join(f"{case}: {_listed(paths)}" for case, paths in list(twice.items())[:N_NAMED])
        raise ManifestError(
            f"Each case must have one prediction, got several files of {len(twice)} cases ({said}). Move the others away, "
            "or name the right ones in a manifest."
        )
    return chosen


def _files_per_structure(reference: Reference, predictions: Predictions, structures: set[str]) -> Mapping[str, Path]:
    """A folder of the case's name whose files are called like structures, whatever the reference is."""
    for name in (*reference.own_names, *reference.bare_names):
        files = files_of(predictions.folders, name)
        if any(common_name(structure) in structures for structure in files):
            return files
    return {}


def _why_none(reference: Reference, found: list[Path], by_bare: Mapping[str, list[Path]]) -> str:
    said = "no prediction of this name"
    if len(found) > 1:
        return f"{said}, but several that may be meant: {_listed(found)}"
    if shared := found or [path for name in reference.bare_names for path in by_bare.get(name, [])]:
        return f"{said}; {_listed(shared)} fits several references"
    near = difflib.get_close_matches(reference.pair.case_id, list(by_bare)[:MOST_COMPARED], n=1, cutoff=0.6)
    return f"{said} (the nearest is `{near[0]}`)" if near else said


def _strangers(pairs: Iterable[Pair], predictions: Predictions) -> list[str]:
    """Predictions that belong to no reference are not scored, and that is said."""
    taken = {path for pair in pairs for path in pair.files} | {pair.predicted for pair in pairs}
    left = sorted(name for name, paths in predictions.by_name.items() if not taken & set(paths))
    if not left:
        return []
    return [f"predictions without a reference are not scored: {few_of(left, most=N_NAMED)}"]


def _bare_names(name: str) -> set[str]:
    """The last part of a path, also without nnU-Net's suffix of a single channel."""
    last = name.rsplit("/", 1)[-1]
    return {last, last.removesuffix("_0000")}


def _listed(paths: list[Path]) -> str:
    """Files with as much of their folders as tells them apart."""
    names = [path.name for path in paths]
    if len(set(names[:N_NAMED])) < len(names[:N_NAMED]):
        names = [f"{path.parent.name}/{path.name}" for path in paths]
    return few_of(names, most=N_NAMED)
