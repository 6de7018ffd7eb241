"""What an evaluation says of itself: how its numbers are defined, and which files of its folder are its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import segsuite
from segsuite.documents import read_json
from segsuite.errors import InputError, OutputError, VolumeError
from segsuite.files import hash_of_file, real_path, write_json
from segsuite.metrics.per_case import Scoring

__all__ = ["EVALUATION_FILES", "RECORD", "definition_of", "read_definition", "require_own", "sign", "write_record"]

RECORD = "evaluation.json"
FORMAT = 1
MARKS: dict[str, tuple[str, ...]] = {
    "metrics_per_case.csv": ("case,patient_id,label_index,label_name,metric,value,unit,status",),
    "cases.csv": ("case,patient_id,diagonal_mm,predicted,reference,image,reason",),
    "calibration.csv": ("case,label_name,bin,n_voxels,probability,positives",),
    "metrics_summary.json": ('{\n "n_expected":',),
    "summary.md": ("| structure | cases |",),
    "summary.tex": ("\\begin{tabular}{l",),
    "nnunet_summary.json": ('{\n "foreground_mean":',),
    "conventions.csv": ("case,structure,metric,convention,ours,theirs,reason",),
    RECORD: ('{\n "segsuite_evaluation":',),
}
"""How each file begins that an evaluation writes."""
EVALUATION_FILES = tuple(MARKS)
MISSING_RULE = "overlap 0, distance the image's diagonal; in neither mask: left out"
"""What a structure costs that is missed or invented: every evaluation of this version."""


def definition_of(scoring: Scoring) -> dict[str, Any]:
    """What two evaluations must share so that their numbers may be compared.

    Args:
        scoring: What is measured.

    Returns:
        Plain values; options of metrics that were not asked for are ``None``.
    """
    axis = scoring.body_axis if scoring.thirds or scoring.tube_labels else None
    return {
        "structures": sorted(scoring.structures.values()),
        "regions": sorted(f"{name} of {label}" for label, name in scoring.structures.items() if isinstance(label, str)) or None,
        "surface": scoring.surface,
        "tolerances_mm": sorted(scoring.tolerances_mm),
        "ignore_label": scoring.ignore_label,
        "least_iou": scoring.least_iou if scoring.instance_labels else None,
        "size_edges_ml": list(scoring.size_edges_ml) if scoring.instance_labels else None,
        "body_axis": axis,
        "missing": MISSING_RULE,
    }


def write_record(folder: Path, scoring: Scoring, *, notes: Sequence[str]) -> None:
    """Write ``evaluation.json`` of a complete evaluation.

    Args:
        folder: The evaluation folder, with all its files.
        scoring: What was measured.
        notes: What was said of it.
    """
    content = {"segsuite_evaluation": FORMAT, "version": segsuite.__version__, "definition": definition_of(scoring)}
    write_json(folder / RECORD, content | {"notes": list(notes), "files": _hashes(folder, EVALUATION_FILES)})


def sign(folder: Path, names: Iterable[str]) -> None:
    """Add files to the record of an evaluation, where there is one.

    Args:
        folder: The evaluation folder.
        names: Of files that were written into it.
    """
    record = _record(folder)
    if record is not None:
        write_json(folder / RECORD, record | {"files": {**record.get("files", {}), **_hashes(folder, names)}})


def read_definition(folder: Path) -> dict[str, Any] | None:
    """How the numbers of an evaluation are defined.

    Args:
        folder: The evaluation folder.

    Returns:
        As ``definition_of``; ``None`` where an earlier version wrote none.

    Raises:
        VolumeError: It cannot be read.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    record = _record(folder)
    if record is None or not isinstance(record.get("definition"), dict):
        raise VolumeError(f"{path} must be the record of an evaluation, got something else. Evaluate again.")
    definition: dict[str, Any] = record["definition"]
    return definition


def require_own(folder: Path, *, inputs: Iterable[Path], overwrite: bool) -> None:
    """Check that an evaluation may be written into a folder.

    Args:
        folder: Where; need not exist.
        inputs: Files that the evaluation reads: none may be replaced, whatever ``overwrite`` says.
        overwrite: Replace files of its names that are not its own.

    Raises:
        OutputError: A file that somebody else wrote, or that was changed since, would be replaced; or an input.
    """
    real = Path(real_path(folder))
    outputs = {real / name for name in EVALUATION_FILES}
    for path in inputs:
        if Path(real_path(path)) in outputs:
            raise OutputError(f"--out {folder} must not replace an input, got {path}. Choose another --out.")
    signed: Mapping[str, str] = (_record(folder) or {}).get("files", {})
    strange = [name for name in EVALUATION_FILES if (folder / name).exists() and not _is_own(folder / name, signed)]
    if strange and not overwrite:
        changed = [name for name in strange if name in signed]
        what = "were changed since they were written" if changed == strange else "no evaluation wrote"
        raise OutputError(
            f"{folder} must hold no other file of an evaluation's names, got {', '.join(strange)}, which {what}. Move them away, "
            "choose another --out, or replace them with --overwrite."
        )


def _is_own(path: Path, signed: Mapping[str, str]) -> bool:
    """By its hash, where it was signed; else by how it begins: earlier versions and killed evaluations signed nothing."""
    if not path.is_file():
        return False
    if path.name in signed:
        return hash_of_file(path) == signed[path.name]
    with path.open("rb") as stream:
        start = stream.read(200).decode("utf-8", errors="replace")
    return start.startswith(MARKS[path.name])


def _hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: hash_of_file(folder / name) for name in names if name != RECORD and (folder / name).is_file()}


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = read_json(folder / RECORD)
    except (OSError, InputError):
        return None
    return found if "segsuite_evaluation" in found else None
