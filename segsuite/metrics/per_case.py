"""All metrics of one case: every declared structure cropped once, measured once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segsuite.metrics.along_axis import centre_line_distance_mm, dice_per_third
from segsuite.metrics.instances import (
    lesion_f1_score,
    lesion_precision_score,
    lesion_recall_score,
    match_instances,
    panoptic_quality_score,
)
from segsuite.metrics.overlap import (
    dice_score,
    iou_score,
    precision_score,
    sensitivity_score,
    volume_difference_ml,
    volume_difference_percent,
    volume_ml,
)
from segsuite.metrics.surface import (
    average_symmetric_surface_distance_mm,
    hausdorff_distance_mm,
    mean_average_surface_distance_mm,
    surface_dice_score,
    surface_distances_mm,
)
from segsuite.shapes import LabelMap, Mask, Spacing
from segsuite.volumes.cropping import union_box
from segsuite.volumes.labels import label_boxes

__all__ = [
    "HIGHER_IS_BETTER",
    "Measurement",
    "Scoring",
    "dice_per_structure",
    "mean_of_scored",
    "measure_case",
    "measure_instances",
    "measure_structure",
]

HIGHER_IS_BETTER = ("dice", "iou", "sensitivity", "precision", "surface_dice", "lesion", "panoptic")
"""Prefixes of metrics where 1 is best; every other metric is best at 0."""


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        label: Integer of the structure.
        name: Its name.
        metric: What was measured, for example ``hd95``.
        value: The number; ``nan`` if both masks are empty, ``inf`` for a distance to nothing.
        unit: ``1``, ``mm``, ``ml``, ``%`` or ``count``.
        status: ``ok``, ``missed`` (in the reference only), ``spurious`` (in the prediction only) or ``empty``.
    """

    label: int
    name: str
    metric: str
    value: float
    unit: str
    status: str


@dataclass(frozen=True)
class Scoring:
    """What an evaluation measures in every case.

    Attributes:
        structures: Integer to name.
        tolerances_mm: For surface Dice.
        ignore_label: Voxels that the reference marks with it count for neither mask.
        instance_labels: Structures whose separate objects (lesions) are counted too.
        least_iou: Least overlap from which two objects match.
        tube_labels: Structures that run from foot to head, whose centre lines are compared.
        thirds: Dice also in the lower, middle and upper third of all structures together.
    """

    structures: Mapping[int, str]
    tolerances_mm: tuple[float, ...] = (1.0,)
    ignore_label: int | None = None
    instance_labels: tuple[int, ...] = ()
    least_iou: float = 0.1
    tube_labels: tuple[int, ...] = ()
    thirds: bool = False


def measure_case(
    predicted: LabelMap, reference: LabelMap, scoring: Scoring, *, spacing_mm: Spacing, upwards: tuple[int, bool] = (2, True)
) -> list[Measurement]:
    """Every metric of every structure of one case.

    Args:
        predicted: Integers (i, j, k).
        reference: Integers on the same grid.
        scoring: What is measured.
        spacing_mm: Voxel size along i, j, k.
        upwards: Array axis between foot and head, and whether it runs from foot to head.

    Returns:
        One measurement per structure and metric.
    """
    measurements = []
    boxes_p, boxes_r = label_boxes(predicted), label_boxes(reference)
    axis, up = upwards
    planes = [boxes_r[label][axis] for label in scoring.structures if label in boxes_r]
    extent = (min(part.start for part in planes), max(part.stop for part in planes)) if planes else (0, predicted.shape[axis])
    for label, name in scoring.structures.items():
        box = union_box(boxes_p.get(label), boxes_r.get(label))
        mask_p, mask_r = predicted[box] == label, reference[box] == label
        if scoring.ignore_label is not None:
            mask_p &= reference[box] != scoring.ignore_label
        values = measure_structure(mask_p, mask_r, spacing_mm=spacing_mm, tolerances_mm=scoring.tolerances_mm)
        if label in scoring.instance_labels:
            values |= measure_instances(mask_p, mask_r, least_iou=scoring.least_iou)
        if label in scoring.tube_labels:
            apart = centre_line_distance_mm(mask_p, mask_r, spacing_mm=spacing_mm, axis=axis)
            values["centre_line_distance"] = (apart, "mm")
        if scoring.thirds:
            inner = (extent[0] - box[axis].start, extent[1] - box[axis].start)
            thirds = dice_per_third(mask_p, mask_r, extent=inner, axis=axis, downwards=not up)
            values |= {f"dice_{name}_third": (value, "1") for name, value in thirds.items()}
        status = _status(bool(mask_p.any()), bool(mask_r.any()))
        measurements += [Measurement(label, name, metric, value, unit, status) for metric, (value, unit) in values.items()]
    return measurements


