"""Masks against references: pairs come from the references, so that a missing prediction is a row and not a gap."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segsuite.data.locate import find_data_root, label_path
from segsuite.data.manifest import case_name, read_manifest
from segsuite.errors import InputError, ManifestError
from segsuite.files import make_folder, write_atomically
from segsuite.metrics.per_case import Measurement, measure_case
from segsuite.volumes.grid import require_same_grid
from segsuite.volumes.reading import ITK_ENDINGS, NIFTI_ENDINGS, is_image, read_labels

__all__ = [
    "CASE_COLUMNS",
    "METRIC_COLUMNS",
    "EvaluatedCase",
    "Pair",
    "evaluate_pairs",
    "find_pairs",
    "structures_of",
    "write_cases",
    "write_measurements",
]

METRIC_COLUMNS = ("case", "patient_id", "label_index", "label_name", "metric", "value", "unit", "status")
CASE_COLUMNS = ("case", "patient_id", "diagonal_mm", "predicted", "reference", "image", "reason")


@dataclass(frozen=True)
class Pair:
    """A reference and the prediction for it, if there is one."""

    case_id: str
    patient_id: str
    reference: Path
    predicted: Path | None
    mapping: Mapping[int, int] = field(default_factory=dict)
    image: Path | None = None


@dataclass(frozen=True)
class EvaluatedCase:
    """All numbers of one case.

    Attributes:
        pair: What was compared.
        measurements: One per structure and metric.
        diagonal_mm: Of the reference image: what a missed structure costs as a distance.
        reason: Why there was no prediction to measure; empty if there was.
    """

    pair: Pair
    measurements: list[Measurement]
    diagonal_mm: float
    reason: str = ""


def find_pairs(
    predictions: Path, references: Path, *, data_root: Path | None = None, fold: int | None = None
) -> tuple[list[Pair], dict[int, str], int | None]:
    """Pair every reference with its prediction by file name.

    Args:
        predictions: Folder of masks, or a manifest whose labels are the predictions.
        references: Folder of masks, or a manifest.
        data_root: For manifests, where paths start.
        fold: For a manifest of references, only this fold.

    Returns:
        Pairs in order of case id, structures by integer (empty if only the masks can tell), and the ignore label.

    Raises:
        FileNotFoundError: A folder or manifest does not exist.
        ManifestError: No references.
    """
    for path in (predictions, references):
        if not path.exists():
            raise FileNotFoundError(f"{path} must be a folder or a manifest, but nothing is there. Check the path.")
    by_name = _predictions_by_name(predictions, data_root)
    structures: dict[int, str] = {}
    ignore: int | None = None
    pairs = []
    if references.suffix == ".json":
        manifest = read_manifest(references)
        root = find_data_root(manifest, references, data_root)
        structures, ignore = manifest.structures, manifest.ignore_label
        rows = [case for case in manifest.cases if case.label and (fold is None or case.fold == fold)]
        for row in rows:
            found = _first(by_name, [row.case_id, _stem(row.images[0]), case_name(row.images[0]), case_name(str(row.label))])
            mask = label_path(row, root)
            image = root / row.images[0]
            pairs.append(Pair(row.case_id, row.patient_id, mask, found, manifest.label_mapping, image))
    else:
        for path in (p for p in sorted(references.rglob("*")) if is_image(p) and p.is_file()):
            relative = path.relative_to(references).as_posix()
            case_id = _stem(relative)
            pairs.append(Pair(case_id, case_id, path, _first(by_name, [case_id, case_name(relative)])))
    if not pairs:
        raise ManifestError(f"{references} must hold reference masks, got none. Check the folder, or --fold.")
    return sorted(pairs, key=lambda pair: pair.case_id), structures, ignore


def evaluate_pairs(
    pairs: Sequence[Pair],
    *,
    structures: Mapping[int, str],
    tolerances_mm: Sequence[float],
    ignore_label: int | None = None,
    workers: int = 1,
    on_case: Callable[[EvaluatedCase], None],
) -> None:
    """Measure all pairs, handing on one case at a time in order; memory does not grow with their number.

    Args:
        pairs: From ``find_pairs``.
        structures: Integer to name; every one is scored in every case.
        tolerances_mm: For surface Dice.
        ignore_label: Label of voxels that are not scored.
        workers: Processes.
        on_case: Receives each case.
    """
    tasks = [(pair, dict(structures), tuple(tolerances_mm), ignore_label) for pair in pairs]
    if workers <= 1:
        for task in tasks:
            on_case(_evaluate(task))
        return
    with ProcessPoolExecutor(workers) as pool:
        for case in pool.map(_evaluate, tasks, chunksize=1):
            on_case(case)


def structures_of(pairs: Iterable[Pair]) -> dict[int, str]:
    """The labels found in the references, named by their integers, where no manifest names them.

    Args:
        pairs: All pairs.

    Returns:
        Integer to ``label <n>``.
    """
    found: set[int] = set()
    for pair in pairs:
        found |= {int(value) for value in np.unique(read_labels(pair.reference).array)}
    return {value: f"label {value}" for value in sorted(found - {0})}


def write_measurements(path: Path, cases: Iterable[EvaluatedCase]) -> None:
    """``metrics_per_case.csv``: one row per case, structure and metric.

    Args:
        path: CSV file.
        cases: What to write.
    """

    def rows() -> Iterable[tuple[object, ...]]:
        for case in cases:
            for m in case.measurements:
                yield (case.pair.case_id, case.pair.patient_id, m.label, m.name, m.metric, _text(m.value), m.unit, m.status)

    _write_csv(path, METRIC_COLUMNS, rows())


def write_cases(path: Path, cases: Iterable[EvaluatedCase]) -> None:
    """``cases.csv``: one row per case with its files, its diagonal and why it could not be measured.

    Args:
        path: CSV file.
        cases: What to write.
    """

    def rows() -> Iterable[tuple[object, ...]]:
        for case in cases:
            pair = case.pair
            diagonal = f"{case.diagonal_mm:.3f}"
            files = (pair.predicted or "", pair.reference, pair.image or "")
            yield (pair.case_id, pair.patient_id, diagonal, *files, case.reason)

    _write_csv(path, CASE_COLUMNS, rows())


def _evaluate(task: tuple[Pair, dict[int, str], tuple[float, ...], int | None]) -> EvaluatedCase:
    pair, structures, tolerances, ignore = task
    reference = read_labels(pair.reference, mapping=dict(pair.mapping))
    reason = "" if pair.predicted is not None else "no prediction of this name"
    predicted = np.zeros_like(reference.labels)
    if pair.predicted is not None:
        try:
            volume = read_labels(pair.predicted)
            require_same_grid(reference.grid, volume.grid, names=(str(pair.reference), str(pair.predicted)))
            predicted = volume.labels
        except InputError as error:
            reason = str(error)
    measurements = measure_case(
        predicted,
        reference.labels,
        structures=structures,
        spacing_mm=reference.spacing_mm,
        tolerances_mm=tolerances,
        ignore_label=ignore,
    )
    if reason:
        measurements = [Measurement(m.label, m.name, m.metric, m.value, m.unit, _unmeasured(m)) for m in measurements]
    return EvaluatedCase(pair, measurements, reference.grid.diagonal_mm, reason)


def _unmeasured(measurement: Measurement) -> str:
    return "no prediction" if measurement.status == "missed" else measurement.status


def _predictions_by_name(predictions: Path, data_root: Path | None) -> dict[str, Path]:
    if predictions.suffix == ".json":
        manifest = read_manifest(predictions)
        root = find_data_root(manifest, predictions, data_root)
        return {case.case_id: label_path(case, root) for case in manifest.cases if case.label}
    found: dict[str, Path] = {}
    for path in sorted(predictions.rglob("*")):
        if path.is_file() and is_image(path) and "_probability_" not in path.name:
            relative = path.relative_to(predictions).as_posix()
            found.setdefault(_stem(relative), path)
            found.setdefault(case_name(relative), path)
            found.setdefault(case_name(relative).removesuffix("_0000"), path)  # nnU-Net's name of a single channel
    return found


def _stem(relative: str) -> str:
    """The path without the ending, folders kept."""
    for ending in NIFTI_ENDINGS + ITK_ENDINGS:
        if relative.lower().endswith(ending):
            return relative[: -len(ending)]
    return relative


def _first(by_name: Mapping[str, Path], names: Sequence[str]) -> Path | None:
    return next((by_name[name] for name in names if name in by_name), None)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)

    make_folder(path.parent)
    write_atomically(path, write)


def _text(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return f"{value:.6g}"
