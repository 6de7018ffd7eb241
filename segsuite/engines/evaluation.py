"""Masks against references: pairs come from the references, so that a missing prediction is a row and not a gap."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segsuite.data.locate import find_data_root, label_path
from segsuite.data.manifest import case_name, read_manifest
from segsuite.errors import InputError, ManifestError
from segsuite.files import make_folder
from segsuite.metrics.per_case import Measurement, measure_case
from segsuite.volumes.grid import require_same_grid
from segsuite.volumes.labels import labels_present
from segsuite.volumes.reading import ITK_ENDINGS, NIFTI_ENDINGS, is_image, read_labels

__all__ = [
    "CASE_COLUMNS",
    "METRIC_COLUMNS",
    "EvaluatedCase",
    "EvaluationTables",
    "Pair",
    "evaluate_pairs",
    "find_pairs",
    "structures_of",
]

METRIC_COLUMNS = ("case", "patient_id", "label_index", "label_name", "metric", "value", "unit", "status")
CASE_COLUMNS = ("case", "patient_id", "diagonal_mm", "predicted", "reference", "image", "reason")
TABLES = {"metrics_per_case.csv": METRIC_COLUMNS, "cases.csv": CASE_COLUMNS}


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
        found |= set(labels_present(read_labels(pair.reference).array))
    return {value: f"label {value}" for value in sorted(found - {0})}


class EvaluationTables:
    """``metrics_per_case.csv`` and ``cases.csv``, written case by case; they get their names when all cases are in."""

    def __init__(self, folder: Path) -> None:
        """Open.

        Args:
            folder: Where the tables go; created if needed.
        """
        self.folder = make_folder(folder)
        self._rows = {name: _OpenTable(folder / name, columns) for name, columns in TABLES.items()}

    def add(self, case: EvaluatedCase) -> None:
        """Write the rows of one case.

        Args:
            case: Its numbers.
        """
        pair = case.pair
        for m in case.measurements:
            numbers = (m.label, m.name, m.metric, _text(m.value), m.unit, m.status)
            self._rows["metrics_per_case.csv"].write(pair.case_id, pair.patient_id, *numbers)
        files = [_from_folder(file, self.folder) for file in (pair.predicted, pair.reference, pair.image)]
        self._rows["cases.csv"].write(pair.case_id, pair.patient_id, f"{case.diagonal_mm:.3f}", *files, case.reason)

    def __enter__(self) -> EvaluationTables:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for table in self._rows.values():
            table.close(complete=kind is None)


class _OpenTable:
    """One CSV file under a hidden name until it is complete."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        self.stream = self.partial.open("w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.stream, lineterminator="\n")
        self.writer.writerow(columns)

    def write(self, *cells: object) -> None:
        self.writer.writerow(cells)

    def close(self, *, complete: bool) -> None:
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        if complete:
            self.partial.replace(self.path)
        else:
            self.partial.unlink()


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


def _from_folder(file: Path | None, folder: Path) -> str:
    """A file's path as seen from the table's folder, so that a run may be moved together with its data."""
    return "" if file is None else Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def _text(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return f"{value:.6g}"