def measure_instances(predicted: Mask, reference: Mask, *, least_iou: float) -> dict[str, tuple[float, str]]:
    """Every metric of the separate objects of one structure.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        least_iou: Least overlap of a match.

    Returns:
        Metric name to value and unit.
    """
    matches = match_instances(predicted, reference, least_iou=least_iou)
    return {
        "lesion_f1": (lesion_f1_score(matches), "1"),
        "lesion_recall": (lesion_recall_score(matches), "1"),
        "lesion_precision": (lesion_precision_score(matches), "1"),
        "panoptic_quality": (panoptic_quality_score(matches), "1"),
        "false_positives": (float(matches.n_false_positive), "count"),
        "false_negatives": (float(matches.n_false_negative), "count"),
    }


def measure_structure(
    predicted: Mask, reference: Mask, *, spacing_mm: Spacing, tolerances_mm: Sequence[float]
) -> dict[str, tuple[float, str]]:
    """Every metric of one structure.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        spacing_mm: Voxel size along i, j, k.
        tolerances_mm: For surface Dice.

    Returns:
        Metric name to value and unit.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    distances = surface_distances_mm(predicted, reference, spacing_mm=spacing_mm)
    overlap = {
        "dice": (dice_score(predicted, reference), "1"),
        "iou": (iou_score(predicted, reference), "1"),
        "sensitivity": (sensitivity_score(predicted, reference), "1"),
        "precision": (precision_score(predicted, reference), "1"),
        "volume": (volume_ml(predicted, voxel_ml=voxel_ml), "ml"),
        "reference_volume": (volume_ml(reference, voxel_ml=voxel_ml), "ml"),
        "volume_difference": (volume_difference_ml(predicted, reference, voxel_ml=voxel_ml), "ml"),
        "volume_difference_percent": (volume_difference_percent(predicted, reference), "%"),
    }
    surface = {
        "hd": (hausdorff_distance_mm(distances, percentile=100), "mm"),
        "hd95": (hausdorff_distance_mm(distances, percentile=95), "mm"),
        "assd": (average_symmetric_surface_distance_mm(distances), "mm"),
        "masd": (mean_average_surface_distance_mm(distances), "mm"),
    }
    tolerant = {
        f"surface_dice_{tolerance:g}mm": (surface_dice_score(distances, tolerance_mm=tolerance), "1")
        for tolerance in tolerances_mm
    }
    return overlap | surface | tolerant


def dice_per_structure(predicted: LabelMap, reference: LabelMap, structures: Mapping[int, str]) -> dict[str, float]:
    """Dice alone, for validation during training.

    Args:
        predicted: Integers (i, j, k).
        reference: Integers on the same grid.
        structures: Integer to name.

    Returns:
        Name to Dice; ``nan`` where a structure is in neither.
    """
    return {name: dice_score(predicted == label, reference == label) for label, name in structures.items()}


def mean_of_scored(values: Sequence[float]) -> float:
    """Mean of the numbers that are not ``nan``; ``nan`` if there is none."""
    scored = [value for value in values if not math.isnan(value)]
    return sum(scored) / len(scored) if scored else math.nan


def _status(in_predicted: bool, in_reference: bool) -> str:
    if in_predicted and in_reference:
        return "ok"
    if in_reference:
        return "missed"
    return "spurious" if in_predicted else "empty"
