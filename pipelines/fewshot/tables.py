"""Tables of a benchmark: means over patients, classes of a whole set pooled, and what happens from session to session."""

from __future__ import annotations

import pandas as pd

from pipelines.fewshot.scores import GfssScores, gfss_scores, harmonic_mean, session_scores
from segsuite.reports.statistics import mean_with_interval

__all__ = ["as_markdown", "pooled_as_markdown", "sessions_as_markdown"]

DRAW = ["fold", "draw"]


def as_markdown(scores: pd.DataFrame) -> str:
    """One line per row and number of shots: means over structures, patients, draws, then folds; intervals over patients.

    Args:
        scores: From ``run_benchmark``.

    Returns:
        A table.
    """
    lines = ["| decided by | shots | novel Dice [95 %] | base Dice | harmonic mean |", "| --- | --- | --- | --- | --- |"]
    for (name, shots), part in _after_all(scores).groupby(["row", "shots"], sort=False):
        means = part.groupby(["kind", "fold", "patient"])["dice"].mean()
        interval = mean_with_interval(means["novel"].to_list(), list(means["novel"].index.get_level_values("patient")))
        new, old = float(means["novel"].mean()), float(means["base"].mean())
        both, spread = harmonic_mean(old, new), f"[{interval.low:.3f}, {interval.high:.3f}]"
        lines.append(f"| {name} | {shots} | {new:.3f} {spread} | {old:.3f} | {both:.3f} |")
    return "\n".join(lines)


def pooled_as_markdown(scores: pd.DataFrame) -> str:
    """The same with the intersection over union of all images together, as benchmarks of photographs have it.

    Args:
        scores: From ``run_benchmark``.

    Returns:
        A table; base without background.
    """
    lines = ["| decided by | shots | novel mIoU | base mIoU | mean | harmonic mean |", "| --- | --- | --- | --- | --- | --- |"]
    for (name, shots), part in _after_all(scores).groupby(["row", "shots"], sort=False):
        found = pd.DataFrame([vars(_pooled(rows)) for _, rows in part.groupby(DRAW)]).mean()
        both = harmonic_mean(float(found["base"]), float(found["novel"]))
        cells = " | ".join(f"{value:.3f}" for value in (found["novel"], found["base"], found["mean"], both))
        lines.append(f"| {name} | {shots} | {cells} |")
    return "\n".join(lines)


def sessions_as_markdown(scores: pd.DataFrame) -> str:
    """Classes that come one after the other (CIFSS), by the first row: after every session, averaged, and what was forgotten.

    Args:
        scores: From ``run_benchmark``.

    Returns:
        A table; empty where all folds have one new class.
    """
    part = scores[scores["row"] == scores["row"].iloc[0]]
    if part["session"].max() < 2:
        return ""
    lines = ["| fold | shots | session | novel Dice | base Dice | harmonic mean |", "| --- | --- | --- | --- | --- | --- |"]
    for (fold, shots), rows in part.groupby(["fold", "shots"], sort=False):
        base = sorted(set(rows.loc[rows["kind"] == "base", "structure"]))
        means = rows.groupby(["session", "structure"])["dice"].mean()
        sessions = [means.loc[number].to_dict() for number in sorted(set(rows["session"]))]
        first = {name: sessions[0][name] for name in base}  # registering changes no base class: it is as before the first session
        summary = session_scores([first, *sessions], base=base)
        for number, values in enumerate(sessions, start=1):
            one = gfss_scores(values, novel=[name for name in values if name not in base])
            lines.append(f"| {fold} | {shots} | {number} | {one.novel:.3f} | {one.base:.3f} | {one.harmonic:.3f} |")
        forgotten = max([0.0, *summary.forgetting.values()])
        averaged = summary.averaged
        lines.append(
            f"| {fold} | {shots} | averaged; most forgotten of a class {forgotten:.3f} | {averaged.novel:.3f} | "
            f"{averaged.base:.3f} | {averaged.harmonic:.3f} |"
        )
    return "\n".join(lines)


def _after_all(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["session"] == scores.groupby("fold")["session"].transform("max")]


def _pooled(rows: pd.DataFrame) -> GfssScores:
    sums = rows.groupby(["kind", "structure"])[["intersection", "union"]].sum()
    values = {
        name: float(row["intersection"] / row["union"]) if row["union"] else float("nan") for (_, name), row in sums.iterrows()
    }
    return gfss_scores(values, novel=sorted(set(rows.loc[rows["kind"] == "novel", "structure"])))
