"""Look into every case of a manifest and report all that is wrong, with what to do; the gate before training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from segsuite.data.locate import image_paths, label_path
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError
from segsuite.failures import Step, reason_of
from segsuite.volumes.grid import Grid
from segsuite.volumes.labels import labels_present
from segsuite.volumes.orders import order_onto
from segsuite.volumes.reading import read_channels, read_labels
from segsuite.volumes.volume import Volume, require_varied
from segsuite.volumes.voxel_hash import voxel_hash

__all__ = ["CaseFacts", "Finding", "check_case", "check_manifest", "labels_per_case", "require_declared", "require_unleaked"]

PLAUSIBLE_SPACING_MM = (0.05, 20.0)
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        severity: ``error`` stops a training, ``warning`` does not.
        kind: What sort of finding, one word or two, for counting.
        case: Case id, or ids.
        message: What came, what was expected, what to do.
    """

    severity: Literal["error", "warning"]
    kind: str
    case: str
    message: str


@dataclass
class CaseFacts:
    """What the look into one case brought."""

    case: Case
    findings: list[Finding] = field(default_factory=list)
    image_hash: str | None = None
    labels_present: tuple[int, ...] = ()
    grid: Grid | None = None


def check_manifest(
    manifest: Manifest, data_root: Path, *, workers: int = 1, on_case: Callable[[str], None] | None = None
) -> tuple[list[Finding], list[CaseFacts]]:
    """Check all cases and the manifest as a whole; never stops at the first finding.

    Args:
        manifest: What to check.
        data_root: Where paths start.
        workers: Threads.
        on_case: Called with each case id when its look is done.

    Returns:
        All findings, errors first, and the facts per case. Facts are a few numbers per case: memory stays flat.
    """

    def look(case: Case) -> CaseFacts:
        facts = check_case(case, manifest, data_root)
        if on_case is not None:
            on_case(case.case_id)
        return facts

    with ThreadPoolExecutor(max(1, workers)) as pool:
        facts = list(pool.map(look, manifest.cases))
    findings = [finding for item in facts for finding in item.findings]
    findings += _duplicates(facts) + _shared_masks(facts) + _leaks(manifest, facts) + _never_seen(manifest, facts)
    return sorted(findings, key=lambda finding: (finding.severity, finding.kind, finding.case)), facts


def check_case(case: Case, manifest: Manifest, data_root: Path) -> CaseFacts:
    """Everything that can be wrong within one case.

    Args:
        case: The row.
        manifest: Declares channels and labels.
        data_root: Where paths start.

    Returns:
        Findings and facts.
    """
    facts = CaseFacts(case)
    volume = _attempt(facts, "image", lambda: read_channels(image_paths(case, data_root), n_channels=manifest.n_channels))
    if volume is not None:
        facts.image_hash = voxel_hash(volume)
        facts.grid = volume.grid
        facts.findings += _header_notes(case, volume)
        _attempt(facts, "intensities", lambda: require_varied(volume, case=case.case_id))
        low, high = PLAUSIBLE_SPACING_MM
        if min(volume.spacing_mm) < low or max(volume.spacing_mm) > high:
            spacing = tuple(round(mm, 4) for mm in volume.spacing_mm)
            message = f"{volume.path}: spacing {spacing} mm is outside {low} to {high} mm. Is the header in mm?"
            facts.findings.append(Finding("warning", "spacing", case.case_id, message))
    if case.label is not None:
        labels = _attempt(facts, "label file", lambda: read_labels(label_path(case, data_root), mapping=manifest.label_mapping))
        if labels is not None:
            facts.findings += _header_notes(case, labels)
            _check_labels(facts, labels, volume, manifest)
    return facts


def require_declared(labels: Volume, manifest: Manifest, *, case: Case) -> None:
    """Check that a label map holds only declared integers.

    Args:
        labels: One channel of integers, mapping already applied.
        manifest: Declares them.
        case: For the message.

    Raises:
        ManifestError: Values that are not declared; the message has a mapping to paste.
    """
    declared = {*manifest.labels.values(), *([] if manifest.ignore_label is None else [manifest.ignore_label])}
    found = labels_present(labels.array)
    unknown = [value for value in found if value not in declared]
    if unknown:
        free = [value for value in sorted(manifest.structures) if value not in found] or [0]
        pairs = ", ".join(f'"{value}": {free[min(n, len(free) - 1)]}' for n, value in enumerate(unknown))
        raise ManifestError(
            f"case {case.case_id}: {labels.path} must hold only the declared labels {sorted(declared)}, got {found}. "
            f'If they mean known structures, paste into the manifest and adapt: "label_mapping": {{{pairs}}}'
        )


