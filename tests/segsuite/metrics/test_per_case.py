from __future__ import annotations

import math

import numpy as np
import pytest

from segsuite.metrics.per_case import Scoring, dice_per_structure, mean_of_scored, measure_case, measure_probability
from segsuite.volumes.regions import Regions

REFERENCE = np.zeros((12, 10, 8), dtype=np.uint8)
REFERENCE[2:6, 2:6, 2:6] = 1
REFERENCE[7:10, 2:6, 2:6] = 2
STRUCTURES = {1: "one", 2: "two", 3: "three", 4: "four"}


def measured(predicted: np.ndarray, **more: object) -> dict[tuple[str, str], tuple[float, str]]:
    rows = measure_case(predicted, REFERENCE, Scoring(STRUCTURES, **more), spacing_mm=(1, 1, 2))
    return {(row.name, row.metric): (row.value, row.status) for row in rows}


def test_each_structure_has_its_status() -> None:
    predicted = np.where(REFERENCE == 2, 3, REFERENCE)
    values = measured(predicted)
    assert {name: values[name, "dice"][1] for name in STRUCTURES.values()} == {
        "one": "ok", "two": "missed", "three": "spurious", "four": "empty",
    }  # fmt: skip
    assert [values[name, "dice"][0] for name in ("one", "two", "three")] == [1, 0, 0]
    assert math.isnan(values["four", "dice"][0])
    assert math.isinf(values["two", "hd95"][0])
    assert values["two", "volume_difference"][0] == pytest.approx(-48 * 2 / 1000)


def test_cropping_changes_no_number() -> None:
    predicted = np.roll(REFERENCE, 1, axis=0)
    full = measured(predicted)
    assert full["one", "hd95"][0] == pytest.approx(1.0)
    assert full["one", "dice"][0] == pytest.approx(2 * 48 / 128)


def test_ignored_voxels_count_for_neither() -> None:
    reference = REFERENCE.copy()
    reference[2:4, 2:6, 2:6] = 9
    rows = measure_case(REFERENCE, reference, Scoring({1: "one"}, ignore_label=9), spacing_mm=(1, 1, 1))
    assert next(row.value for row in rows if row.metric == "dice") == 1.0


def test_objects_are_counted_where_asked_for() -> None:
    predicted = REFERENCE.copy()
    predicted[11, 9, 7] = 1
    values = measured(predicted, instance_labels=(1,))
    assert values["one", "false_positives"][0] == 1
    assert values["one", "lesion_recall"][0] == 1
    assert ("two", "lesion_recall") not in values


def test_validation_and_evaluation_give_the_same_dice() -> None:
    predicted = np.roll(REFERENCE, 1, axis=0)
    fast = dice_per_structure(predicted, REFERENCE, STRUCTURES)
    assert fast["two"] == measured(predicted)["two", "dice"][0]


def test_mean_leaves_out_what_was_not_there() -> None:
    assert mean_of_scored([1.0, math.nan, 0.0]) == 0.5
    assert math.isnan(mean_of_scored([math.nan]))


def test_thirds_and_tubes_are_measured_where_asked_for() -> None:
    """Thirds are those of both structures together, planes 2 to 5, so that the lower one is plane 2."""
    predicted = REFERENCE.copy()
    predicted[:, :, 2] = 0
    values = measured(predicted, thirds=True, tube_labels=(2,))
    assert values["one", "dice_lower_third"][0] == 0
    assert values["one", "dice_upper_third"][0] == 1
    assert values["two", "centre_line_distance"][0] == pytest.approx((0 + 2 / 4) / 2)
    assert ("one", "centre_line_distance") not in values
    flipped = measure_case(predicted, REFERENCE, Scoring(STRUCTURES, thirds=True), spacing_mm=(1, 1, 2), upwards=(2, False))
    assert next(row.value for row in flipped if row.metric == "dice_upper_third" and row.name == "one") == 0


class TestRegions:
    """Of several integers: their union on both sides, every metric as of a mask that holds nothing else."""

    predicted = np.where(np.roll(REFERENCE, 1, axis=1) == 2, 1, np.roll(REFERENCE, 1, axis=0)).astype(np.uint8)

    def rows(self, predicted: np.ndarray, reference: np.ndarray, structures: dict[object, str], **more: object) -> dict:
        scoring = Scoring(structures, thirds=True, **more)
        rows = measure_case(predicted, reference, scoring, spacing_mm=(1, 1.5, 2))
        return {(row.name, row.metric): (row.value, row.unit, row.status) for row in rows}

    def test_every_metric_is_that_of_the_union(self) -> None:
        more = {"instance_labels": ("1+2",), "tube_labels": ("1+2",), "topology_labels": ("1+2",)}
        found = self.rows(self.predicted, REFERENCE, {"1+2": "both"}, **more)
        unions = [np.isin(labels, (1, 2)).astype(np.uint8) for labels in (self.predicted, REFERENCE)]
        alone = dict.fromkeys(more, (1,))
        expected = self.rows(unions[0], unions[1], {1: "both"}, **alone)
        assert found == expected
        assert found["both", "dice"][0] == pytest.approx(2 * (unions[0] & unions[1]).sum() / (unions[0].sum() + unions[1].sum()))

    def test_beside_single_labels_each_is_measured(self) -> None:
        found = self.rows(REFERENCE, REFERENCE, {"1+2": "both", 2: "two", "3+4": "other"})
        assert [found[name, "dice"][2] for name in ("both", "two", "other")] == ["ok", "ok", "empty"]
        assert found["both", "volume"][0] == pytest.approx((REFERENCE > 0).sum() * 3 / 1000)

    def test_validation_gives_the_same_dice(self) -> None:
        regions = Regions({"both": (1, 2), "two": (2,)}, (1, 2))
        fast = dice_per_structure(self.predicted, REFERENCE, regions)
        found = self.rows(self.predicted, REFERENCE, regions.labels)
        assert fast == {name: found[name, "dice"][0] for name in ("both", "two")}

    def test_probabilities_are_judged_against_the_union(self) -> None:
        sure = np.isin(REFERENCE, (1, 2)).astype(np.float32)
        asked: list[object] = []

        def probability_of(label: object) -> np.ndarray:
            asked.append(label)
            return sure

        scoring = Scoring({"1+2": "both", "3+4": "other"})
        rows, calibrations = measure_probability(probability_of, REFERENCE, REFERENCE, scoring, spacing_mm=(1, 1, 1))
        assert asked == ["1+2"]
        assert next(row.value for row in rows if row.metric == "brier") == 0
        assert list(calibrations) == ["both"]
