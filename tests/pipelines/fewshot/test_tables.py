"""The tables of a benchmark, by hand."""

from __future__ import annotations

import pandas as pd

from pipelines.fewshot.tables import as_markdown, pooled_as_markdown, sessions_as_markdown


def line(patient: str, name: str, kind: str, dice: float, session: int = 2, **more: int) -> dict[str, object]:
    facts = {"row": "r", "shots": 1, "draw": 0, "fold": "f", "intersection": 0, "union": 0}
    return {**facts, "patient": patient, "structure": name, "kind": kind, "dice": dice, "session": session, **more}


def test_a_line_is_the_mean_over_structures_patients_draws_and_folds() -> None:
    rows = [
        line(patient, name, kind, dice)
        for patient, name, kind, dice in (
            ("a", "x", "novel", 0.2), ("a", "y", "novel", 0.4), ("b", "x", "novel", 0.6), ("b", "y", "novel", 0.8),
            ("a", "z", "base", 0.9), ("b", "z", "base", 0.7),
        )
    ]  # fmt: skip
    rows.append(line("a", "x", "novel", 0.9, session=1))
    found = as_markdown(pd.DataFrame(rows)).splitlines()[-1]
    assert found.startswith("| r | 1 | 0.500 [")
    assert found.endswith("] | 0.800 | 0.615 |")  # 2 * 0.8 * 0.5 / 1.3


def test_pooled_counts_are_summed_before_they_are_divided() -> None:
    rows = [
        line("a", "x", "novel", 1, intersection=1, union=1), line("b", "x", "novel", 0, intersection=0, union=3),
        line("a", "z", "base", 1, intersection=3, union=4), line("b", "q", "base", 0, intersection=0, union=0),
    ]  # fmt: skip
    assert pooled_as_markdown(pd.DataFrame(rows)).splitlines()[-1] == "| r | 1 | 0.250 | 0.750 | 0.500 | 0.375 |"


def test_sessions_show_what_is_forgotten() -> None:
    rows = [
        line("a", "x", "novel", 0.8, session=1), line("a", "z", "base", 0.9, session=1),
        line("a", "x", "novel", 0.6), line("a", "y", "novel", 0.4), line("a", "z", "base", 0.9),
    ]  # fmt: skip
    first, second, summary = sessions_as_markdown(pd.DataFrame(rows)).splitlines()[2:]
    assert first == "| f | 1 | 1 | 0.800 | 0.900 | 0.847 |"
    assert second.startswith("| f | 1 | 2 | 0.500 | 0.900 |")
    assert "most forgotten of a class 0.200" in summary
    assert sessions_as_markdown(pd.DataFrame(rows[:2])) == ""
