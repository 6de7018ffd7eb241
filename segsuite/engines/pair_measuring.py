"""The numbers of two masks, and those of a mask that has no other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from segsuite.engines.pair_reading import probability_of
from segsuite.engines.pairs import Pair
from segsuite.metrics.per_case import HIGHER_IS_BETTER, Measurement, Scoring, measure_case, measure_probability
from segsuite.metrics.probability import Calibration
from segsuite.shapes import FloatArray, LabelMap
from segsuite.volumes.grid import Grid
from segsuite.volumes.regions import Label
from segsuite.volumes.volume import Volume

__all__ = ["NO_PREDICTION", "NO_REFERENCE", "measured", "upwards", "without_reference"]

NO_PREDICTION, NO_REFERENCE = "no prediction", "no reference"
"""Status of what could not be measured."""
WORST_OF_UNIT = {"mm": math.inf, "%": 100.0}
WORST_PROBABILITY = 1.0
"""Brier score and calibration error where there is no prediction."""
PROBABILITY_METRICS = ("brier", "ece")


def measured(
    pair: Pair,
    predicted: LabelMap | None,
    reference: Volume,
    scoring: Scoring,
    *,
    probabilities: bool,
    extent: tuple[int, int] | None = None,
) -> tuple[list[Measurement], Mapping[str, Calibration]]:
    """All numbers of a case, or of some of its structures.

    Args:
        pair: The case.
        predicted: Labels on the reference's grid; ``None``: there is no prediction.
        reference: Labels.
        scoring: Its structures are measured.
        probabilities: Judge the probabilities that lie beside the predicted mask too.
        extent: Where thirds lie, if not between the ends of these structures.

    Returns:
        One measurement per structure and metric; structure to counts per bin of probability.

    Raises:
        VolumeError: No probabilities beside the mask.
    """
    labels = np.zeros_like(reference.labels) if predicted is None else predicted
    spacing_mm, up = reference.spacing_mm, upwards(reference.grid, scoring)
    found = measure_case(labels, reference.labels, scoring, spacing_mm=spacing_mm, upwards=up, extent=extent)
    calibrations: Mapping[str, Calibration] = {}
    if probabilities and predicted is None:
        found += _of_probability(found, WORST_PROBABILITY)
    elif probabilities:

        def beside(label: Label) -> FloatArray:
            return probability_of(pair, reference.grid, label, name=scoring.structures[label])

        judged, calibrations = measure_probability(beside, labels, reference.labels, scoring, spacing_mm=spacing_mm)
        found += judged
    return [_without_prediction(m) for m in found] if predicted is None else found, calibrations


def upwards(grid: Grid, scoring: Scoring) -> tuple[int, bool]:
    """Which array axis runs along the body's, and whether it runs the same way.

    Args:
        grid: Of the masks.
        scoring: Its ``body_axis``.

    Returns:
        Axis and direction.
    """
    axis = grid.body_axes.index(scoring.body_axis)
    return axis, bool(grid.affine[scoring.body_axis, axis] > 0)


def without_reference(scoring: Scoring, *, probabilities: bool) -> list[Measurement]:
    """Rows that say that nothing is known: no value, but counted.

    Args:
        scoring: What would have been measured.
        probabilities: Whether probabilities would have been judged.

    Returns:
        ``nan`` per structure and metric.
    """
    nothing = np.zeros((2, 2, 2), dtype=np.uint8)
    found = measure_case(nothing, nothing, scoring, spacing_mm=(1.0, 1.0, 1.0))
    found += _of_probability(found, math.nan) if probabilities else []
    return [replace(m, value=math.nan, status=NO_REFERENCE) for m in found]


def _of_probability(measurements: list[Measurement], value: float) -> list[Measurement]:
    per_structure = [m for m in measurements if m.metric == "dice"]
    return [replace(m, metric=metric, value=value) for m in per_structure for metric in PROBABILITY_METRICS]


def _without_prediction(measurement: Measurement) -> Measurement:
    """Nobody said that a structure is not there, so it was not rightly left out: what has no value gets the worst one.

    Otherwise taking away the file of a prediction that invents a structure would improve that structure's mean.
    """
    value = measurement.value
    if math.isnan(value) and measurement.metric.startswith(HIGHER_IS_BETTER):
        value = 0.0
    elif math.isnan(value) and measurement.unit in WORST_OF_UNIT:
        value = WORST_OF_UNIT[measurement.unit]
    return replace(measurement, value=value, status=NO_PREDICTION)
