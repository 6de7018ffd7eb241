"""May two evaluations be compared? Only if their numbers are defined alike and stand for the same cases and references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from segsuite.errors import ManifestError, few_of

__all__ = ["Evaluated", "require_comparable"]

N_NAMED = 3
"""Cases and structures named in a message."""
RELATIVE_TOLERANCE = 1e-4
"""Of volumes, which tables hold in six digits."""
SAID = {
    "surface": "--surface",
    "regions": "regions",
    "tolerances_mm": "--tolerance",
    "ignore_label": "the ignored label",
    "least_iou": "--least-iou",
    "size_edges_ml": "--size",
    "body_axis": "--axis",
    "missing": "the rule for what is missing",
}
"""What is compared, and how people know it; options of a metric that only one of them has do not count."""
ONLY_WHERE_BOTH = ("least_iou", "size_edges_ml", "body_axis")


@dataclass(frozen=True)
class Evaluated:
    """One evaluation.

    Attributes:
        name: What to call it.
        measurements: One row per case, structure, metric.
        cases: One row per case.
        definition: From ``evaluation_record.read_definition``.
    """

    name: str
    measurements: pd.DataFrame
    cases: pd.DataFrame
    definition: Mapping[str, Any] | None


def require_comparable(evaluations: Sequence[Evaluated], *, shared: bool) -> list[str]:
    """Check that each evaluation may be compared with the first.

    Args:
        evaluations: At least one.
        shared: Where cases or structures differ, compare what all have, and say so.

    Returns:
        What to say: what could not be checked, and what is left out.

    Raises:
        ManifestError: They differ in what their numbers mean; with the difference.
    """
    first, notes = evaluations[0], []
    for evaluation in evaluations:
        if evaluation.definition is None:
            notes.append(
                f"{evaluation.name} does not say how its numbers are defined (an earlier version evaluated it): surfaces and "
                "options cannot be checked. Evaluate it again to be sure"
            )
    for second in evaluations[1:]:
        apart = [*_defined_apart(first, second), *_references_apart(first, second)]
        if apart:
            raise ManifestError(
                f"Evaluations must be defined alike to be compared, got {'; '.join(apart)}. Evaluate both again in the same way."
            )
        for what, column in (("cases", "case"), ("structures", "label_name")):
            if difference := _sets_apart(first, second, column):
                if not shared:
                    raise ManifestError(
                        f"Evaluations must be of the same {what} to be compared, got {difference}. Evaluate both on the same "
                        "references, or compare what both have with --shared."
                    )
                notes.append(f"only {what} that both have are compared: {difference}")
    return list(dict.fromkeys(notes))


def _defined_apart(first: Evaluated, second: Evaluated) -> list[str]:
    if first.definition is None or second.definition is None:
        tolerances = _tolerances(first), _tolerances(second)
        said = f"--tolerance {tolerances[0]} in {first.name} and {tolerances[1]} in {second.name}"
        return [said] if tolerances[0] != tolerances[1] else []
    apart = []
    for key, said in SAID.items():
        mine, other = first.definition.get(key), second.definition.get(key)
        if mine != other and not (key in ONLY_WHERE_BOTH and None in (mine, other)):
            apart.append(f"{said} {_text(mine)} in {first.name} and {_text(other)} in {second.name}")
    return apart


def _references_apart(first: Evaluated, second: Evaluated) -> list[str]:
    """The volumes of the references tell masks of another rater, or another image, under the same names."""
    mine, other = (_reference_volumes(evaluation) for evaluation in (first, second))
    both = pd.concat([mine, other], axis=1, join="inner", keys=["mine", "other"]).dropna()
    largest = both.abs().max(axis=1)
    differ = both[(both["mine"] - both["other"]).abs() > RELATIVE_TOLERANCE * largest]
    if differ.empty:
        return []
    case, structure = differ.index[0]
    row = differ.iloc[0]
    volumes = f"{row['mine']:.4g} ml in {first.name} and {row['other']:.4g} ml in {second.name}"
    n_cases = len({index[0] for index in differ.index})
    return [f"other references in {n_cases} cases, for example {structure} of {case} with {volumes}"]


def _reference_volumes(evaluation: Evaluated) -> pd.Series[float]:
    rows = evaluation.measurements[evaluation.measurements["metric"] == "reference_volume"]
    volumes: pd.Series[float] = rows.set_index(["case", "label_name"])["value"]
    return volumes[~volumes.index.duplicated()]


def _sets_apart(first: Evaluated, second: Evaluated, column: str) -> str:
    """Which of two sets of names lacks what; empty if they are equal."""
    tables = [evaluation.cases if column == "case" else evaluation.measurements for evaluation in (first, second)]
    mine, other = (set(table[column]) for table in tables)
    parts = [(second.name, sorted(mine - other)), (first.name, sorted(other - mine))]
    return "; ".join(f"{name} lacks {few_of(names, most=N_NAMED)}" for name, names in parts if names)


def _tolerances(evaluation: Evaluated) -> str:
    prefix = "surface_dice_"
    found = {metric.removeprefix(prefix) for metric in evaluation.measurements["metric"] if metric.startswith(prefix)}
    return ", ".join(sorted(found)) or "none"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{item:g}" if isinstance(item, float | int) else str(item) for item in value)
    return "none" if value is None else str(value)
