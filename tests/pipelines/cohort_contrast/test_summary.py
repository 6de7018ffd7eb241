from __future__ import annotations

import importlib.machinery
import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.cohort_contrast.embedding import Spaces, coarse_pixels
from pipelines.cohort_contrast.subjects import Confounding
from pipelines.cohort_contrast.summary import (
    _in_the_plane,
    area_with_interval,
    group_facts,
    is_shared,
    probe_matrix,
    write_group_section,
)
from segsuite.reports.sections import read_sections
from tests.pipelines.cohort_contrast.conftest import two_groups

NONE = Confounding(0.0, {})


def spaces(n: int, seed: int) -> Spaces:
    """The common space knows the age, the salient one the kind and the group."""
    draw, scans = np.random.default_rng(seed), two_groups(n, sites=True)
    age = scans.attributes["age"][:, None] + 0.1 * draw.normal(size=(n, 1))
    kind = np.where(scans.attributes["kind"] == "a", 2.0, 1.0)[:, None] * scans.is_diseased[:, None]
    salient = np.c_[kind, draw.normal(size=n)] + 0.05 * draw.normal(size=(n, 2))
    pixels = coarse_pixels(torch.from_numpy(scans.images)).numpy()
    return Spaces(np.c_[age, draw.normal(size=n)], salient, 3 * kind * np.ones((1, 2)) + 0.01, pixels)


def test_areas_have_intervals_over_subjects() -> None:
    scores, groups = np.r_[np.arange(10), np.arange(5, 15)].astype(float), np.arange(20) >= 10
    area, low, high = area_with_interval(scores, groups, [str(i) for i in range(20)])
    assert 0 < low < area < high <= 1
    by_hand = np.mean([(b > a) + 0.5 * (b == a) for a in scores[:10] for b in scores[10:]])
    assert abs(area - by_hand) < 1e-12
    assert all(map(math.isnan, area_with_interval(scores, np.zeros(20), ["a"] * 20)))


def test_the_matrix_says_which_space_knows_what() -> None:
    here, there = two_groups(60, sites=True), two_groups(40, sites=True)
    assert is_shared(here, "age")
    assert not is_shared(here, "kind")
    matrix = probe_matrix(here, spaces(60, 0), there, spaces(40, 1), ["age", "kind"])
    scores = {name: {space: probe.score for space, probe in pair.items() if probe} for name, pair in matrix.items()}
    assert scores["age"]["common"] > 0.9 > 0.3 > scores["age"]["salient"]
    assert scores["kind"]["salient"] > 0.95 > 0.75 > scores["kind"]["common"]


def test_umap_is_drawn_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Umap:
        def __init__(self, **how: object) -> None:
            assert how["random_state"] == 3

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, :2]

    rows = np.random.default_rng(0).normal(size=(20, 4))
    monkeypatch.setitem(sys.modules, "umap", None)
    assert [method for method, _ in _in_the_plane(rows[:5], 3)] == ["PCA"]
    fake = types.ModuleType("umap")
    fake.UMAP = Umap
    fake.__spec__ = importlib.machinery.ModuleSpec("umap", None)
    monkeypatch.setitem(sys.modules, "umap", fake)
    planes = _in_the_plane(rows, 3)
    assert [(method, plane.shape) for method, plane in planes] == [(name, (20, 2)) for name in ("PCA", "t-SNE", "UMAP")]


@pytest.mark.slow
def test_facts_are_json_and_the_section_is_written(tmp_path: Path) -> None:
    here, there = two_groups(60, sites=True), two_groups(40, sites=True)
    matrix = probe_matrix(here, spaces(60, 0), there, spaces(40, 1), ["age", "kind"])
    facts = group_facts(here, spaces(60, 0), there, spaces(40, 1), matrix, NONE, seed=0) | {"effective_rows": 64}
    json.dumps(facts, allow_nan=False)
    assert facts["auc"] == 1.0
    assert facts["norm_ratio"] < 0.05
    assert facts["attributes"]["age"]["shared"]
    assert facts["total_deviation"] < 1.2
    write_group_section(tmp_path, here, there, spaces(40, 1), matrix, facts, seed=0)
    section = read_sections(tmp_path)[0]
    assert "not a diagnosis" in section["text"][0]
    assert [row[0] for row in section["tables"][1]["rows"]] == ["age", "kind"]
    assert section["tables"][1]["head"][4] == "from coarse pixels"
    assert len(section["figures"]) == 3


def test_without_held_out_scans_there_is_nothing_to_say_but_the_counts(tmp_path: Path) -> None:
    here = two_groups(20)
    nobody = here.part(np.zeros(20, dtype=bool))
    facts = group_facts(here, spaces(20, 0), nobody, None, {}, NONE, seed=0) | {"effective_rows": 64}
    assert "auc" not in facts
    write_group_section(tmp_path, here, nobody, None, {}, facts, seed=0)
    assert "give a fold" in read_sections(tmp_path)[0]["text"][-1]
