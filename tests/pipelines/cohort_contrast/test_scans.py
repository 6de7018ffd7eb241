from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cohort_contrast.scans import MatchedBatches, ScanDataset, Scans, scan_loader
from segsuite.errors import ManifestError
from tests.pipelines.cohort_contrast.conftest import two_groups


def scans(groups: list[bool], subjects: list[str], sites: list[str]) -> Scans:
    return Scans(np.zeros((len(groups), 1, 2, 2), np.float32), np.array(groups), subjects, sites)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 9), st.integers(3, 9), st.integers(0, 5))
def test_batches_are_balanced_and_hold_a_subject_once(n_healthy: int, n_diseased: int, step: int) -> None:
    subjects = [f"h{i}" for i in range(n_healthy) for _ in range(2)] + [f"d{i}" for i in range(n_diseased) for _ in range(3)]
    groups = [name[0] == "d" for name in subjects]
    batches = MatchedBatches(
        scans(groups, subjects, [""] * len(groups)), batch_size=6, steps_per_epoch=2, seed=0, match_sites=False
    )
    rows = batches.rows(step)
    assert [groups[row] for row in rows] == [False] * 3 + [True] * 3
    assert len({subjects[row] for row in rows}) == 6


def test_sites_are_matched_where_asked_for() -> None:
    subjects = [f"s{i}" for i in range(40)]
    sites = ["A"] * 10 + ["B"] * 5 + ["only healthy"] * 5 + ["A"] * 5 + ["B"] * 15
    made = scans([i >= 20 for i in range(40)], subjects, sites)
    batches = MatchedBatches(made, batch_size=8, steps_per_epoch=1, seed=1, match_sites=True)
    for step in range(20):
        rows = batches.rows(step)
        healthy, diseased = (sorted(sites[row] for row in part) for part in (rows[:4], rows[4:]))
        assert healthy == diseased
    apart = scans([i >= 20 for i in range(40)], subjects, ["X"] * 20 + ["Y"] * 20)
    with pytest.raises(ManifestError, match=r"must find a site with both groups, got none among \['X', 'Y'\]"):
        MatchedBatches(apart, batch_size=4, steps_per_epoch=1, seed=0, match_sites=True)


def test_too_few_subjects_are_named() -> None:
    made = scans([False, False, True, True], ["a", "b", "c", "c"], [""] * 4)
    with pytest.raises(ManifestError, match="at least two healthy and two diseased subjects, got 2 and 1"):
        MatchedBatches(made, batch_size=4, steps_per_epoch=1, seed=0, match_sites=False)


def test_an_epoch_is_the_same_whenever_it_is_drawn() -> None:
    made = two_groups()
    batches = MatchedBatches(made, batch_size=4, steps_per_epoch=3, seed=0, match_sites=False)
    loader = scan_loader(ScanDataset(made, np.full((12, 1), np.nan)), batches, workers=0)
    batches.set_epoch(1)
    first = [batch["step"].item() for batch in loader]
    again = list(loader)
    assert first == [3, 4, 5]
    assert [batch["step"].item() for batch in again] == first
    assert again[0]["image"].shape == (4, 1, 16, 16)
    assert again[0]["is_diseased"].tolist() == [False, False, True, True]
    assert again[0]["attributes"].isnan().all()
    batches.go_on_at(2, 2)
    assert [batch["step"].item() for batch in loader] == [8]


def test_parts_keep_rows_together() -> None:
    made = two_groups(sites=True)
    part = made.part(made.is_diseased)
    assert len(part) == 6
    assert part.names == [f"c{row}" for row in range(6, 12)]
    assert part.attributes["age"].tolist() == list(range(6, 12))
    torch.testing.assert_close(part.batch([0]), made.batch([6]))
    lazy = Scans(list(made.images), made.is_diseased, made.subjects)
    torch.testing.assert_close(lazy.batch([3, 1]), made.batch([3, 1]))
    assert len(lazy.part(made.is_diseased).images) == 6
