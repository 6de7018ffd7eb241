"""Names of cases and of their masks that no two share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segsuite.data.manifest import case_name
from segsuite.engines.input_case import InputCase
from segsuite.errors import VolumeError
from segsuite.files import real_path
from segsuite.volumes.reading import image_ending

__all__ = ["distinct"]

MOST_PARENTS = 12
"""Folders that a name may get in front."""


def distinct(cases: Sequence[InputCase]) -> list[InputCase]:
    """Cases with names of their own.

    Of one name in several folders, each gets as many of its parent folders as it takes; of one name in one folder (``a.nii``
    beside ``a.nii.gz``), each gets its ending.

    Args:
        cases: Of any names.

    Returns:
        The same cases in the same order, with unique ids and outputs.

    Raises:
        VolumeError: An input was given twice.
    """
    places = Counter(tuple(map(str, (case.place, *case.images))) for case in cases)
    if twice := [place[0] for place, count in places.items() if count > 1]:
        raise VolumeError(f"Every input must be given once, got {', '.join(twice[:3])} several times.")
    found = _told_apart_by_ending(cases)
    for depth in range(1, MOST_PARENTS):
        clashing, ids = _clashing(found), Counter(case.case_id for case in found)
        if not clashing:
            return found
        found = [
            _with_parents(case, depth, twice=ids[case.case_id] > 1) if number in clashing else case
            for number, case in enumerate(found)
        ]
    if clashing := _clashing(found):
        listed = ", ".join(str(found[number].place) for number in sorted(clashing)[:4])
        raise VolumeError(f"Every input must have a name of its own, got {listed}. Rename one of them, or give them one by one.")
    return found


def _told_apart_by_ending(cases: Sequence[InputCase]) -> list[InputCase]:
    """Those that share a folder and a name."""
    beside = Counter((Path(real_path(case.place)).parent, _stem(case)) for case in cases)
    ids = Counter(case.case_id for case in cases)
    return [
        _with_ending(case, twice=ids[case.case_id] > 1) if beside[Path(real_path(case.place)).parent, _stem(case)] > 1 else case
        for case in cases
    ]


def _clashing(cases: Sequence[InputCase]) -> set[int]:
    """Numbers of the cases whose id or output another one has too; what lies beside a mask is named by its stem."""
    ids, outputs = Counter(case.case_id for case in cases), Counter(map(_stem, cases))
    return {number for number, case in enumerate(cases) if ids[case.case_id] > 1 or outputs[_stem(case)] > 1}


def _stem(case: InputCase) -> str:
    output = Path(case.output)
    return output.with_name(case_name(output.name)).as_posix()


def _with_parents(case: InputCase, depth: int, *, twice: bool) -> InputCase:
    parents = Path(real_path(case.place)).parts[:-1][-depth:]
    case_id, output = ("/".join((*parents, Path(name).name)).strip("/") for name in (case.case_id, case.output))
    return replace(case, case_id=case_id if twice else case.case_id, output=output)


def _with_ending(case: InputCase, *, twice: bool) -> InputCase:
    """``a.nii`` and ``a.nii.gz`` are cases of these names; their masks are ``a_nii.nii`` and ``a_nii_gz.nii.gz``.

    The ending keeps its capitals: ``a.NII.gz`` may lie beside them.
    """
    name, output = case.place.name, Path(case.output)
    ending = name[len(name) - len(image_ending(case.place)) :]
    marked = f"{case_name(output.name)}{ending.replace('.', '_') or '_series'}{image_ending(output)}"
    case_id = f"{case.case_id}{ending or '_series'}" if twice else case.case_id
    return replace(case, case_id=case_id, output=output.with_name(marked).as_posix())
