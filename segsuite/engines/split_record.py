"""The cases that a run began with, by content: it never goes on with others, or a case that it learned from would judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case, read_manifest
from segsuite.documents import read_json
from segsuite.engines.processes import rank
from segsuite.errors import ManifestError, OutputError, few_of
from segsuite.files import hash_of_json, write_json
from segsuite.shipped import find_manifest, shipped_manifests

__all__ = [
    "held_out_images",
    "recorded_scans",
    "require_apart",
    "require_same_cases",
    "require_same_content",
    "require_same_manifest",
]

MOST_NAMED = 4
PARTS = ("training", "held_out", "unlabelled")
DECLARED = "declared"


def require_same_cases(record: Path, training: Sequence[Case], held_out: Sequence[Case]) -> None:
    """Check that a run goes on with the split it began with, by the names of the cases.

    Args:
        record: The run's ``split.json``; may be absent.
        training: Cases to train on now.
        held_out: Cases to judge by now.

    Raises:
        OutputError: Another split; the message names the cases.
    """
    before = _read(record)
    if not before:
        return
    now = {"training": {case.case_id for case in training}, "held_out": {case.case_id for case in held_out}}
    trained, judged = set(before["training"]), set(before["held_out"])
    known = trained | judged
    differences = {
        "trained on before and held out now": trained & now["held_out"],
        "held out before and trained on now": judged & now["training"],
        "not there any more": known - now["training"] - now["held_out"],
        "new": (now["training"] | now["held_out"]) - known,
    }
    _refuse(record, differences)


def require_same_content(
    record: Path, parts: Mapping[str, Sequence[PreparedCase]], *, declared: Mapping[str, Any] | None = None
) -> None:
    """Check that the cases still hold what they did when the run began; on its first start, write it down.

    Args:
        record: The run's ``split.json``.
        parts: ``training``, ``held_out`` or ``unlabelled`` to prepared cases.
        declared: What the manifest says that labels and channels mean; JSON values.

    Raises:
        OutputError: An image, a mask or what they mean has changed; the message names the cases.
    """
    before = _read(record)
    if declared and before.get(DECLARED, declared) != declared:
        raise OutputError(
            f"{record.parent} must go on with labels and channels that mean what they did, got {declared} where it began with "
            f"{before[DECLARED]}. Give another --out to train with these, or bring the manifest back as it was."
        )
    now: dict[str, dict[str, Any]] = {
        part: {item.case.case_id: {**item.content, "row": _row(item.case)} for item in items} for part, items in parts.items()
    }
    for kind, what in (("image", "image"), ("label", "mask"), ("row", "group, site or `labelled`")):
        changed = {
            name
            for part, contents in now.items()
            for name, content in contents.items()
            if before.get(part, {}).get(name, content).get(kind, content.get(kind)) != content.get(kind)
        }
        _refuse(record, {f"with another {what} than before": changed})
    now |= {DECLARED: dict(declared)} if declared else {}
    if rank() == 0 and not now.keys() <= before.keys():
        write_json(record, {**before, **now})


def require_apart(training: Sequence[PreparedCase], held_out: Sequence[PreparedCase]) -> None:
    """Check that no image is on both sides of a split under two names.

    Args:
        training: Cases to train on.
        held_out: Cases to judge by.

    Raises:
        ManifestError: One is.
    """
    seen = {item.content["image"]: item.case.case_id for item in training}
    for item in held_out:
        if twin := seen.get(item.content["image"]):
            raise ManifestError(
                f"An image must be on one side of a split only, got the same voxels as case {twin} (to train on) and case "
                f"{item.case.case_id} (held out). Leave one out, or give both one `patient_id` and split again."
            )


def require_same_manifest(record: Path, manifest: str | None, fold: int | None) -> None:
    """The same of a run that is over: what its model was trained on must not have become its test.

    Args:
        record: The run's ``split.json``.
        manifest: File or shipped name, as in the settings; one that is gone says nothing.
        fold: That the settings hold out.

    Raises:
        OutputError: Another split.
    """
    before = _read(record)
    if not before or manifest is None or not (Path(manifest).is_file() or manifest in shipped_manifests()):
        return
    known = {case for part in PARTS for case in before.get(part, {})}
    parts = read_manifest(find_manifest(manifest)).split(fold, labelled=False)
    training, held_out = ([case for case in part if case.label is not None or case.case_id in known] for part in parts)
    require_same_cases(record, [case for case in training if case.case_id not in before.get("unlabelled", {})], held_out)


def recorded_scans(record: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The images that the run learns from, with or without a mask.

    Args:
        record: The run's ``split.json``.

    Returns:
        Their hashes and their profiles; empty if there is no record.
    """
    before = _read(record)
    known = [content for part in ("training", "unlabelled") for content in before.get(part, {}).values()]
    return [content["image"] for content in known], [content["profile"] for content in known if "profile" in content]


def held_out_images(record: Path) -> set[str]:
    """Hashes of the images that the run is judged by.

    Args:
        record: The run's ``split.json``.

    Returns:
        One per held-out case; empty if there is no record.
    """
    return {content["image"] for content in _read(record).get("held_out", {}).values()}


def _row(case: Case) -> str:
    """What a case counts as."""
    return hash_of_json([case.group, case.site, case.labelled])


def _read(record: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_json(record, error=OutputError) if record.is_file() else {}
    return {part: found[part] for part in (*PARTS, DECLARED) if part in found}


def _refuse(record: Path, differences: Mapping[str, set[str]]) -> None:
    found = [f"{few_of(sorted(cases), most=MOST_NAMED)} {what}" for what, cases in differences.items() if cases]
    if found:
        raise OutputError(
            f"{record.parent} must go on with the cases that it began with, got {'; '.join(found)}. Give another --out to train "
            "on these, or bring the manifest's folds and files back as they were."
        )
