"""nnU-Net's ``splits_final.json`` as folds; cases that it keeps away from training stay away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segsuite.data.importing.found import Imported, ImportFinding
from segsuite.documents import read_json
from segsuite.errors import ManifestError

__all__ = ["with_split_lists"]

FILE = "splits_final.json"
ADVICE = "Correct the lists, or pass over them by --no-splits and make folds with `segsuite manifest split`."


def with_split_lists(imported: Imported, folder: Path, *, use: bool) -> Imported:
    """Folds from the lists beside a data set, where there are any.

    A case gets the fold whose ``val`` names it. Cases that are named nowhere become test rows, so that nothing trains on them.

    Args:
        imported: The cases.
        folder: Where ``splits_final.json`` may lie.
        use: Whether the user wants it.

    Returns:
        The cases with folds, and what was done.

    Raises:
        ManifestError: Lists that overlap, name unknown cases, or cannot be told by one fold per case.
    """
    path = folder / FILE
    if not path.exists():
        return imported
    if not use:
        message = "As asked; all cases may be trained on, those too that its lists keep away."
        return imported.adding([ImportFinding("note", "lists passed over", (FILE,), message)])
    splits = [_lists(path, number, part) for number, part in enumerate(read_json(path, kind=list, error=ManifestError))]
    cases = {case.case_id: case for case in imported.manifest.training}
    fold_of = _folds(path, splits, set(cases))
    named = {name for part in splits for names in part.values() for name in names}
    kept_away = tuple(name for name in cases if name not in named)
    training = [case.model_copy(update={"fold": fold_of.get(case.case_id)}) for case in cases.values() if case.case_id in named]
    test = [*imported.manifest.test, *(cases[name] for name in kept_away)]
    findings = []
    if kept_away:
        message = f"{path} names them in no list: they are test rows, and nothing trains on them."
        findings.append(ImportFinding("note", "cases kept away from training", kept_away, message))
    manifest = imported.manifest.model_copy(update={"training": training, "test": test})
    return replace(imported.adding(findings, manifest), read=(*imported.read, FILE))


def _lists(path: Path, number: int, part: Any) -> dict[str, list[str]]:
    lists = {key: part.get(key) for key in ("train", "val")} if isinstance(part, dict) else {}
    if not lists or not all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in lists.values()):
        raise ManifestError(
            f"{path}: split {number} must have the lists `train` and `val` of case names, got {part!r:.80}. {ADVICE}"
        )
    return {key: list(names) for key, names in lists.items() if names is not None}


def _folds(path: Path, splits: Sequence[Mapping[str, Sequence[str]]], known: set[str]) -> dict[str, int]:
    fold_of: dict[str, int] = {}
    named = {name for part in splits for names in part.values() for name in names}
    if strangers := sorted(named - known):
        raise ManifestError(
            f"{path} must name cases that are there, got {len(strangers)} others, first `{strangers[0]}`. {ADVICE}"
        )
    for number, part in enumerate(splits):
        for key, names in part.items():
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise ManifestError(
                    f"{path}: split {number} must name each case once, got `{twice[0]}` twice in `{key}`. {ADVICE}"
                )
        if both := sorted(set(part["train"]) & set(part["val"])):
            raise ManifestError(
                f"{path}: split {number} must train on other cases than it scores, got {len(both)} in `train` and `val`, "
                f"first `{both[0]}`. {ADVICE}"
            )
        for name in part["val"]:
            if name in fold_of:
                raise ManifestError(
                    f"{path} must score each case in one split, got `{name}` in `val` of {fold_of[name]} and {number}: "
                    f"a manifest holds one fold per case. {ADVICE}"
                )
            fold_of[name] = number
    for number, part in enumerate(splits):
        rest = named - set(part["val"])
        if rest != set(part["train"]):
            left = sorted(rest - set(part["train"]))
            raise ManifestError(
                f"{path}: split {number} must train on all cases of the lists but those of its `val`, got {len(left)} that "
                f"it leaves out, first `{left[0]}`: a manifest's fold trains on all others. {ADVICE}"
            )
    return fold_of
