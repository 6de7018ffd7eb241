"""Whose scan a case is, as far as folders tell: the scans of one patient must not be trained on and scored at once."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from segsuite.data.importing.found import ImportFinding
from segsuite.data.importing.words import is_session_word, is_split_word, read_name
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError

__all__ = ["patients_by_folder", "with_patient_pattern"]

GROUP_WORDS = re.compile(
    r"(site|cent(er|re)|hospital|clinic|cohort|group|class|scanner|vendor|healthy|controls?|diseased|benign|malignant|normal)s?([_-]?\w{1,2})?",
    re.IGNORECASE,
)

STEMS_PER_FOLDER = 3
"""Names that are that many times as many as folders, most of them in several, are the patients; folders are raters or sites."""


def patients_by_folder(images: Mapping[str, str]) -> tuple[dict[str, str], list[ImportFinding]]:
    """Patients of a folder without a rule of naming: the folders that hold several scans.

    Folders of sessions (``ses-1``, ``2021``, ``baseline``), modalities, sites and parts (``train``) are no patients. Where no
    folder tells, scans of one name in several of them (``CT/p1``, ``MR/p1``) are one patient's.

    Args:
        images: Case id to the relative path of its (first) image.

    Returns:
        Case id to patient, for the cases that something is known of, and what to tell.
    """
    keys = {case_id: _patient_folders(read_name(path).folders) for case_id, path in images.items()}
    sizes = Counter(keys.values())
    stems = Counter(read_name(path).bare for path in images.values())
    by_name = len(stems) >= STEMS_PER_FOLDER * len(sizes) and 2 * sum(n > 1 for n in stems.values()) > len(stems)
    if not by_name and len(sizes) > 1 and max(size for key, size in sizes.items() if key) > 1:
        found = {case_id: "/".join(key) for case_id, key in keys.items() if key}
        patients = sorted(set(found.values()))
        message = f"Scans of one folder are taken as one patient's: {len(found)} scans. Another rule: --patient-pattern."
        return found, [ImportFinding("note", "patients by folder", tuple(patients), message)]
    found = {case_id: read_name(path).bare for case_id, path in images.items() if stems[read_name(path).bare] > 1}
    found = {case_id: stem for case_id, stem in found.items() if stem and (by_name or not keys[case_id])}
    if not found:
        return {}, _perhaps_one_patient(images, found)
    message = "Scans of one name in several folders are taken as one patient's. Another rule: --patient-pattern."
    note = ImportFinding("note", "patients by name", tuple(sorted(set(found.values()))), message)
    return found, [note, *_perhaps_one_patient(images, found)]


def _perhaps_one_patient(images: Mapping[str, str], patients: Mapping[str, str]) -> list[ImportFinding]:
    """Scans whose names differ in a time only (``p1_pre``, ``p1_post``): whose they are is for a person to say."""
    visits: dict[str, list[str]] = defaultdict(list)
    for case_id, path in images.items():
        words = [word for word in re.split(r"[_\-. ]+", read_name(path).bare) if word]
        bare = [word for word in words if not is_session_word(word)]
        if bare and len(bare) < len(words):
            visits["_".join(bare)].append(case_id)
    shared = tuple(case_id for cases in visits.values() if _are_several(cases, patients) for case_id in cases)
    message = (
        "Their names differ in a time or a series only, and they count as different patients. One patient's? --patient-pattern."
    )
    return [ImportFinding("note", "perhaps scans of one patient", shared, message)] if shared else []


def _are_several(cases: Sequence[str], patients: Mapping[str, str]) -> bool:
    return len({patients.get(case_id, case_id) for case_id in cases}) > 1


def _patient_folders(folders: tuple[str, ...]) -> tuple[str, ...]:
    kept = [part for part in folders if not is_split_word(part)]
    while kept and is_session_word(kept[-1]):
        kept.pop()
    return tuple(kept) if any(not GROUP_WORDS.fullmatch(part) for part in kept) else ()


def with_patient_pattern(manifest: Manifest, pattern: str) -> Manifest:
    """Patients by the user's rule.

    Args:
        manifest: The cases.
        pattern: Regular expression with one group, searched in the relative path of a case's first image, then, where that has
            no match, in its case id.

    Returns:
        The same cases with their patients.

    Raises:
        ManifestError: No regular expression, or a case that it does not match.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ManifestError(f"The patient pattern must be a regular expression, got `{pattern}`: {error}.") from error

    def with_patient(case: Case) -> Case:
        match = expression.search(case.images[0]) or expression.search(case.case_id)
        if not match or not match.groups() or not match.group(1):
            raise ManifestError(
                f"The patient pattern must match every case with one (group), got `{pattern}` for {case.images[0]} "
                f"(case {case.case_id})."
            )
        return case.model_copy(update={"patient_id": match.group(1)})

    rows = {part: [with_patient(case) for case in getattr(manifest, part)] for part in ("training", "test")}
    return manifest.model_copy(update=rows)
