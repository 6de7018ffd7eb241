"""All metrics of one case: every declared structure cropped once, measured once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from segsuite.metrics.along_axis import centre_line_distance_mm, dice_per_third
from segsuite.metrics.instances import (
    lesion_f1_score,
    lesion_precision_per_size,
    lesion_precision_score,
    lesion_recall_per_size,
    lesion_recall_score,
    match_instances,
    panoptic_quality_score,
)
from segsuite.metrics.overlap import (
    absolute_volume_difference_ml,
    dice_score,
    iou_score,
    precision_score,
    sensitivity_score,
    volume_difference_ml,
    volume_difference_percent,
    volume_ml,
)
from segsuite.metrics.probability import Calibration, brier_score, calibration_of, expected_calibration_error
from segsuite.metrics.surface import (
    SurfaceDistances,
    average_symmetric_surface_distance_mm,
    hausdorff_distance_mm,
    mean_average_surface_distance_mm,
    surface_dice_score,
    surface_distances_mm,
)
from segsuite.metrics.surface_elements import surface_element_distances_mm
from segsuite.metrics.topology import cl_dice_score, topology_of, topology_score
from segsuite.shapes import FloatArray, LabelMap, Mask, Spacing
from segsuite.volumes.cropping import enlarged_box, union_box
from segsuite.volumes.labels import label_boxes
from segsuite.volumes.regions import Label, Regions, integers_of, mask_of

__all__ = [
    "HIGHER_IS_BETTER",
    "SURFACES",
    "Measurement",
    "ProbabilityOf",
    "Scoring",
    "dice_per_structure",
    "mean_of_scored",
    "measure_case",
    "measure_instances",
    "measure_probability",
    "measure_structure",
]

HIGHER_IS_BETTER = ("dice", "iou", "sensitivity", "precision", "surface_dice", "lesion", "panoptic", "topology", "cl_dice")
"""Prefixes of metrics where 1 is best; every other metric is best at 0."""
SURFACES = {"voxels": surface_distances_mm, "area": surface_element_distances_mm}
"""Definitions of a surface: boundary voxels that count the same, or elements that count by their area."""
NEAR_MM = 10.0
"""Probabilities are judged up to this far beyond the box of a structure."""
ProbabilityOf = Callable[[Label], FloatArray]
"""Label to the probability of its structure, (i, j, k)."""
Boxes = Mapping[int, tuple[slice, ...]]


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        label: Integer of the structure, of a region its integers (``1+2+3``).
        name: Its name.
        metric: What was measured, for example ``hd95``.
        value: The number; ``nan`` if both masks are empty, ``inf`` for a distance to nothing.
        unit: ``1``, ``mm``, ``ml``, ``%`` or ``count``.
        status: ``ok``, ``missed`` (in the reference only), ``spurious`` (in the prediction only) or ``empty``.
    """

    label: Label
    name: str
    metric: str
    value: float
    unit: str
    status: str


@dataclass(frozen=True)
class Scoring:
    """What an evaluation measures in every case.

    Attributes:
        structures: Integer to name; of a region, its integers joined by ``+`` to name: their union is measured.
        tolerances_mm: For surface Dice.
        ignore_label: Voxels that the reference marks with it count for neither mask.
        instance_labels: Structures whose separate objects (lesions) are counted too.
        least_iou: Least overlap from which two objects match.
        size_edges_ml: Between small, larger and largest objects, which are also counted apart.
        tube_labels: Structures that run along ``body_axis``, whose centre lines are compared.
        thirds: Dice also in the lower, middle and upper third of all structures together, along ``body_axis``.
        body_axis: 0 left to right, 1 back to front, 2 foot to head.
        topology_labels: Structures whose pieces, tunnels and cavities are counted.
        surface: One of ``SURFACES``.
    """

    structures: Mapping[Any, str]
    tolerances_mm: tuple[float, ...] = (1.0,)
    ignore_label: int | None = None
    instance_labels: tuple[Label, ...] = ()
    least_iou: float = 0.1
    size_edges_ml: tuple[float, ...] = ()
    tube_labels: tuple[Label, ...] = ()
    thirds: bool = False
    body_axis: Literal[0, 1, 2] = 2
    topology_labels: tuple[Label, ...] = ()
    surface: Literal["voxels", "area"] = "voxels"


