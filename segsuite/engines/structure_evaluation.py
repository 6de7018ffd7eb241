"""Cases whose structures have a file each, on one side or on both: measured structure by structure, so that they may overlap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segsuite.engines.pair_measuring import measured, upwards, without_reference
from segsuite.engines.pair_reading import Labelled, read_part, read_predicted, read_reference, structures_in
from segsuite.engines.pairs import Pair
from segsuite.errors import VolumeError
from segsuite.failures import Step, reason_of
from segsuite.metrics.per_case import Measurement, Scoring
from segsuite.metrics.probability import Calibration
from segsuite.volumes.grid import Grid
from segsuite.volumes.labels import label_boxes
from segsuite.volumes.regions import Label, integers_of, mask_of
from segsuite.volumes.volume import Volume

__all__ = ["PartsMeasured", "measure_structure_files"]


class PartsMeasured(NamedTuple):
    """What ``EvaluatedCase`` holds beside the pair, in its order."""

    measurements: list[Measurement]
    diagonal_mm: float
    reason: str
    calibrations: Mapping[str, Calibration]
    missing: str
    undeclared: list[str]
    notes: list[str]


class _Side:
    """One side of a case, asked for one structure at a time; a label map is read once."""

    def __init__(self, pair: Pair, declared: Iterable[int], structures: Mapping[Label, str], *, predicted: bool) -> None:
        self.pair, self.predicted, self.declared = pair, predicted, declared
        files = pair.predicted_files if predicted else pair.reference_files
        self.paths: dict[Label, Path | None] | None = dict(structures_in(files, structures)) if files else None
        self.whole: Labelled | Exception | None = None

    def labelled(self, label: Label, like: tuple[Grid, Path] | None) -> Volume:
        """The structure's label (of a region its integers, in a file of its own the first) and 0, on a grid if one is given."""
        if self.paths is not None:
            path = self.paths[label]
            if path is None:
                raise VolumeError(f"there is no file of this structure in {self._folder}")
            return read_part(path, integers_of(label)[0], like)
        if self.whole is None:
            self.whole = self._read(like)
        if isinstance(self.whole, Exception):
            raise self.whole
        volume = self.whole.volume
        return replace(volume, array=np.where(mask_of(volume.labels[None], label), volume.array, volume.array.dtype.type(0)))

    @property
    def undeclared(self) -> list[str]:
        """As in ``EvaluatedCase``; files of a folder that are no structure of ours are not scored either."""
        side = "predicted" if self.predicted else "reference"
        if self.paths is not None:
            files = self.pair.predicted_files if self.predicted else self.pair.reference_files
            return [f"{side} file {name}" for name, path in files.items() if path not in self.paths.values()]
        found = self.whole.undeclared if isinstance(self.whole, Labelled) else {}
        return [f"{side} {value}: {n} voxels" for value, n in found.items()]

    @property
    def _folder(self) -> Path | None:
        return self.pair.predicted if self.predicted else self.pair.reference

    def _read(self, like: tuple[Grid, Path] | None) -> Labelled | Exception:
        try:
            if not self.predicted:
                return read_reference(self.pair, self.declared)
            assert like is not None  # noqa: S101 - a prediction is read onto its reference
            return read_predicted(self.pair, like[0], self.declared)
        except Exception as error:  # whatever a file makes a reader raise belongs to its case
            return error


def measure_structure_files(pair: Pair, scoring: Scoring, declared: Iterable[int], *, probabilities: bool) -> PartsMeasured:
    """Measure a case of which a side has a file per structure.

    Args:
        pair: The case.
        scoring: What is measured.
        declared: Labels that count in a label map on the other side.
        probabilities: Judge the probabilities that lie beside a predicted label map.

    Returns:
        As in ``EvaluatedCase``; a structure whose file is missing or broken costs that structure alone.

    Raises:
        VolumeError: Probabilities of a prediction that has a file per structure.
    """
    if probabilities and pair.predicted_files:
        raise VolumeError(f"case {pair.case_id}: --probabilities must have masks of all structures, got a file per structure.")
    reference = _Side(pair, declared, scoring.structures, predicted=False)
    predicted = _Side(pair, declared, scoring.structures, predicted=True)
    extent = _extent(reference, scoring) if scoring.thirds else None
    rows: list[Measurement] = []
    calibrations: dict[str, Calibration] = {}
    wrong: dict[str, dict[str, str]] = {"prediction": {}, "reference": {}}
    grid: Grid | None = None
    notes: dict[str, None] = {}
    for label, name in scoring.structures.items():
        one = replace(scoring, structures={label: name})
        try:
            mask_r = reference.labelled(label, None if grid is None else (grid, pair.reference))
        except Exception as error:  # as above
            wrong["reference"][name] = reason_of(error, Step.MEASURING)
            rows += without_reference(one, probabilities=probabilities)
            continue
        grid = grid or mask_r.grid
        mask_p: Volume | None = None
        try:
            mask_p = predicted.labelled(label, (grid, pair.reference))
        except Exception as error:  # as above
            wrong["prediction"][name] = reason_of(error, Step.MEASURING)
        labels = None if mask_p is None else mask_p.labels
        found, judged = measured(pair, labels, mask_r, one, probabilities=probabilities, extent=extent)
        rows += found
        calibrations |= judged
        notes |= dict.fromkeys([*mask_r.notes, *(mask_p.notes if mask_p else ())])
    n = len(scoring.structures)
    missing = next((side for side, names in wrong.items() if len(names) == n), "part" if any(wrong.values()) else "")
    diagonal = math.nan if grid is None else grid.diagonal_mm
    undeclared = [*predicted.undeclared, *reference.undeclared]
    return PartsMeasured(rows, diagonal, _said(wrong), calibrations, missing, undeclared, list(notes))


def _extent(reference: _Side, scoring: Scoring) -> tuple[int, int] | None:
    """First and last plane of all structures that can be read."""
    planes = []
    grid: Grid | None = None
    for label in scoring.structures:
        try:
            mask = reference.labelled(label, None if grid is None else (grid, reference.pair.reference))
        except Exception:  # noqa: S112 - it is named when it is measured
            continue
        grid = grid or mask.grid
        planes += [box[upwards(grid, scoring)[0]] for box in label_boxes(mask.labels).values()]
    return (min(part.start for part in planes), max(part.stop for part in planes)) if planes else None


def _said(wrong: Mapping[str, Mapping[str, str]]) -> str:
    """Structures of one reason together."""
    parts = []
    for side, names in wrong.items():
        by_reason: dict[str, list[str]] = {}
        for name, reason in names.items():
            by_reason.setdefault(reason, []).append(name)
        parts += [f"no {side} of {', '.join(found)}: {reason}" for reason, found in by_reason.items()]
    return "; ".join(parts)
