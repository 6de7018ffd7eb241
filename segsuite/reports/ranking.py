"""Which of several models is best, and would other patients have said the same?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from segsuite.errors import ManifestError
from segsuite.metrics.per_case import HIGHER_IS_BETTER
from segsuite.reports.statistics import patient_weights
from segsuite.shapes import FloatArray

__all__ = ["Ranked", "rank_evaluations", "shared_values"]


@dataclass(frozen=True)
class Ranked:
    """The place of one evaluation.

    Attributes:
        name: Of the evaluation.
        mean: Mean over structures of the means over cases.
        rank: 1 is best; equal means share the better rank.
        shares: Share of the resampled cohorts in which it took each rank, from the first on.
        tau: Mean Kendall correlation between the whole ranking and the resampled ones; the same for all, 1 is stable.
    """

    name: str
    mean: float
    rank: int
    shares: tuple[float, ...]
    tau: float


def rank_evaluations(
    tables: Sequence[tuple[pd.DataFrame, pd.DataFrame]], *, metric: str, names: Sequence[str], seed: int = 0
) -> list[Ranked]:
    """Rank by the mean over structures, and again on resampled patients.

    Args:
        tables: Measurements and cases of each evaluation.
        metric: For example ``dice`` or ``hd95``.
        names: What to call them.
        seed: Of the bootstrap.

    Returns:
        Best first.

    Raises:
        ManifestError: Nothing in common.

    Source: aggregate, then rank: Wiesenfarth et al., Sci. Rep. 2021, doi:10.1038/s41598-021-82017-6 (challengeR).
    """
    values = shared_values(tables, metric=metric)
    if values.empty:
        raise ManifestError(f"The evaluations must share cases, structures and the metric `{metric}`, got none in common.")
    patients = sorted(set(values["patient_id"]))
    sums, counts = _per_structure_and_patient(values, patients, len(tables))
    sign = -1.0 if metric.startswith(HIGHER_IS_BETTER) else 1.0
    means = _means(sums, counts, np.ones((1, len(patients))))[0]
    ranks = _ranks(sign * means)
    if len(patients) > 1:
        drawn = np.concatenate([_ranks(sign * _means(sums, counts, part)) for part in patient_weights(len(patients), seed)])
        taus = [stats.kendalltau(ranks, row).statistic for row in drawn]
        tau = float(np.mean([0.0 if math.isnan(value) else value for value in taus]))
    else:
        drawn, tau = ranks[None], math.nan
    shares = [[float((drawn[:, number] == place).mean()) for place in range(1, len(tables) + 1)] for number in range(len(tables))]
    found = [
        Ranked(name, float(mean), int(rank), tuple(share), tau)
        for name, mean, rank, share in zip(names, means, ranks, shares, strict=True)
    ]
    return sorted(found, key=lambda ranked: ranked.rank)


def shared_values(tables: Sequence[tuple[pd.DataFrame, pd.DataFrame]], *, metric: str) -> pd.DataFrame:
    """The values of every case and structure that all evaluations expected.

    A miss is the image's diagonal; where only some predictions are rightly empty, those are perfect; where all are, the case
    is left out, and so is a case whose reference one of them could not read.

    Args:
        tables: Measurements and cases of each evaluation.
        metric: Name.

    Returns:
        Columns ``label_name``, ``case``, ``patient_id``, ``0``, ``1``, ... one per evaluation.
    """
    diagonals = dict(zip(tables[0][1]["case"], tables[0][1]["diagonal_mm"], strict=True))
    merged: pd.DataFrame | None = None
    for number, (measurements, _) in enumerate(tables):
        known = (measurements["metric"] == metric) & (measurements["status"] != "no reference")
        chosen = measurements[known][["label_name", "case", "patient_id", "value"]]
        chosen = chosen.rename(columns={"value": str(number)})
        merged = chosen if merged is None else merged.merge(chosen.drop(columns="patient_id"), on=["label_name", "case"])
    assert merged is not None  # noqa: S101 - there is at least one table
    columns = [str(number) for number in range(len(tables))]
    merged = merged[~merged[columns].isna().all(axis=1)].copy()
    perfect = 1.0 if metric.startswith(HIGHER_IS_BETTER) else 0.0
    costs = merged["case"].map(diagonals)
    for column in columns:
        merged[column] = merged[column].fillna(perfect).where(~np.isinf(merged[column]), costs)
    return merged


def _per_structure_and_patient(values: pd.DataFrame, patients: list[str], n_models: int) -> tuple[FloatArray, FloatArray]:
    """Sums (structures, patients, models) and counts (structures, patients, 1)."""
    structures = list(dict.fromkeys(values["label_name"]))
    sums, counts = np.zeros((len(structures), len(patients), n_models)), np.zeros((len(structures), len(patients), 1))
    place = {patient: number for number, patient in enumerate(patients)}
    of_patient = values["patient_id"].map(place).to_numpy()
    of_structure = values["label_name"].map({name: number for number, name in enumerate(structures)}).to_numpy()
    np.add.at(sums, (of_structure, of_patient), values[[str(n) for n in range(n_models)]].to_numpy())
    np.add.at(counts, (of_structure, of_patient), 1.0)
    return sums, counts


def _means(sums: FloatArray, counts: FloatArray, weights: FloatArray) -> FloatArray:
    """Means over structures (resamples, models); a structure that no drawn patient has is left out of that resample."""
    totals, numbers = np.einsum("rp,spm->rsm", weights, sums), np.einsum("rp,spm->rsm", weights, counts)
    per_structure = np.divide(totals, numbers, out=np.full_like(totals, np.nan), where=numbers > 0)
    means: FloatArray = np.nanmean(per_structure, axis=1)
    return means


def _ranks(costs: FloatArray) -> FloatArray:
    ranks: FloatArray = stats.rankdata(costs, method="min", axis=-1)
    return ranks
