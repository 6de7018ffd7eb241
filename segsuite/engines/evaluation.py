"""Measure pairs of masks, one case after the other or many at a time; memory does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from segsuite.engines.pairing import Pair
from segsuite.errors import InputError, VolumeError
from segsuite.metrics.per_case import HIGHER_IS_BETTER, Measurement, Scoring, measure_case, measure_probability
from segsuite.metrics.probability import Calibration
from segsuite.shapes import FloatArray, LabelMap
from segsuite.volumes.orders import reordered
from segsuite.volumes.reading import read_labels, read_volume
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import side_volume

__all__ = ["EvaluatedCase", "evaluate_pairs"]

QUEUED_PER_WORKER = 32
"""Cases handed to each process ahead of time; more would only fill memory."""
WORST_OF_UNIT = {"mm": math.inf, "%": 100.0}
WORST_PROBABILITY = 1.0
"""Brier score and calibration error where there is no prediction."""


@dataclass(frozen=True)
class EvaluatedCase:
    """All numbers of one case.

    Attributes:
        pair: What was compared.
        measurements: One per structure and metric.
        diagonal_mm: Of the reference image: what a missed structure costs as a distance.
        reason: Why there was no prediction to measure; empty if there was.
        calibrations: Structure to counts per bin of probability, where probabilities were looked at.
    """

    pair: Pair
    measurements: list[Measurement]
    diagonal_mm: float
    reason: str = ""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)


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
        pairs: From ``find_pairs``.
        scoring: What is measured.
        probabilities: Judge the probabilities that lie beside the predicted masks too.
        workers: Processes.
        on_case: Receives each case.

    Raises:
        VolumeError: No probabilities beside a mask.
    """
    measure = partial(_evaluate, scoring=scoring, probabilities=probabilities)
    if workers <= 1:
        for pair in pairs:
            on_case(measure(pair))
        return
    with ProcessPoolExecutor(workers) as pool:
        for start in range(0, len(pairs), QUEUED_PER_WORKER * workers):
            for case in pool.map(measure, pairs[start : start + QUEUED_PER_WORKER * workers]):
                on_case(case)


def _evaluate(pair: Pair, scoring: Scoring, probabilities: bool) -> EvaluatedCase:
    reference = read_labels(pair.reference, mapping=dict(pair.mapping))
    predicted, reason = _predicted(pair, reference)
    if pair.labelled is not None:
        known = {label: name for label, name in scoring.structures.items() if name in pair.labelled}
        scoring = replace(scoring, structures=known)
    axis = reference.grid.body_axes.index(scoring.body_axis)
    upwards = (axis, bool(reference.grid.affine[scoring.body_axis, axis] > 0))
    measurements = measure_case(predicted, reference.labels, scoring, spacing_mm=reference.spacing_mm, upwards=upwards)
    calibrations: Mapping[str, Calibration] = {}
    if probabilities and reason:
        worst = {m.name: m for m in measurements if m.metric == "dice"}
        measurements += [
            replace(m, metric=metric, value=WORST_PROBABILITY) for m in worst.values() for metric in ("brier", "ece")
        ]
    elif probabilities:
        judged, calibrations = measure_probability(
            partial(_probability, pair, reference), predicted, reference.labels, scoring, spacing_mm=reference.spacing_mm
        )
        measurements += judged
    if reason:
        measurements = [_without_prediction(m) for m in measurements]
    return EvaluatedCase(pair, measurements, reference.grid.diagonal_mm, reason, calibrations)


def _predicted(pair: Pair, reference: Volume) -> tuple[LabelMap, str]:
    """The predicted labels, or nothing and the reason."""
    nothing = np.zeros_like(reference.labels)
    if pair.predicted is None:
        return nothing, "no prediction of this name"
    try:
        volume = read_labels(pair.predicted)
        volume = reordered(volume, reference.grid, names=(str(pair.reference), str(pair.predicted)))
    except (InputError, FileNotFoundError) as error:
        return nothing, str(error)
    return volume.labels, ""


def _probability(pair: Pair, reference: Volume, label: int) -> FloatArray:
    assert pair.predicted is not None  # noqa: S101 - asked for only where there is a prediction
    path = side_volume(pair.predicted, f"probability_{label}")
    if not path.is_file():
        raise VolumeError(
            f"case {pair.case_id}: the probability of label {label} must lie in {path}, but nothing is there. "
            "Predict with --save-probabilities, or evaluate without --probabilities."
        )
    volume = reordered(read_volume(path), reference.grid, names=(str(pair.reference), str(path)))
    found: FloatArray = volume.array[0]
    return found


def _without_prediction(measurement: Measurement) -> Measurement:
    """Nobody said that a structure is not there, so it was not rightly left out: what has no value gets the worst one.

    Otherwise taking away the file of a prediction that invents a structure would improve that structure's mean.
    """
    value = measurement.value
    if math.isnan(value) and measurement.metric.startswith(HIGHER_IS_BETTER):
        value = 0.0
    elif math.isnan(value) and measurement.unit in WORST_OF_UNIT:
        value = WORST_OF_UNIT[measurement.unit]
    return replace(measurement, value=value, status="no prediction")
