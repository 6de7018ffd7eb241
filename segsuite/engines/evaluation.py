"""Measure pairs of masks, case by case, and write the tables as they come."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from segsuite.engines.pairing import Pair
from segsuite.errors import InputError, OutputError
from segsuite.files import make_folder, writing_to
from segsuite.metrics.per_case import Measurement, Scoring, measure_case
from segsuite.volumes.grid import require_same_grid
from segsuite.volumes.reading import read_labels

__all__ = [
    "CASE_COLUMNS",
    "METRIC_COLUMNS",
    "EvaluatedCase",
    "EvaluationTables",
    "evaluate_pairs",
]

METRIC_COLUMNS = ("case", "patient_id", "label_index", "label_name", "metric", "value", "unit", "status")
CASE_COLUMNS = ("case", "patient_id", "diagonal_mm", "predicted", "reference", "image", "reason")
QUEUED_PER_WORKER = 32
"""Cases handed to each process ahead of time; more would only fill memory."""
TABLES = {"metrics_per_case.csv": METRIC_COLUMNS, "cases.csv": CASE_COLUMNS}


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


def evaluate_pairs(
    pairs: Sequence[Pair], scoring: Scoring, *, workers: int = 1, on_case: Callable[[EvaluatedCase], None]
) -> None:
    """Measure all pairs, handing on one case at a time in order; memory does not grow with their number.

    Args:
        pairs: From ``find_pairs``.
        scoring: What is measured.
        workers: Processes.
        on_case: Receives each case.
    """
    if workers <= 1:
        for pair in pairs:
            on_case(_evaluate(pair, scoring))
        return
    with ProcessPoolExecutor(workers) as pool:
        for start in range(0, len(pairs), QUEUED_PER_WORKER * workers):
            queued = pairs[start : start + QUEUED_PER_WORKER * workers]
            for case in pool.map(partial(_evaluate, scoring=scoring), queued):
                on_case(case)


class EvaluationTables:
    """``metrics_per_case.csv`` and ``cases.csv``, written case by case; they get their names when all cases are in."""

    def __init__(self, folder: Path) -> None:
        """Open.

        Args:
            folder: Where the tables go; created if needed.
        """
        self.folder = make_folder(folder)
        self._rows: dict[str, _OpenTable] = {}
        try:
            for name, columns in TABLES.items():
                self._rows[name] = _OpenTable(folder / name, columns)
        except OutputError:
            self._close(complete=False)
            raise

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
        self._close(complete=kind is None)

    def _close(self, *, complete: bool) -> None:
        for table in self._rows.values():
            table.close(complete=complete)


class _OpenTable:
    """One CSV file under a hidden name until it is complete."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        with writing_to(path):
            self.stream = self.partial.open("w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.stream, lineterminator="\n")
        self.write(*columns)

    def write(self, *cells: object) -> None:
        with writing_to(self.path):
            self.writer.writerow(cells)

    def close(self, *, complete: bool) -> None:
        if not complete:
            self.partial.unlink()
            with suppress(OSError):  # the disk may be full: what is left in memory is not wanted any more
                self.stream.close()
            return
        with writing_to(self.path):
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()
            self.partial.replace(self.path)


def _evaluate(pair: Pair, scoring: Scoring) -> EvaluatedCase:
    reference = read_labels(pair.reference, mapping=dict(pair.mapping))
    reason = "" if pair.predicted is not None else "no prediction of this name"
    predicted = np.zeros_like(reference.labels)
    if pair.predicted is not None:
        try:
            volume = read_labels(pair.predicted)
            require_same_grid(reference.grid, volume.grid, names=(str(pair.reference), str(pair.predicted)))
            predicted = volume.labels
        except (InputError, FileNotFoundError) as error:
            reason = str(error)
    if pair.labelled is not None:
        known = {label: name for label, name in scoring.structures.items() if name in pair.labelled}
        scoring = replace(scoring, structures=known)
    axis = reference.grid.body_axes.index(2)
    upwards = (axis, bool(reference.grid.affine[2, axis] > 0))
    measurements = measure_case(predicted, reference.labels, scoring, spacing_mm=reference.spacing_mm, upwards=upwards)
    if reason:
        measurements = [Measurement(m.label, m.name, m.metric, m.value, m.unit, _unmeasured(m)) for m in measurements]
    return EvaluatedCase(pair, measurements, reference.grid.diagonal_mm, reason)


def _unmeasured(measurement: Measurement) -> str:
    return "no prediction" if measurement.status == "missed" else measurement.status


def _from_folder(file: Path | None, folder: Path) -> str:
    """A file's path as seen from the table's folder, so that a run may be moved together with its data."""
    return "" if file is None else Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def _text(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return f"{value:.6g}"
