"""Measure pairs of masks, one case after the other or many at a time; memory does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial

from segsuite.engines.pair_measuring import measured, without_reference
from segsuite.engines.pair_reading import Labelled, read_predicted, read_reference
from segsuite.engines.pairs import Pair
from segsuite.engines.structure_evaluation import measure_structure_files
from segsuite.failures import Step, reason_of
from segsuite.metrics.per_case import Measurement, Scoring
from segsuite.metrics.probability import Calibration
from segsuite.volumes.regions import integers_of

__all__ = ["EvaluatedCase", "evaluate_pairs"]

QUEUED_PER_WORKER = 32
"""Cases handed to each process ahead of time; more would only fill memory."""
DIED = "the process that measured it ended suddenly, most likely for lack of memory. Use fewer processes (-j 1)."


@dataclass(frozen=True)
class EvaluatedCase:
    """All numbers of one case.

    Attributes:
        pair: What was compared.
        measurements: One per structure and metric.
        diagonal_mm: Of the reference image: what a missed structure costs as a distance; ``nan`` without a reference.
        reason: Why there was no prediction, or no reference, to measure; empty if there were both.
        calibrations: Structure to counts per bin of probability, where probabilities were looked at.
        missing: ``prediction`` or ``reference`` if nothing could be measured for want of it; ``part`` of the structures.
        undeclared: Labels of the files that are none of the structures, for example ``predicted 255: 12 voxels``.
        notes: What the files leave open, such as two placements that differ.
    """

    pair: Pair
    measurements: list[Measurement]
    diagonal_mm: float
    reason: str = ""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    missing: str = ""
    undeclared: Sequence[str] = ()
    notes: Sequence[str] = ()


def evaluate_pairs(
    pairs: Sequence[Pair],
    scoring: Scoring,
    *,
    probabilities: bool = False,
    workers: int = 1,
    on_case: Callable[[EvaluatedCase], None],
) -> None:
    """Measure all pairs, handing on one case at a time in order.

    Args:
        pairs: From ``label_names.with_structures``.
        scoring: What is measured.
        probabilities: Judge the probabilities that lie beside the predicted masks too.
        workers: Processes.
        on_case: Receives each case.

    Raises:
        VolumeError: No probabilities beside a mask.
    """
    measure = partial(_evaluate, scoring=scoring, probabilities=probabilities)
    for case in map(measure, pairs) if workers <= 1 else _in_processes(pairs, measure, workers):
        on_case(case)


def _in_processes(pairs: Sequence[Pair], measure: partial[EvaluatedCase], workers: int) -> Iterator[EvaluatedCase]:
    """In order; where a process dies, its part is measured again one by one, so that the death costs one case."""
    size = QUEUED_PER_WORKER * workers
    pool = ProcessPoolExecutor(workers)
    try:
        for start in range(0, len(pairs), size):
            queued, n_done = pairs[start : start + size], 0
            try:
                for case in pool.map(measure, queued):
                    n_done += 1
                    yield case
            except BrokenProcessPool:
                pool.shutdown()
                pool = ProcessPoolExecutor(workers)
                yield from (_alone(pair, measure) for pair in queued[n_done:])
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(pair: Pair, measure: partial[EvaluatedCase]) -> EvaluatedCase:
    """In a process of its own; if that dies too, without the prediction: a death must not be better than a bad mask."""
    for attempt in (pair, replace(pair, predicted=None, predicted_files={}, reason=DIED)):
        with ProcessPoolExecutor(1) as pool:
            try:
                return pool.submit(measure, attempt).result()
            except BrokenProcessPool:
                continue
    return _lost(pair, DIED, measure.keywords["scoring"], probabilities=measure.keywords["probabilities"])


def _evaluate(pair: Pair, scoring: Scoring, probabilities: bool) -> EvaluatedCase:
    declared = {0, *(value for label in scoring.structures for value in integers_of(label))} | (
        {scoring.ignore_label} if scoring.ignore_label is not None else set()
    )
    if pair.labelled is not None:
        known = {label: name for label, name in scoring.structures.items() if name in pair.labelled}
        scoring = replace(scoring, structures=known)
    if pair.reference_files or pair.predicted_files:
        return EvaluatedCase(pair, *measure_structure_files(pair, scoring, declared, probabilities=probabilities))
    try:
        reference = read_reference(pair, declared)
    except Exception as error:  # whatever a file makes a reader raise belongs to its case
        return _lost(pair, reason_of(error, Step.MEASURING), scoring, probabilities=probabilities)
    predicted, reason = _predicted(pair, reference, declared)
    labels = None if predicted is None else predicted.volume.labels
    measurements, calibrations = measured(pair, labels, reference.volume, scoring, probabilities=probabilities)
    return EvaluatedCase(
        pair,
        measurements,
        reference.volume.grid.diagonal_mm,
        reason,
        calibrations,
        missing="prediction" if predicted is None else "",
        undeclared=[*_said("predicted", predicted), *_said("reference", reference)],
        notes=[*dict.fromkeys([*reference.volume.notes, *(predicted.volume.notes if predicted else ())])],
    )


def _predicted(pair: Pair, reference: Labelled, declared: set[int]) -> tuple[Labelled | None, str]:
    """The predicted labels, or nothing and the reason."""
    try:
        return read_predicted(pair, reference.volume.grid, declared), ""
    except Exception as error:  # as above
        return None, reason_of(error, Step.MEASURING)


def _lost(pair: Pair, reason: str, scoring: Scoring, *, probabilities: bool) -> EvaluatedCase:
    rows = without_reference(scoring, probabilities=probabilities)
    return EvaluatedCase(pair, rows, math.nan, f"the reference cannot be used: {reason}", missing="reference")


def _said(side: str, labelled: Labelled | None) -> list[str]:
    found = {} if labelled is None else labelled.undeclared
    return [f"{side} {value}: {n} voxels" for value, n in found.items()]
