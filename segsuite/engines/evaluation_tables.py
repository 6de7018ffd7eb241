"""The tables of an evaluation, written case by case under hidden names, so that a killed evaluation goes on where it was."""

from __future__ import annotations

import csv
import errno
import fcntl
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import segsuite
from segsuite.engines.evaluation import EvaluatedCase
from segsuite.engines.evaluation_record import RECORD
from segsuite.engines.pairs import Pair
from segsuite.errors import OutputError
from segsuite.files import hash_of_json, make_folder, printable, writing_to
from segsuite.metrics.per_case import Scoring

__all__ = ["CALIBRATION_COLUMNS", "CASE_COLUMNS", "METRIC_COLUMNS", "EvaluationTables"]

METRIC_COLUMNS = ("case", "patient_id", "label_index", "label_name", "metric", "value", "unit", "status")
CASE_COLUMNS = (
    "case", "patient_id", "diagonal_mm", "predicted", "reference", "image", "reason", "missing", "undeclared", "notes",
    "in_training",
)  # fmt: skip
CALIBRATION_COLUMNS = ("case", "label_name", "bin", "n_voxels", "probability", "positives")
METRICS, CASES, CALIBRATION = "metrics_per_case.csv", "cases.csv", "calibration.csv"
LOCK = "writing"
JOURNAL = "evaluated"
"""Which cases are complete in the hidden tables, and with what; it never gets a name."""


class EvaluationTables:
    """``metrics_per_case.csv``, ``cases.csv`` and, with probabilities, ``calibration.csv``.

    They get their names when all cases are in. What an interrupted evaluation left is kept, case by case, as long as files
    and scoring are the same.
    """

    def __init__(
        self,
        folder: Path,
        pairs: Sequence[Pair],
        scoring: Scoring,
        *,
        attributes: Sequence[str] = (),
        probabilities: bool = False,
    ) -> None:
        """Open, and find what is done.

        Args:
            folder: Where the tables go; created if needed.
            pairs: All cases of the evaluation.
            scoring: What is measured.
            attributes: Of the cases, as further columns of ``cases.csv``.
            probabilities: Whether probabilities are judged.

        Raises:
            OutputError: A table cannot be written, or another evaluation writes into the folder now.
        """
        self.folder, self.attributes = make_folder(folder), tuple(attributes)
        self._lock = _Lock(_partial(folder, LOCK))
        self._tables: dict[str, _OpenTable] = {}
        try:
            self._open(pairs, scoring, probabilities=probabilities)
        except BaseException:
            self._close(complete=False)
            raise

    def _open(self, pairs: Sequence[Pair], scoring: Scoring, *, probabilities: bool) -> None:
        folder = self.folder
        how = hash_of_json([segsuite.__version__, CASE_COLUMNS, _plain(scoring), self.attributes, probabilities])
        self._fingerprints = {pair.case_id: _fingerprint(pair, how) for pair in pairs}
        self.done = {
            case for case, fingerprint in _rows(_partial(folder, JOURNAL)) if self._fingerprints.get(case) == fingerprint
        }
        columns = {METRICS: METRIC_COLUMNS, CASES: (*CASE_COLUMNS, *self.attributes)}
        columns |= {CALIBRATION: CALIBRATION_COLUMNS} if probabilities else {}
        columns |= {JOURNAL: ("case", "fingerprint")}
        for name, heads in columns.items():
            self._tables[name] = _OpenTable(folder, name, heads, keep=self.done)

    def add(self, case: EvaluatedCase) -> None:
        """Write the rows of one case.

        Args:
            case: Its numbers.
        """
        pair = case.pair
        who = (pair.case_id, pair.patient_id)
        self._tables[METRICS].write(
            [(*who, m.label, m.name, m.metric, _text(m.value), m.unit, m.status) for m in case.measurements]
        )
        files = [_from_folder(file, self.folder) for file in (pair.predicted, pair.reference, pair.image)]
        known = [pair.attributes.get(name, "") for name in self.attributes]
        said = (case.reason, case.missing, "; ".join(case.undeclared), "; ".join(case.notes), "yes" if pair.in_training else "")
        self._tables[CASES].write([(*who, f"{case.diagonal_mm:.3f}", *files, *said, *known)])
        for name, calibration in case.calibrations.items():
            counts = zip(calibration.n_voxels, calibration.probability, calibration.positives, strict=True)
            self._tables[CALIBRATION].write(
                [(pair.case_id, name, place, f"{n:.0f}", f"{p:.6g}", f"{y:.0f}") for place, (n, p, y) in enumerate(counts)]
            )
        self._tables[JOURNAL].write([(pair.case_id, self._fingerprints[pair.case_id])])

    def __enter__(self) -> EvaluationTables:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(complete=kind is None)

    def _close(self, *, complete: bool) -> None:
        try:
            self._close_tables(complete=complete)
        finally:
            self._lock.release()

    def _close_tables(self, *, complete: bool) -> None:
        for table in self._tables.values():
            table.close()
        if complete:
            self._tables.pop(JOURNAL).path.unlink()
            (self.folder / RECORD).unlink(missing_ok=True)  # it speaks of an earlier evaluation's files
            for name, table in self._tables.items():
                with writing_to(self.folder / name):
                    table.path.replace(self.folder / name)
            for name in {CALIBRATION} - set(self._tables):  # an earlier evaluation's would be shown as this one's
                (self.folder / name).unlink(missing_ok=True)


