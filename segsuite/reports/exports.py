"""An evaluation in the forms that people paste or feed to other tools: Markdown, LaTeX, nnU-Net's summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from segsuite.files import write_json, write_text
from segsuite.volumes.regions import integers_of

__all__ = ["as_latex", "as_markdown", "nnunet_summary", "write_exports"]

PASTED = ("dice", "hd95", "assd", "surface_dice_2mm")
TITLES = {"dice": "Dice", "hd95": "HD95 (mm)", "assd": "ASSD (mm)", "surface_dice_2mm": "surface Dice 2 mm"}
NNUNET = {"dice": "Dice", "iou": "IoU"}
LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {special: f"\\{special}" for special in "&%$#_{}"}
)
MARKDOWN = str.maketrans({"|": r"\|", "<": "&lt;", "\\": r"\\", "`": r"\`", "[": "&#91;"})


def as_markdown(summary: Mapping[str, Any], metrics: Sequence[str] = PASTED) -> str:
    """A table of means with intervals, one row per structure.

    Args:
        summary: From ``tables.summarise``.
        metrics: Columns; those that were not measured are left out.

    Returns:
        Markdown.
    """
    head, rows = _cells(summary, metrics)
    lines = [head, ["---"] * len(head), *([_plain(name), *cells] for name, *cells in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_latex(summary: Mapping[str, Any], metrics: Sequence[str] = PASTED) -> str:
    """The same as a ``tabular`` (booktabs).

    Args:
        summary: From ``tables.summarise``.
        metrics: Columns.

    Returns:
        LaTeX.
    """
    head, rows = _cells(summary, metrics)
    body = "".join(f"{' & '.join(map(_escaped, row))} \\\\\n" for row in rows)
    columns = "l" + "r" * (len(head) - 1)
    top = f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{' & '.join(map(_escaped, head))} \\\\\n\\midrule\n"
    return f"{top}{body}\\bottomrule\n\\end{{tabular}}\n"


def nnunet_summary(measurements: pd.DataFrame, cases: pd.DataFrame) -> dict[str, Any]:
    """The shape of nnU-Net v2's ``summary.json``, with Dice and IoU.

    Args:
        measurements: One row per case, structure, metric.
        cases: One row per case.

    Returns:
        ``foreground_mean``, ``mean`` by label, ``metric_per_case``. As there, what is in neither mask is left out of means
        (``null``); unlike there, a case without prediction is a row with 0.
    """
    chosen = measurements[measurements["metric"].isin(NNUNET)]
    labels = sorted(chosen["label_index"].unique(), key=lambda label: integers_of(str(label)))
    value_of = chosen.set_index(["case", "label_index", "metric"])["value"].to_dict()
    by_label = {label: chosen[chosen["label_index"] == label] for label in labels}
    means = {
        _nnunet_key(label): {title: _mean(rows[rows["metric"] == metric]["value"].to_list()) for metric, title in NNUNET.items()}
        for label, rows in by_label.items()
    }
    per_case = [
        {
            "metrics": {
                _nnunet_key(n): {NNUNET[m]: _json(value_of.get((row["case"], n, m), math.nan)) for m in NNUNET} for n in labels
            },
            "prediction_file": row["predicted"],
            "reference_file": row["reference"],
        }
        for row in cases.to_dict("records")
    ]
    foreground = {title: _mean(entry[title] for entry in means.values() if entry[title] is not None) for title in NNUNET.values()}
    return {"foreground_mean": foreground, "mean": means, "metric_per_case": per_case}


def _nnunet_key(label: object) -> str:
    """A label as nnU-Net writes it; of a region the tuple of its integers."""
    integers = integers_of(str(label))
    return str(integers[0]) if len(integers) == 1 else str(integers)


def write_exports(folder: Path, summary: Mapping[str, Any], measurements: pd.DataFrame, cases: pd.DataFrame) -> None:
    """``summary.md``, ``summary.tex`` and ``nnunet_summary.json`` beside an evaluation's own tables.

    Args:
        folder: An evaluation folder.
        summary: From ``tables.summarise``.
        measurements: One row per case, structure, metric.
        cases: One row per case.
    """
    seen = int((cases["in_training"] == "yes").sum()) if "in_training" in cases else 0
    caveat = f"{seen} of {len(cases)} cases were in the model's training." if seen else ""
    write_text(folder / "summary.md", as_markdown(summary) + (f"\n{caveat}\n" if caveat else ""))
    write_text(folder / "summary.tex", as_latex(summary) + (f"% {caveat}\n" if caveat else ""))
    write_json(folder / "nnunet_summary.json", nnunet_summary(measurements, cases))


def _cells(summary: Mapping[str, Any], metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    known = [metric for metric in metrics if all(metric in entry for entry in summary["structures"].values())]
    rows = []
    for name, entry in summary["structures"].items():
        counts = entry["dice"]
        missed = f", {counts['n_missed']} missed" if counts["n_missed"] else ""
        rows.append(
            [name.replace("_", " "), f"{counts['n_scored']} of {counts['n_expected']}{missed}", *(_cell(entry[m]) for m in known)]
        )
    return ["structure", "cases", *(TITLES.get(m, m) for m in known)], rows


def _cell(entry: Mapping[str, Any]) -> str:
    if entry["mean"] is None:
        return "-"
    digits = 3 if entry["unit"] == "1" else 2
    return f"{entry['mean']:.{digits}f} [{entry['low']:.{digits}f}, {entry['high']:.{digits}f}]"


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it is: a label's name must not be able to read a file."""
    return " ".join(text.split()).translate(LATEX)


def _plain(text: str) -> str:
    """Text that a Markdown table prints as it is, in one cell."""
    return " ".join(text.split()).translate(MARKDOWN)


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return round(sum(known) / len(known), 6) if known else None


def _json(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
