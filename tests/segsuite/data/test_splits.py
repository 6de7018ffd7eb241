from __future__ import annotations

from collections import Counter

import pytest

from segsuite.data.manifest import Case
from segsuite.data.splits import fold_table, split_by_patient, split_by_site
from segsuite.errors import ManifestError


def cases(n_patients: int, scans: int = 1, site: str | None = None) -> list[Case]:
    return [
        Case(image=f"{site}{p}_{s}.nii", case_id=f"{site}{p}_{s}", patient_id=f"{site}{p}", site=site)
        for p in range(n_patients)
        for s in range(scans)
    ]


def test_no_patient_is_in_two_folds() -> None:
    split = split_by_patient(cases(11, scans=3), n_folds=4, seed=0, labels_present={})
    assert all(len({case.fold for case in split if case.patient_id == p}) == 1 for p in {c.patient_id for c in split})


def test_rare_labels_and_sites_are_spread() -> None:
    rows = [*cases(20, site="A"), *cases(10, site="B")]
    present = {case.case_id: (1, 2) if index % 6 == 0 else (1,) for index, case in enumerate(rows)}
    split = split_by_patient(rows, n_folds=5, seed=3, labels_present=present)
    for group in ([c for c in split if 2 in present[c.case_id]], [c for c in split if c.site == "B"], split):
        counts = Counter(case.fold for case in group)
        assert max(counts.values()) - min(counts[fold] for fold in range(5)) <= 2
    rare = Counter(case.fold for case in split if 2 in present[case.case_id])
    assert set(rare) == set(range(5))


def test_same_seed_same_folds_whatever_the_order() -> None:
    rows = cases(12)
    first = {c.case_id: c.fold for c in split_by_patient(rows, n_folds=3, seed=1, labels_present={})}
    second = {c.case_id: c.fold for c in split_by_patient(rows[::-1], n_folds=3, seed=1, labels_present={})}
    other = {c.case_id: c.fold for c in split_by_patient(rows, n_folds=3, seed=2, labels_present={})}
    assert first == second != other


def test_more_folds_than_patients() -> None:
    with pytest.raises(ManifestError, match="got 5 folds for 2 patients"):
        split_by_patient(cases(2, scans=4), n_folds=5, seed=0, labels_present={})


def test_table_counts_cases_patients_and_labels() -> None:
    split = split_by_patient(cases(4, scans=2), n_folds=2, seed=0, labels_present={})
    table = fold_table(split, {case.case_id: (1,) for case in split})
    assert table == [{"fold": f, "cases": 4, "patients": 2, "label_1": 4} for f in (0, 1)]


def test_every_site_is_a_fold() -> None:
    rows = [*cases(3, site="B"), *cases(2, scans=2, site="A")]
    split = split_by_site(rows)
    assert [case.case_id for case in split] == [case.case_id for case in rows]
    assert {(case.site, case.fold) for case in split} == {("A", 0), ("B", 1)}


def test_sites_that_cannot_be_folds() -> None:
    with pytest.raises(ManifestError, match="must have a `site`, got 2 without"):
        split_by_site([*cases(2), *cases(2, site="A")])
    with pytest.raises(ManifestError, match=r"at least two sites, got \['A'\]"):
        split_by_site(cases(2, site="A"))
    moved = [case.model_copy(update={"patient_id": "p"}) for case in (*cases(1, site="A"), *cases(1, site="B"))]
    with pytest.raises(ManifestError, match="must be of one site, got p of"):
        split_by_site(moved)