def measure_case(
    predicted: LabelMap,
    reference: LabelMap,
    scoring: Scoring,
    *,
    spacing_mm: Spacing,
    upwards: tuple[int, bool] = (2, True),
    extent: tuple[int, int] | None = None,
) -> list[Measurement]:
    """Every metric of every structure of one case.

    Args:
        predicted: Integers (i, j, k).
        reference: Integers on the same grid.
        scoring: What is measured.
        spacing_mm: Voxel size along i, j, k.
        upwards: Array axis along ``body_axis``, and whether it runs the same way (from foot to head).
        extent: First plane along that axis and the one after the last, between which thirds are; ``None``: those of all
            structures of the reference.

    Returns:
        One measurement per structure and metric.
    """
    measurements = []
    boxes_p, boxes_r = label_boxes(predicted), label_boxes(reference)
    axis, up = upwards
    planes = [boxes_r[value][axis] for label in scoring.structures for value in integers_of(label) if value in boxes_r]
    if extent is None:
        extent = (min(part.start for part in planes), max(part.stop for part in planes)) if planes else (0, predicted.shape[axis])
    for label, name in scoring.structures.items():
        box = union_box(_box(boxes_p, label), _box(boxes_r, label))
        mask_p, mask_r = mask_of(predicted[box], label), mask_of(reference[box], label)
        if scoring.ignore_label is not None:
            mask_p &= reference[box] != scoring.ignore_label
        surface = SURFACES[scoring.surface]
        values = measure_structure(
            mask_p, mask_r, spacing_mm=spacing_mm, tolerances_mm=scoring.tolerances_mm, surface_pass=surface
        )
        if label in scoring.instance_labels:
            edges = scoring.size_edges_ml
            values |= measure_instances(mask_p, mask_r, least_iou=scoring.least_iou, size_edges_ml=edges, spacing_mm=spacing_mm)
        if label in scoring.tube_labels:
            apart = centre_line_distance_mm(mask_p, mask_r, spacing_mm=spacing_mm, axis=axis)
            values |= {"centre_line_distance": (apart, "mm"), "cl_dice": (cl_dice_score(mask_p, mask_r), "1")}
        if label in scoring.topology_labels:
            values |= _topology(mask_p, mask_r)
        if scoring.thirds:
            inner = (extent[0] - box[axis].start, extent[1] - box[axis].start)
            thirds = dice_per_third(mask_p, mask_r, extent=inner, axis=axis, downwards=not up)
            values |= {f"dice_{name}_third": (value, "1") for name, value in thirds.items()}
        status = _status(bool(mask_p.any()), bool(mask_r.any()))
        measurements += [Measurement(label, name, metric, value, unit, status) for metric, (value, unit) in values.items()]
    return measurements


def measure_instances(
    predicted: Mask, reference: Mask, *, least_iou: float, size_edges_ml: Sequence[float], spacing_mm: Spacing
) -> dict[str, tuple[float, str]]:
    """Every metric of the separate objects of one structure.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        least_iou: Least overlap of a match.
        size_edges_ml: Ascending; recall (by real size) and precision (by predicted size) also within each bin.
        spacing_mm: Voxel size along i, j, k.

    Returns:
        Metric name to value and unit.
    """
    matches = match_instances(predicted, reference, least_iou=least_iou)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    edges = [edge / voxel_ml for edge in size_edges_ml]
    bins = _names_of_bins(size_edges_ml)
    recalls, precisions = (count(matches, edges=edges) for count in (lesion_recall_per_size, lesion_precision_per_size))
    per_size = {f"lesion_recall_{name}": (value, "1") for name, value in zip(bins, recalls, strict=True)}
    per_size |= {f"lesion_precision_{name}": (value, "1") for name, value in zip(bins, precisions, strict=True)}
    whole = {
        "lesion_f1": (lesion_f1_score(matches), "1"),
        "lesion_recall": (lesion_recall_score(matches), "1"),
        "lesion_precision": (lesion_precision_score(matches), "1"),
        "panoptic_quality": (panoptic_quality_score(matches), "1"),
        "false_positives": (float(matches.n_false_positive), "count"),
        "false_negatives": (float(matches.n_false_negative), "count"),
    }
    return whole | per_size