def require_unleaked(training: Sequence[Case], held_out: Sequence[Case]) -> None:
    """Check that no patient is on both sides of a split.

    Args:
        training: Cases to train on.
        held_out: Cases to judge by.

    Raises:
        ManifestError: A patient on both sides.
    """
    both = {case.patient_id for case in training} & {case.patient_id for case in held_out}
    if both:
        named = sorted(both)
        cases = [case.case_id for case in [*training, *held_out] if case.patient_id == named[0]]
        raise ManifestError(
            f"A patient must be on one side of a split only, got {len(both)} on both, for example patient {named[0]} "
            f"(cases {', '.join(cases)}). Split by patient: `segsuite manifest split M.json --folds 5`."
        )


def labels_per_case(
    manifest: Manifest, data_root: Path, *, workers: int = 1, on_case: Callable[[str], None] | None = None
) -> dict[str, tuple[int, ...]]:
    """The integers in each mask, mapping applied; no image is read.

    Args:
        manifest: Names the masks.
        data_root: Where paths start.
        workers: Threads.
        on_case: Called with each case id.

    Returns:
        Case id to sorted integers, for labelled cases.

    Raises:
        InputError: A mask that cannot be read.
        FileNotFoundError: A mask that is not there.
    """

    def look(case: Case) -> tuple[str, tuple[int, ...]]:
        labels = read_labels(label_path(case, data_root), mapping=manifest.label_mapping)
        if on_case is not None:
            on_case(case.case_id)
        return case.case_id, tuple(labels_present(labels.array))

    with ThreadPoolExecutor(max(1, workers)) as pool:
        return dict(pool.map(look, [case for case in manifest.cases if case.label]))


def _attempt(facts: CaseFacts, kind: str, action: Callable[[], Outcome]) -> Outcome | None:
    try:
        return action()
    except Exception as error:
        facts.findings.append(Finding("error", kind, facts.case.case_id, reason_of(error, Step.READING)))
        return None


def _header_notes(case: Case, volume: Volume) -> list[Finding]:
    """What the header leaves open: units that were converted, two placements that differ, sides that are not known."""
    return [Finding("warning", "header", case.case_id, f"{volume.path}: {note}") for note in volume.notes]


def _check_labels(facts: CaseFacts, labels: Volume, volume: Volume | None, manifest: Manifest) -> None:
    case = facts.case
    if volume is not None:
        names = (str(volume.path), str(labels.path))
        _attempt(facts, "grid", lambda: order_onto(labels.grid, volume.grid, names=names))
    _attempt(facts, "label values", lambda: require_declared(labels, manifest, case=case))
    present = [value for value in labels_present(labels.array) if value in manifest.structures]
    facts.labels_present = tuple(present)
    if not present:
        message = f"{labels.path}: no declared structure in it (all {labels.array.size} voxels background). Is it meant?"
        facts.findings.append(Finding("warning", "empty label", case.case_id, message))


def _shared_masks(facts: Sequence[CaseFacts]) -> list[Finding]:
    """One file as the mask of several patients: most often a row that was copied."""
    by_file: dict[str, list[Case]] = defaultdict(list)
    for item in facts:
        if item.case.label is not None:
            by_file[item.case.label].append(item.case)
    found = []
    for label, cases in by_file.items():
        if len({case.patient_id for case in cases}) > 1:
            message = f"{label} is the mask of {len(cases)} cases. Drawn on one of them? Correct the `label` of the others."
            found.append(Finding("warning", "one mask for several", ", ".join(case.case_id for case in cases), message))
    return found


def _duplicates(facts: Sequence[CaseFacts]) -> list[Finding]:
    by_hash: dict[str, list[Case]] = defaultdict(list)
    for item in facts:
        if item.image_hash is not None:
            by_hash[item.image_hash].append(item.case)
    findings = []
    for cases in by_hash.values():
        if len(cases) < 2:
            continue
        ids = ", ".join(case.case_id for case in cases)
        leaks = len({case.fold for case in cases}) > 1 or len({case.patient_id for case in cases}) > 1
        message = f"The same voxels under {len(cases)} case ids, whatever the files say. Keep one, or give them one patient_id."
        findings.append(Finding("error" if leaks else "warning", "same image twice", ids, message))
    return findings


def _leaks(manifest: Manifest, facts: Sequence[CaseFacts]) -> list[Finding]:
    test = {case.case_id for case in manifest.test}
    parts: dict[str, set[str]] = defaultdict(set)
    for item in facts:
        part = "test" if item.case.case_id in test else f"fold {item.case.fold}"
        parts[item.case.patient_id].add(part)
    return [
        Finding("error", "patient in two splits", patient, f"Patient {patient} is in {sorted(where)}. Split by patient.")
        for patient, where in sorted(parts.items())
        if len(where) > 1
    ]


def _never_seen(manifest: Manifest, facts: Sequence[CaseFacts]) -> list[Finding]:
    seen = Counter(label for item in facts for label in item.labels_present)
    return [
        Finding("warning", "label never seen", name, f"Label {value} ({name}) is declared but in no case.")
        for value, name in manifest.structures.items()
        if any(item.case.label for item in facts) and not seen[value]
    ]
