"""MONAI is asked itself; the others' rules are written out case by case."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from monai.metrics import DiceMetric, HausdorffDistanceMetric, MeanIoU, SurfaceDiceMetric, SurfaceDistanceMetric

from segsuite.metrics.per_case import Scoring, measure_case
from segsuite.reports.conventions import CONVENTIONS, differences, means_under

METRICS = ("dice", "iou", "surface_dice_1mm", "hd95", "assd")
DIAGONAL = 50.0


def block(*, moved: int = 0) -> np.ndarray:
    mask = np.zeros((12, 10, 8), dtype=np.uint8)
    mask[2 + moved : 7 + moved, 2:7, 2:6] = 1
    return mask


NOTHING = np.zeros_like(block())
PAIRS = {
    "good": (block(moved=1), block()),
    "perfect": (block(), block()),
    "missed": (NOTHING, block()),
    "spurious": (block(), NOTHING),
    "empty": (NOTHING, NOTHING),
}


def tables(*names: str, lost: tuple[str, ...] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = []
    for name in names:
        for m in measure_case(*PAIRS[name], Scoring({1: "gland"}), spacing_mm=(1, 1, 1)):
            status = "no prediction" if name in lost else m.status
            rows.append((name, name, m.label, m.name, m.metric, m.value, m.unit, status))
    columns = ["case", "patient_id", "label_index", "label_name", "metric", "value", "unit", "status"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame({"case": list(names), "diagonal_mm": DIAGONAL})


def means(convention: str, *names: str, lost: tuple[str, ...] = ()) -> dict[str, float]:
    table = means_under(*tables(*names, lost=lost), [convention])
    return dict(zip(table["metric"], table[convention], strict=True))


@pytest.mark.parametrize(
    "names", [("good", "missed"), ("good", "spurious"), ("good", "empty"), ("good", "perfect")], ids="-".join
)
@pytest.mark.filterwarnings("ignore:.*all 0.*:UserWarning")
def test_monais_rules_are_monais(names: tuple[str, ...]) -> None:
    peers = {
        "dice": DiceMetric(),
        "iou": MeanIoU(),
        "surface_dice_1mm": SurfaceDiceMetric([1.0], include_background=True),
        "hd95": HausdorffDistanceMetric(include_background=True, percentile=95),
        "assd": SurfaceDistanceMetric(include_background=True, symmetric=True),
    }
    for name in names:
        pair = [torch.from_numpy(mask)[None, None].float() for mask in PAIRS[name]]
        for peer in peers.values():
            peer(*pair)
    ours = means("monai", *names)
    for metric, peer in peers.items():
        assert ours[metric] == pytest.approx(float(peer.aggregate()), abs=1e-5), metric


def test_a_missed_structure_raises_monais_mean_distance_and_not_ours() -> None:
    assert means("monai", "good", "missed")["hd95"] == means("monai", "good")["hd95"] == 1
    assert means("segsuite", "good", "missed")["hd95"] == pytest.approx((1 + DIAGONAL) / 2)


def test_nnunet_leaves_out_what_has_no_file_and_knows_no_distance() -> None:
    ours, theirs = (means(name, "good", "missed", "spurious", lost=("missed",)) for name in ("segsuite", "nnunet"))
    assert theirs["dice"] == pytest.approx(ours["dice"] * 3 / 2)
    assert math.isnan(theirs["hd95"])


def test_metrics_reloaded_counts_both_empty_as_perfect() -> None:
    alone, with_empty = means("metricsreloaded", "good"), means("metricsreloaded", "good", "empty")
    assert with_empty["dice"] == pytest.approx((alone["dice"] + 1) / 2)
    assert with_empty["hd95"] == pytest.approx(alone["hd95"] / 2)
    assert with_empty["iou"] == alone["iou"]
    assert means("metricsreloaded", "good", "missed")["hd95"] == pytest.approx((1 + DIAGONAL) / 2)


def test_differences_name_the_case_and_the_reason() -> None:
    found = differences(*tables("good", "missed", "spurious", "empty"), ["monai", "nnunet", "metricsreloaded"])
    said = {(d.case, d.metric, d.convention): d.reason for d in found}
    assert said["spurious", "dice", "monai"] == "gland is in the prediction only: monai leaves it out"
    assert said["missed", "hd95", "monai"] == "gland is missed by the prediction: monai leaves it out"
    assert said["missed", "assd", "monai"] == "gland is missed by the prediction: monai says infinite"
    assert said["empty", "dice", "metricsreloaded"] == "gland is in neither mask: metricsreloaded counts it as perfect"
    assert not any(case == "good" or convention == "nnunet" for case, _, convention in said)
    assert {metric for _, metric, _ in said} <= {
        "dice",
        "iou",
        "surface_dice_1mm",
        "surface_dice_2mm",
        "hd",
        "hd95",
        "assd",
        "masd",
    }


def test_conventions_agree_where_both_masks_have_the_structure() -> None:
    table = means_under(*tables("good", "perfect"), list(CONVENTIONS))
    for name, convention in CONVENTIONS.items():
        known = table[table[name].notna()]
        assert set(METRICS[:2]) <= set(known["metric"])
        np.testing.assert_allclose(known[name], known["segsuite"])
        assert convention.source
    assert not differences(*tables("good", "perfect"), list(CONVENTIONS))
