"""Masks made of masks: structures of one file each joined in one map, masks brought onto the grid of their image."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segsuite.data.importing.found import ImportFinding
from segsuite.data.importing.tree import MADE_MARK
from segsuite.data.label_table import LABELS_FILE, label_table
from segsuite.errors import OutputError
from segsuite.failures import Step, reason_of
from segsuite.files import make_folder, write_json, write_text
from segsuite.volumes.combining import combine_structures
from segsuite.volumes.writing import write_mask

__all__ = ["Combining", "Watch", "claim_folder", "combine_cases", "each_case", "relative_to"]

Made = TypeVar("Made")


def _nobody(_told: object) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Watch:
    """How many cases are worked on at once, and who is told.

    Attributes:
        workers: Threads.
        on_start: Called with the number of cases.
        on_case: Called with each case that is over.
    """

    workers: int = 1
    on_start: Callable[[int], None] = _nobody
    on_case: Callable[[str], None] = _nobody


@dataclass(frozen=True)
class Combining:
    """How structures of one file each become one map.

    Attributes:
        order: Who wins where they overlap: what is named later overwrites.
        overwrite: Whether masks may be written into a folder that was not made for them.
        watch: Who is told.
    """

    order: tuple[str, ...] = ()
    overwrite: bool = False
    watch: Watch = Watch()


def each_case(
    cases: Collection[str], action: Callable[[str], Made], kind: str, watch: Watch
) -> tuple[dict[str, Made], list[ImportFinding]]:
    """Do something for each of many cases; one that fails never costs another.

    Args:
        cases: Their ids.
        action: Called with each.
        kind: What a failure is called.
        watch: Threads, and who is told.

    Returns:
        What came of the cases, and a finding for each that failed.
    """

    def attempt(case_id: str) -> tuple[str, Made | None, str]:
        try:
            return case_id, action(case_id), ""
        except Exception as error:
            return case_id, None, reason_of(error, Step.READING)
        finally:
            watch.on_case(case_id)

    watch.on_start(len(cases))
    with ThreadPoolExecutor(max(1, watch.workers)) as pool:
        attempts = list(pool.map(attempt, cases))
    made = {case_id: value for case_id, value, problem in attempts if value is not None and not problem}
    return made, [ImportFinding("error", kind, (case_id,), problem) for case_id, _, problem in attempts if problem]


def claim_folder(folder: Path, content: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make a folder for masks of ours, with a file that says so.

    Args:
        folder: Where masks will be written.
        content: What the file says.
        overwrite: Whether a folder that holds something else may be written into.

    Raises:
        OutputError: It holds something that was not made by this.
    """
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / MADE_MARK).is_file() and not overwrite)
    ):
        raise OutputError(f"{folder} is there already and was not made by segsuite. Choose another --out, or give --overwrite.")
    make_folder(folder)
    write_json(folder / MADE_MARK, dict(content))


def combine_cases(
    structures: Mapping[str, Mapping[str, Path]], folder: Path, *, values: Mapping[str, int], combining: Combining
) -> tuple[dict[str, Path], list[ImportFinding]]:
    """Write one label map per case into a folder, with ``labels.tsv`` beside them.

    Args:
        structures: Case id to structure to file.
        folder: Where to.
        values: Structure to integer.
        combining: Order and threads.

    Returns:
        Case id to its map, and what to tell: cases that failed, voxels that the order decided on.

    Raises:
        OutputError: The folder is there and was not made by this.
    """
    claim_folder(folder, {"labels": dict(values), "order": list(combining.order)}, overwrite=combining.overwrite)
    names = {value: name for name, value in sorted(values.items(), key=lambda item: item[1])}
    write_text(folder / LABELS_FILE, label_table(names))

    def combine(case_id: str) -> tuple[Path, tuple[str, ...]]:
        made = combine_structures(structures[case_id], values, order=combining.order)
        target = folder / f"{case_id}.nii.gz"
        make_folder(target.parent)
        write_mask(target, made.volume.labels.astype(np.uint16), like=made.volume)
        return target, tuple(f"{part.lost} ({part.n_voxels} voxels to {part.kept})" for part in made.overlaps)

    done, findings = each_case(structures, combine, "structures that cannot be combined", combining.watch)
    if lost := tuple(f"{case_id}: {', '.join(overlaps)}" for case_id, (_, overlaps) in done.items() if overlaps):
        message = f"Decided by the order {', '.join(combining.order)}."
        findings.append(ImportFinding("note", "overlapping structures", lost, message))
    message = f"Combined for {len(done)} of {len(structures)} cases into {folder}."
    findings.append(ImportFinding("note", "structures", tuple(values), message))
    return {case_id: target for case_id, (target, _) in done.items()}, findings


def relative_to(path: Path, start: Path) -> str:
    """The path from a folder, through ``..`` where needed; absolute where nothing is shared but the root.

    Args:
        path: Absolute.
        start: Absolute.
    """
    shared = Path(os.path.commonpath([path, start]))
    return path.as_posix() if len(shared.parts) <= 1 else Path(os.path.relpath(path, start)).as_posix()