def measure_probability(
    probability_of: ProbabilityOf, predicted: LabelMap, reference: LabelMap, scoring: Scoring, *, spacing_mm: Spacing
) -> tuple[list[Measurement], dict[str, Calibration]]:
    """Whether the probabilities of one case can be believed, near each structure.

    Args:
        probability_of: Asked for one structure at a time.
        predicted: Integers (i, j, k).
        reference: Integers on the same grid.
        scoring: Its structures are measured; ignored voxels count as nothing expected.
        spacing_mm: Voxel size along i, j, k.

    Returns:
        ``brier`` and ``ece`` per structure, and counts per bin by its name; structures that are in neither mask are ``nan``
        and have no counts.
    """
    boxes_p, boxes_r = label_boxes(predicted), label_boxes(reference)
    measurements, calibrations = [], {}
    for label, name in scoring.structures.items():
        box_p, box_r = _box(boxes_p, label), _box(boxes_r, label)
        status = _status(box_p is not None, box_r is not None)
        brier = error = math.nan
        if status != "empty":
            near = enlarged_box(union_box(box_p, box_r), NEAR_MM, spacing_mm, predicted.shape)
            probability, truth = probability_of(label)[near], mask_of(reference[near], label)
            if scoring.ignore_label is not None:
                kept = reference[near] != scoring.ignore_label
                probability, truth = probability[kept], truth[kept]
            calibrations[name] = calibration_of(probability, truth)
            brier, error = brier_score(probability, truth), expected_calibration_error(calibrations[name])
        measurements += [
            Measurement(label, name, metric, value, "1", status) for metric, value in (("brier", brier), ("ece", error))
        ]
    return measurements, calibrations


def measure_structure(
    predicted: Mask,
    reference: Mask,
    *,
    spacing_mm: Spacing,
    tolerances_mm: Sequence[float],
    surface_pass: Callable[..., SurfaceDistances] = surface_distances_mm,
) -> dict[str, tuple[float, str]]:
    """Every metric of one structure.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        spacing_mm: Voxel size along i, j, k.
        tolerances_mm: For surface Dice.
        surface_pass: One of ``SURFACES``.

    Returns:
        Metric name to value and unit.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    distances = surface_pass(predicted, reference, spacing_mm=spacing_mm)
    overlap = {
        "dice": (dice_score(predicted, reference), "1"),
        "iou": (iou_score(predicted, reference), "1"),
        "sensitivity": (sensitivity_score(predicted, reference), "1"),
        "precision": (precision_score(predicted, reference), "1"),
        "volume": (volume_ml(predicted, voxel_ml=voxel_ml), "ml"),
        "reference_volume": (volume_ml(reference, voxel_ml=voxel_ml), "ml"),
        "volume_difference": (volume_difference_ml(predicted, reference, voxel_ml=voxel_ml), "ml"),
        "absolute_volume_difference": (absolute_volume_difference_ml(predicted, reference, voxel_ml=voxel_ml), "ml"),
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


def dice_per_structure(predicted: LabelMap, reference: LabelMap, structures: Mapping[int, str] | Regions) -> dict[str, float]:
    """Dice alone, for validation during training.

    Args:
        predicted: Integers (i, j, k).
        reference: Integers on the same grid.
        structures: Integer to name; or regions, each of which is the union of its integers in both.

    Returns:
        Name to Dice; ``nan`` where a structure is in neither.
    """
    named = structures.labels if isinstance(structures, Regions) else structures
    return {name: dice_score(mask_of(predicted, label), mask_of(reference, label)) for label, name in named.items()}


def mean_of_scored(values: Sequence[float]) -> float:
    """Mean of the numbers that are not ``nan``; ``nan`` if there is none."""
    scored = [value for value in values if not math.isnan(value)]
    return sum(scored) / len(scored) if scored else math.nan


def _names_of_bins(edges_ml: Sequence[float]) -> list[str]:
    if not edges_ml:
        return ["of_any_size"]
    inner = [f"{low:g}_to_{high:g}ml" for low, high in pairwise(edges_ml)]
    return [f"below_{edges_ml[0]:g}ml", *inner, f"from_{edges_ml[-1]:g}ml"]


def _topology(predicted: Mask, reference: Mask) -> dict[str, tuple[float, str]]:
    """The counts of both masks, and whether they are equal."""
    found, expected = topology_of(predicted), topology_of(reference)
    return {
        "topology": (topology_score(found, expected), "1"),
        "components": (float(found.n_components), "count"),
        "reference_components": (float(expected.n_components), "count"),
        "holes": (float(found.n_tunnels + found.n_cavities), "count"),
        "reference_holes": (float(expected.n_tunnels + expected.n_cavities), "count"),
    }


def _box(boxes: Boxes, label: Label) -> tuple[slice, ...] | None:
    """The smallest box around all integers of a label that occur."""
    found = [boxes[value] for value in integers_of(label) if value in boxes]
    return reduce(union_box, found) if found else None


def _status(in_predicted: bool, in_reference: bool) -> str:
    if in_predicted and in_reference:
        return "ok"
    if in_reference:
        return "missed"
    return "spurious" if in_predicted else "empty"
