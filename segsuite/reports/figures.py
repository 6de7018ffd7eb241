"""Figures of an evaluation: spread, agreement of volumes, overlap against size, and whether probabilities can be believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from segsuite.metrics.probability import Calibration, expected_calibration_error
from segsuite.reports.overlays import COLOURS
from segsuite.shapes import FloatArray

__all__ = ["agreement_of_volumes", "limits_of_agreement", "overlap_against_volume", "reliability", "spread"]

MOST_PANELS = 8
"""Structures with a panel each; those with the lowest Dice are shown."""
PANEL_INCHES = 2.7
FEWEST_FOR_A_SHAPE = 4
"""Values from which an outline of their distribution is drawn behind them."""


def spread(measurements: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """All values of each structure: their distribution, quartiles, and every case as a dot.

    Args:
        measurements: One row per case, structure, metric.
        metrics: One panel each.

    Returns:
        The figure; infinite distances are not drawn.
    """
    names = _structures(measurements)
    width = max(PANEL_INCHES, 0.45 * len(names) + 0.8)
    figure = Figure(figsize=(width * len(metrics), 3.1), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        rows = measurements[(measurements["metric"] == metric) & measurements["value"].map(math.isfinite)]
        groups = [rows[rows["label_name"] == name]["value"].to_numpy(dtype=float) for name in names]
        shaped = [n for n, group in enumerate(groups) if len(group) >= FEWEST_FOR_A_SHAPE and np.ptp(group) > 0]
        if shaped:
            bodies = axes.violinplot(
                [groups[n] for n in shaped], positions=[n + 1 for n in shaped], showextrema=False, widths=0.8
            )
            for n, body in zip(shaped, bodies["bodies"], strict=True):
                body.set(facecolor=COLOURS[n % len(COLOURS)], alpha=0.25)
        axes.boxplot(groups, tick_labels=names, widths=0.25, showfliers=False, medianprops={"color": "black"})
        for n, group in enumerate(groups, start=1):
            sideways = np.linspace(-0.09, 0.09, len(group))
            axes.plot(n + sideways, group, ".", color=COLOURS[(n - 1) % len(COLOURS)], markersize=4, alpha=0.7)
        unit = str(rows["unit"].iloc[0]) if len(rows) else "1"
        axes.set_title(metric if unit == "1" else f"{metric} ({unit})", fontsize=9)
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
        axes.grid(axis="y", alpha=0.3)
    return figure


def limits_of_agreement(
    predicted: Sequence[float] | FloatArray, reference: Sequence[float] | FloatArray
) -> tuple[float, float, float]:
    r"""Mean difference and the limits between which 95 % of the differences are expected.

    .. math:: \bar d \pm 1.96\, s_d

    Args:
        predicted: Volumes.
        reference: Volumes of the same cases.

    Returns:
        Mean, lower and upper limit; the limits are ``nan`` for fewer than two cases.

    Source: Bland and Altman, Lancet 1986, doi:10.1016/S0140-6736(86)90837-8.
    """
    apart = np.asarray(predicted, dtype=float) - np.asarray(reference, dtype=float)
    mean = float(apart.mean()) if len(apart) else math.nan
    if len(apart) < 2:
        return mean, math.nan, math.nan
    half = 1.96 * float(apart.std(ddof=1))
    return mean, mean - half, mean + half


def agreement_of_volumes(measurements: pd.DataFrame) -> Figure:
    """Bland-Altman plots of the volumes, one panel per structure.

    Args:
        measurements: One row per case, structure, metric.

    Returns:
        The figure: mean of both volumes to the right, predicted minus reference upwards.
    """
    wide = _wide(measurements, ("volume", "reference_volume"))

    def draw(axes: Any, name: str, colour: str) -> None:
        rows = wide.loc[wide.index.get_level_values("label_name") == name].dropna()
        predicted, reference = (rows[key].to_numpy(dtype=float) for key in ("volume", "reference_volume"))
        axes.plot((predicted + reference) / 2, predicted - reference, ".", color=colour, alpha=0.8)
        mean, low, high = limits_of_agreement(predicted, reference)
        for value, style in ((mean, "solid"), (low, "dashed"), (high, "dashed")):
            if math.isfinite(value):
                axes.axhline(value, color="black", linewidth=0.8, linestyle=style)
        axes.set_xlabel("mean volume (ml)", fontsize=8)

    return _panels(measurements, draw, "predicted - reference (ml)")


def overlap_against_volume(measurements: pd.DataFrame) -> Figure:
    """Dice against the reference's volume, one panel per structure: is it the small ones that fail?

    Args:
        measurements: One row per case, structure, metric.

    Returns:
        The figure.
    """
    wide = _wide(measurements, ("dice", "reference_volume"))

    def draw(axes: Any, name: str, colour: str) -> None:
        rows = wide.loc[wide.index.get_level_values("label_name") == name].dropna()
        axes.plot(rows["reference_volume"], rows["dice"], ".", color=colour, alpha=0.8)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("reference volume (ml)", fontsize=8)

    return _panels(measurements, draw, "Dice")


def reliability(bins: pd.DataFrame) -> Figure:
    """How often a structure is there, against the probability that was given, all cases pooled.

    Args:
        bins: Rows of ``calibration.csv``.

    Returns:
        The figure; on the diagonal, probabilities are frequencies.
    """
    figure = Figure(figsize=(4.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="dashed")
    for number, (name, rows) in enumerate(bins.groupby("label_name", sort=False)):
        pooled = rows.groupby("bin")[["n_voxels", "probability", "positives"]].sum()
        error = expected_calibration_error(Calibration(*(pooled[key].to_numpy(dtype=float) for key in pooled)))
        known = pooled[pooled["n_voxels"] > 0]
        axes.plot(
            known["probability"] / known["n_voxels"],
            known["positives"] / known["n_voxels"],
            marker="o",
            markersize=3,
            color=COLOURS[number % len(COLOURS)],
            label=f"{name} (error {error:.3f})",
        )
    axes.set_xlabel("probability", fontsize=8)
    axes.set_ylabel("share of voxels that are the structure", fontsize=8)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    return figure


def _panels(measurements: pd.DataFrame, draw: Callable[[Any, str, str], None], y_label: str) -> Figure:
    names = _structures(measurements)
    dice = measurements[measurements["metric"] == "dice"].groupby("label_name")["value"].mean()
    worst = set(dice.sort_values(na_position="last").index[:MOST_PANELS])
    shown = [(number, name) for number, name in enumerate(names) if name in worst]
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(PANEL_INCHES * columns, PANEL_INCHES * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(shown) :]:
        axes.set_axis_off()
    for axes, (number, name) in zip(grid.ravel(), shown, strict=False):
        draw(axes, name, COLOURS[number % len(COLOURS)])
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    for row in grid:
        row[0].set_ylabel(y_label, fontsize=8)
    return figure


def _wide(measurements: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    chosen = measurements[measurements["metric"].isin(metrics)]
    return chosen.pivot_table(index=["label_name", "case"], columns="metric", values="value", dropna=False)


def _structures(measurements: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(measurements["label_name"].astype(str)))
