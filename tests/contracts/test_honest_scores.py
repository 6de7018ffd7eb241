"""Dropping a prediction, emptying a mask or shifting one by a slice can never improve a reported mean."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segsuite.metrics.per_case import HIGHER_IS_BETTER
from segsuite.verbs.evaluating import Measures, evaluate
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_mask

SHAPE = (14, 12, 8)
LIKE = Volume(np.zeros((1, *SHAPE), dtype=np.uint8), Grid(SHAPE, np.diag([0.7, 0.7, 3.0, 1.0])))
NEVER_BETTER = (
    "dice", "iou", "sensitivity", "precision", "surface_dice_1mm", "surface_dice_2mm", "hd", "hd95", "assd", "masd",
    "absolute_volume_difference", "topology", "cl_dice", "lesion_f1", "panoptic_quality",
)  # fmt: skip
EVERYTHING = {"topology": ["1", "2"], "tubes": ["1", "2"], "instances": ["1", "2"]}


def blocks(draw: np.random.Generator, *, absent: float) -> np.ndarray:
    """Two structures, each absent with some probability, away from the first and last slice."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for value, side in ((1, slice(1, 6)), (2, slice(8, 13))):
        if draw.random() >= absent:
            low, high = sorted(draw.choice(np.arange(1, 11), 2, replace=False))
            labels[side, low : high + 1, 2:6] = value
    return labels


def write(folder: Path, cases: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, labels in enumerate(cases):
        write_mask(folder / f"c{number}.nii.gz", labels, like=LIKE)


def means(predictions: Path, references: Path, surface: Literal["voxels", "area"]) -> dict[str, dict[str, float]]:
    out = predictions.parent / f"{predictions.name}_evaluation"
    summary = evaluate(predictions, references, out, measures=Measures(surface=surface, **EVERYTHING)).summary
    return {name: {m: entry[m]["mean"] for m in NEVER_BETTER} for name, entry in summary["structures"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["drop the file", "empty the mask", "shift by a slice"])
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_harm_never_helps(tmp_path_factory: pytest.TempPathFactory, harm: str, seed: int) -> None:
    """The predictions are perfect before the harm, so that any change can only be for the worse."""
    draw = np.random.default_rng(seed)
    root = tmp_path_factory.mktemp("honest")
    references = [blocks(draw, absent=0.3) for _ in range(4)] + [blocks(draw, absent=0.0)]
    write(root / "references", references)
    write(root / "honest", references)
    harmed = int(draw.integers(len(references)))
    worse = [labels.copy() for labels in references]
    worse[harmed] = np.roll(worse[harmed], 1, axis=2) if harm == "shift by a slice" else worse[harmed] * 0
    write(root / "harmed", worse)
    if harm == "drop the file":
        (root / "harmed" / f"c{harmed}.nii.gz").unlink()
    surface: Literal["voxels", "area"] = "area" if seed % 2 else "voxels"
    before, after = (means(root / folder, root / "references", surface) for folder in ("honest", "harmed"))
    changed = references[harmed].any()
    for structure, metrics in before.items():
        for metric, value in metrics.items():
            change = after[structure][metric] - value
            assert change <= 1e-9 if metric.startswith(HIGHER_IS_BETTER) else change >= -1e-9, (structure, metric)
    if changed:
        assert any(after[name]["dice"] < before[name]["dice"] for name in before)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_dropping_a_bad_prediction_never_helps_either(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Predictions that miss, invent and misplace structures; amounts (ml, counts) are no scores and are not asked."""
    draw = np.random.default_rng(seed)
    root = tmp_path_factory.mktemp("bad")
    references, predictions = ([blocks(draw, absent=0.4) for _ in range(4)] for _ in range(2))
    references.append(blocks(draw, absent=0.0))  # so that both structures have a name
    predictions.append(references[-1])
    for name, cases in (("references", references), ("bad", predictions), ("less", predictions)):
        write(root / name, cases)
    (root / "less" / f"c{int(draw.integers(len(references)))}.nii.gz").unlink()
    surface: Literal["voxels", "area"] = "area" if seed % 2 else "voxels"
    before, after = (means(root / folder, root / "references", surface) for folder in ("bad", "less"))
    for structure, metrics in before.items():
        for metric, value in metrics.items():
            if value is None or metric == "absolute_volume_difference":
                continue
            change = after[structure][metric] - value
            assert change <= 1e-9 if metric.startswith(HIGHER_IS_BETTER) else change >= -1e-9, (structure, metric)
