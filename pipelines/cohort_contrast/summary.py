"""What a training found out about two cohorts: facts for the model card, a matrix of probes, figures for the report."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import roc_curve, silhouette_score

from pipelines.cohort_contrast.embedding import Spaces
from pipelines.cohort_contrast.independence import kernel_mutual_information, standardised
from pipelines.cohort_contrast.scans import Scans
from pipelines.cohort_contrast.subjects import Confounding
from segsuite.metrics.probes import Probe, area_under_curve, probe_attribute, shared_variance, total_deviation
from segsuite.reports.sections import Table, write_section
from segsuite.reports.statistics import mean_with_interval
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = ["area_with_interval", "group_facts", "is_shared", "probe_matrix", "write_group_section"]

N_RESAMPLES = 500
MOST_PLOTTED = 2000
MOST_ATTRIBUTES = 6
LEAST_FOR_TSNE = 12
SPACES = ("common", "salient", "pixels")
Matrix = dict[str, dict[str, Probe | None]]
"""Attribute to space to what a probe found."""
GROUP_COLOURS = {"healthy": "#0072b2", "diseased": "#d55e00"}
MEANING = (
    "A deviation score for research: how far a scan lies from healthy ones of this data set, in what its diseased have in "
    "common. It is not a diagnosis."
)


def area_with_interval(
    scores: FloatArray, is_diseased: FloatArray, subjects: Sequence[str], *, seed: int = 0
) -> tuple[float, float, float]:
    """The area under the curve and its 95 % percentile interval from resampling subjects.

    Args:
        scores: (n,).
        is_diseased: (n,) booleans.
        subjects: Of the scans.
        seed: Of the resampling.

    Returns:
        Area, low, high; ``nan`` where a group is missing.
    """
    names = sorted(set(subjects))
    rows_of = {name: np.array([row for row, subject in enumerate(subjects) if subject == name]) for name in names}
    draw = keyed_generator(seed, "area")
    found = []
    for _ in range(N_RESAMPLES):
        rows = np.concatenate([rows_of[names[int(at)]] for at in draw.integers(len(names), size=len(names))])
        found.append(area_under_curve(np.asarray(scores)[rows], np.asarray(is_diseased)[rows]))
    kept = [value for value in found if not math.isnan(value)]
    low, high = np.quantile(kept, [0.025, 0.975]) if kept else (math.nan, math.nan)
    return area_under_curve(scores, is_diseased), float(low), float(high)


def is_shared(scans: Scans, name: str) -> bool:
    """Whether an attribute is known of some healthy scan: then it should be common, else salient.

    Args:
        scans: With attributes.
        name: Which.

    Returns:
        True for a common attribute.
    """
    values = np.asarray(scans.attributes[name])[~np.asarray(scans.is_diseased, dtype=bool)]
    return bool(np.any(~np.isnan(values) if values.dtype.kind == "f" else values != ""))


def probe_matrix(training: Scans, here: Spaces, test: Scans, there: Spaces, names: Sequence[str]) -> Matrix:
    """Every attribute probed in both spaces, and as a line to compare with in coarse pixels, on diseased scans only.

    Args:
        training: Scans that probes are fitted on.
        here: Their spaces.
        test: Scans that probes are scored on.
        there: Their spaces.
        names: Attributes.

    Returns:
        Attribute to ``common``, ``salient`` and ``pixels`` to the probe; ``None`` where too few scans know the attribute.

    Source: diseased scans only: the paper's protocol; pixels are our own.
    """
    rows, others = np.asarray(training.is_diseased, dtype=bool), np.asarray(test.is_diseased, dtype=bool)
    matrix: Matrix = {}
    for name in names:
        known = np.asarray(training.attributes[name])[rows]
        truth = np.asarray(test.attributes[name])[others] if name in test.attributes else np.full(int(others.sum()), np.nan)
        matrix[name] = {}
        for space in SPACES:
            try:
                matrix[name][space] = probe_attribute(getattr(here, space)[rows], known, getattr(there, space)[others], truth)
            except ValueError:
                matrix[name][space] = None
    return matrix


def group_facts(
    training: Scans,
    here: Spaces,
    test: Scans,
    there: Spaces | None,
    matrix: Matrix,
    confounding: Confounding,
    *,
    seed: int,
) -> dict[str, Any]:
    """Numbers about held-out subjects, as JSON values.

    Args:
        training: Training scans.
        here: Their spaces.
        test: Held-out scans; may be none.
        there: Their spaces.
        matrix: From ``probe_matrix``.
        confounding: Of site and group.
        seed: Of resampling.

    Returns:
        Area under the curve with its interval, norm ratio, silhouette, dependence of the spaces, group and site from both,
        and the matrix of attributes; ``None`` where it cannot be told.
    """
    facts: dict[str, Any] = {
        "n_training": len(training),
        "n_held_out": len(test),
        "site_group_cramers_v": round(confounding.cramers_v, 3),
        "site_flagged": confounding.is_too_much,
    }
    if there is None:
        return facts
    diseased = np.asarray(test.is_diseased, dtype=bool)
    area, low, high = area_with_interval(there.score, diseased, test.subjects, seed=seed)
    facts |= {"auc": _rounded(area), "auc_low": _rounded(low), "auc_high": _rounded(high)}
    if diseased.any() and not diseased.all():
        facts["norm_ratio"] = _rounded(float(there.score[~diseased].mean() / max(there.score[diseased].mean(), 1e-9)))
        facts["silhouette"] = _rounded(float(silhouette_score(there.salient, diseased))) if len(test) > 3 else None
    rows = [torch.from_numpy(standardised(space[diseased])) for space in (there.common, there.salient)]
    facts["kernel_mutual_information"] = _rounded(float(kernel_mutual_information(*rows))) if len(rows[0]) > 2 else None
    y = np.asarray(training.is_diseased, dtype=bool)
    facts["salient_from_common_r2"] = _rounded(
        shared_variance((here.common[y], here.salient[y]), (there.common[diseased], there.salient[diseased]))
    )
    for space in ("common", "salient"):
        facts[f"group_from_{space}"] = _score_of(
            getattr(here, space), y.astype(float), getattr(there, space), diseased.astype(float)
        )
        if len(set(training.sites)) > 1:
            sites = np.array(training.sites), np.array(test.sites)
            facts[f"site_from_{space}"] = _score_of(getattr(here, space), sites[0], getattr(there, space), sites[1])
    facts["attributes"] = {
        name: {space: None if probe is None else round(probe.score, 3) for space, probe in pair.items()}
        | {"shared": is_shared(training, name)}
        for name, pair in matrix.items()
    }
    facts["total_deviation"] = _total(training, matrix)
    return facts


def write_group_section(
    run: Path, training: Scans, test: Scans, there: Spaces | None, matrix: Matrix, facts: Mapping[str, Any], *, seed: int
) -> None:
    """The cohort's part of the report page.

    Args:
        run: The run folder.
        training: Training scans.
        test: Held-out scans.
        there: Their spaces; ``None`` where nothing is held out.
        matrix: From ``probe_matrix``.
        facts: From ``group_facts``.
        seed: Of embeddings in the plane.
    """
    flag = ": CONFOUNDED, read every number as one about sites" if facts["site_flagged"] else ""
    counts = f"{facts['n_training']} scans for training, {facts['n_held_out']} held out, {facts['effective_rows']} rows per loss."
    text = [MEANING, f"{counts} Cramer's V of site and group {facts['site_group_cramers_v']}{flag}."]
    if there is None:
        write_section(run, "cohort", title="Cohort contrast", text=[*text, "Nothing was held out: give a fold for scores."])
        return
    table = Table(
        ("attribute", "should be in", "from common", "from salient", "from coarse pixels", "chance"),
        [_matrix_row(name, is_shared(training, name), pair, test) for name, pair in matrix.items()],
    )
    lines = Table(
        ("held-out subjects", "value"),
        [(label, str(facts[key])) for key, label in _FACT_LABELS.items() if facts.get(key) is not None],
    )
    figures = [
        ("Receiver operating curve and scores of held-out scans.", _curve(there.score, np.asarray(test.is_diseased, dtype=bool))),
        ("Both spaces in the plane (illustrative only), by group and site.", _planes(there, test, seed)),
    ]
    if shown := list(matrix)[:MOST_ATTRIBUTES]:
        figures.append(
            ("The diseased in the plane (PCA, illustrative only), by attribute.", _attributes(there, test, shown, seed))
        )
    write_section(run, "cohort", title="Cohort contrast", text=text, tables=[lines, table], figures=figures)


_FACT_LABELS = {
    "auc": "area under the curve of the salient score",
    "auc_low": "its 95 % interval from",
    "auc_high": "to",
    "norm_ratio": "mean score of healthy over diseased",
    "silhouette": "silhouette of the groups in the salient space",
    "group_from_common": "group from the common space (balanced accuracy)",
    "group_from_salient": "group from the salient space (balanced accuracy)",
    "site_from_common": "site from the common space (balanced accuracy)",
    "site_from_salient": "site from the salient space (balanced accuracy)",
    "salient_from_common_r2": "salient space predicted from the common one (R2)",
    "kernel_mutual_information": "kernel mutual information of both spaces",
    "total_deviation": "total deviation of the probes from a perfect separation",
}


def _matrix_row(name: str, shared: bool, pair: Mapping[str, Probe | None], test: Scans) -> tuple[str, ...]:
    cells = []
    for space in SPACES:
        probe = pair[space]
        if probe is None:
            cells.append("too few")
            continue
        subjects = [s for s, d in zip(test.subjects, test.is_diseased, strict=True) if d]
        interval = mean_with_interval(list(probe.correct), [subjects[int(row)] for row in probe.rows])
        spread = f" [{interval.low:.2f}, {interval.high:.2f}]" if probe.kind == "classes" else ""
        cells.append(f"{probe.score:.3f}{spread} {'balanced accuracy' if probe.kind == 'classes' else 'R2'}")
    known = pair["common"] or pair["salient"]
    return name, "common" if shared else "salient", *cells, "" if known is None else f"{known.chance:.3f}"


def _total(training: Scans, matrix: Mapping[str, Mapping[str, Probe | None]]) -> float | None:
    right, wrong = [], []
    for name, pair in matrix.items():
        common, salient = pair["common"], pair["salient"]
        if common is None or salient is None:
            continue
        shared = is_shared(training, name)
        right.append(common if shared else salient)
        wrong.append(salient if shared else common)
    return round(total_deviation(right, wrong), 3) if right else None


def _score_of(here: FloatArray, known: Any, there: FloatArray, truth: Any) -> float | None:
    try:
        return round(probe_attribute(here, known, there, truth).score, 3)
    except ValueError:
        return None


def _curve(scores: FloatArray, diseased: FloatArray) -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    if diseased.any() and not diseased.all():
        false, true, _ = roc_curve(diseased, scores)
        left.plot(false, true, color="#0072b2")
    left.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    left.set_xlabel("healthy above threshold")
    left.set_ylabel("diseased above threshold")
    bins = np.linspace(0, max(float(scores.max()), 1e-6), 30)
    for name, keep in (("healthy", ~diseased), ("diseased", diseased)):
        right.hist(scores[keep], bins=bins, alpha=0.6, label=name, color=GROUP_COLOURS[name])
    right.set_xlabel("salient score")
    right.legend(frameon=False, fontsize=8)
    return figure


def _planes(there: Spaces, test: Scans, seed: int) -> Figure:
    kinds: list[tuple[str, Any]] = [("group", np.where(test.is_diseased, "diseased", "healthy"))]
    kinds += [("site", np.array(test.sites))] if len(set(test.sites)) > 1 else []
    planes = {space: _in_the_plane(getattr(there, space)[:MOST_PLOTTED], seed) for space in ("common", "salient")}
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    axes = figure.subplots(2, len(planes["common"]) * len(kinds), squeeze=False)
    for row, (space, found) in enumerate(planes.items()):
        for axis, (kind, (method, plane)) in zip(axes[row], itertools.product(kinds, found), strict=True):
            for value in sorted(set(kind[1][: len(plane)].tolist())):
                keep = kind[1][: len(plane)] == value
                colour = GROUP_COLOURS.get(str(value))
                axis.scatter(plane[keep, 0], plane[keep, 1], s=8, label=str(value), color=colour)
            axis.set_title(f"{space}, {method}, by {kind[0]}", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.legend(frameon=False, fontsize=6)
    return figure


def _attributes(there: Spaces, test: Scans, names: Sequence[str], seed: int) -> Figure:
    diseased = np.asarray(test.is_diseased, dtype=bool)
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False)
    for row, space in zip(axes, ("common", "salient"), strict=True):
        rows = getattr(there, space)[diseased][:MOST_PLOTTED]
        plane = PCA(2, random_state=seed).fit_transform(rows) if len(rows) > 2 else np.zeros((len(rows), 2))
        for axis, name in zip(row, names, strict=True):
            values = np.asarray(test.attributes[name])[diseased][:MOST_PLOTTED]
            _coloured(axis, plane, values)
            axis.set_title(f"{space}, by {name}", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
    return figure


def _coloured(axis: Any, plane: FloatArray, values: Any) -> None:
    """Numbers by a colour scale, words by a colour each; unknown ones are left out."""
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        axis.scatter(plane[known, 0], plane[known, 1], s=8, c=values[known], cmap="viridis")
        return
    for value in sorted(set(values[values != ""].tolist())):
        axis.scatter(plane[values == value, 0], plane[values == value, 1], s=8, label=str(value))
    axis.legend(frameon=False, fontsize=5)


def _in_the_plane(rows: FloatArray, seed: int) -> list[tuple[str, FloatArray]]:
    """Method and (n, 2): PCA, t-SNE of enough rows, and UMAP where it is installed."""
    planes = [("PCA", PCA(2, random_state=seed).fit_transform(rows))]
    if len(rows) < LEAST_FOR_TSNE:
        return planes
    perplexity = max(2.0, min(30.0, len(rows) / 5))
    planes.append(("t-SNE", TSNE(2, perplexity=perplexity, random_state=seed, init="pca").fit_transform(rows)))
    if importlib.util.find_spec("umap") is not None:
        planes.append(("UMAP", importlib.import_module("umap").UMAP(random_state=seed, n_jobs=1).fit_transform(rows)))
    return planes


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
