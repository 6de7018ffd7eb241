"""Folds by patient, stratified by what the labels contain, by site and by group, deterministic by seed; or a fold per site."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from segsuite.data.manifest import Case
from segsuite.errors import ManifestError
from segsuite.seeding import keyed_seed

__all__ = ["fold_table", "split_by_patient", "split_by_site"]


def split_by_patient(
    cases: Sequence[Case], *, n_folds: int, seed: int, labels_present: Mapping[str, tuple[int, ...]]
) -> list[Case]:
    """Assign a fold to every case so that no patient is in two folds and every fold looks like the whole.

    Patients are grouped into strata (labels present, site, group); from the rarest stratum on, each patient goes to
    the fold that has fewest of the stratum, then fewest cases; within a stratum the order is drawn by the seed.

    Args:
        cases: The training rows.
        n_folds: Number of folds, at least 2.
        seed: Seed of the draw.
        labels_present: For each case id, the labels that its mask contains; ids may be missing (not looked at).

    Returns:
        The same rows in the same order, with ``fold`` set.

    Raises:
        ManifestError: Fewer patients than folds.
    """
    patients: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        patients[case.patient_id].append(case)
    if n_folds < 2 or len(patients) < n_folds:
        raise ManifestError(
            f"Folds must be at least 2 and at most the number of patients, got {n_folds} folds for {len(patients)} "
            "patients. Choose fewer folds, or check `patient_id`."
        )
    strata: dict[str, list[str]] = defaultdict(list)
    for patient, rows in patients.items():
        present = sorted({label for row in rows for label in labels_present.get(row.case_id, ())})
        sites = sorted({f"{row.site}/{row.group}" for row in rows})
        strata[f"{present}{sites}"].append(patient)
    fold_of: dict[str, int] = {}
    n_cases = Counter(dict.fromkeys(range(n_folds), 0))
    for stratum in sorted(strata, key=lambda name: (len(strata[name]), name)):
        n_here = Counter(dict.fromkeys(range(n_folds), 0))
        for patient in sorted(strata[stratum], key=lambda name: keyed_seed(seed, "split", name)):
            fold = min(range(n_folds), key=lambda number: (n_here[number], n_cases[number], number))
            fold_of[patient] = fold
            n_here[fold] += 1
            n_cases[fold] += len(patients[patient])
    return [case.model_copy(update={"fold": fold_of[case.patient_id]}) for case in cases]


def split_by_site(cases: Sequence[Case]) -> list[Case]:
    """Make every site a fold, so that each fold asks how a model does where it was not trained (leave one site out).

    Args:
        cases: The training rows.

    Returns:
        The same rows in the same order, with ``fold`` set: the place of the site among the sorted ones.

    Raises:
        ManifestError: A case without a site, a single site, or a patient of two sites.
    """
    unknown = [case.case_id for case in cases if not case.site]
    if unknown:
        raise ManifestError(f"Every case must have a `site`, got {len(unknown)} without, first {unknown[0]}.")
    sites_of: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        sites_of[case.patient_id].add(str(case.site))
    if wanderers := sorted(patient for patient, sites in sites_of.items() if len(sites) > 1):
        raise ManifestError(
            f"Every patient must be of one site, got {wanderers[0]} of {sorted(sites_of[wanderers[0]])}. "
            "Leave their cases out, or split by patient."
        )
    sites = sorted({str(case.site) for case in cases})
    if len(sites) < 2:
        raise ManifestError(f"Folds by site must have at least two sites, got {sites}. Split by patient.")
    return [case.model_copy(update={"fold": sites.index(str(case.site))}) for case in cases]


def fold_table(cases: Sequence[Case], labels_present: Mapping[str, tuple[int, ...]]) -> list[dict[str, int]]:
    """Per fold: number of cases, patients, and cases with each label; to show that a split is balanced.

    Args:
        cases: Rows with folds.
        labels_present: As in ``split_by_patient``.

    Returns:
        One row per fold: ``fold``, ``cases``, ``patients``, ``label_<n>``.
    """
    labels = sorted({label for present in labels_present.values() for label in present})
    table = []
    for fold in sorted({case.fold for case in cases if case.fold is not None}):
        rows = [case for case in cases if case.fold == fold]
        counts = {f"label_{n}": sum(n in labels_present.get(row.case_id, ()) for row in rows) for n in labels}
        table.append({"fold": fold, "cases": len(rows), "patients": len({row.patient_id for row in rows}), **counts})
    return table