class _Lock:
    """Held while an evaluation writes into a folder: two at a time would mix their rows. It ends with its process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing_to(path):
            self.stream = path.open("w")
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.stream.close()
            raise OutputError(
                f"Another evaluation writes into {path.parent} now. Wait for its end, or choose another --out."
            ) from error
        except OSError as error:  # a file system without locks
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise

    def release(self) -> None:
        self.path.unlink(missing_ok=True)
        self.stream.close()


class _OpenTable:
    """One CSV file under a hidden name; begins with the rows of an earlier one that are still good."""

    def __init__(self, folder: Path, name: str, columns: Sequence[str], *, keep: set[str]) -> None:
        self.target, self.path = folder / name, _partial(folder, name)
        fresh = self.path.with_name(f"{self.path.name}.new")
        with writing_to(self.target):
            if self.path.is_dir():  # renaming over it would fail with words that help nobody
                self.path.open("w")
            self.stream = fresh.open("w", newline="", encoding="utf-8")
            self.writer = csv.writer(self.stream, lineterminator="\n")
            self.writer.writerow(columns)
            self.writer.writerows(row for row in _rows(self.path) if row[0] in keep)
            self.stream.flush()
            fresh.replace(self.path)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of one case; they are in the file when this returns."""
        with writing_to(self.target):
            self.writer.writerows(rows)
            self.stream.flush()

    def close(self) -> None:
        with writing_to(self.target), self.stream:
            self.stream.flush()
            os.fsync(self.stream.fileno())


def _plain(scoring: Scoring) -> dict[str, Any]:
    """As JSON has it; labels of one or of several integers are both words."""
    return {**asdict(scoring), "structures": [(str(label), name) for label, name in scoring.structures.items()]}


def _partial(folder: Path, name: str) -> Path:
    return folder / f".{name}.partial"


def _rows(path: Path) -> Iterator[list[str]]:
    """The complete rows of a table without its head; a killed process may have left half a row at the end."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        head = next(rows, [])
        yield from (row for row in rows if len(row) == len(head))


def _fingerprint(pair: Pair, how: str) -> str:
    """Changes when a file or what is measured changes."""
    mappings = sorted(pair.mapping.items()), sorted(pair.predicted_mapping.items())
    known = [*mappings, pair.labelled, pair.reason, sorted(map(str, pair.attributes.items()))]
    return hash_of_json([how, [_state(path) for path in pair.files], known])


def _state(path: Path) -> tuple[str, int, int]:
    """Of a file, also of one that is not there."""
    try:
        status = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), status.st_size, status.st_mtime_ns


def _from_folder(file: Path | None, folder: Path) -> str:
    """A file's path as seen from the table's folder, so that a run may be moved together with its data."""
    return "" if file is None else printable(Path(os.path.relpath(_real(file), _real(folder))).as_posix())


def _real(path: Path) -> str:
    """Where a path leads; one that leads nowhere, or in a circle, stays as it is."""
    return os.path.realpath(path) if path.exists() else str(path.absolute())


def _text(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.6g}"
