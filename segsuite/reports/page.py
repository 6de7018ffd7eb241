"""The report: one HTML file that opens from e-mail, without network; figures inside it as data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from matplotlib.figure import Figure

import segsuite
from segsuite.errors import InputError, OutputError
from segsuite.files import write_text
from segsuite.reports.overlays import COLOURS, as_data_uri, overlay_figure
from segsuite.reports.sections import read_sections
from segsuite.reports.tables import read_evaluation, summarise

__all__ = ["write_report"]

N_SHOWN = 3
"""Best and worst cases with a picture each."""
MOST_ROWS = 1000
"""Cases listed in the page; the CSV holds all."""
MAIN_METRICS = ("dice", "hd95", "assd", "masd", "surface_dice_1mm", "surface_dice_2mm", "volume_difference")


def write_report(run: Path, *, images: bool = True) -> Path:
    """``report.html`` of a run folder, or of a folder that holds ``evaluation/`` or ``predictions/``.

    Args:
        run: The folder.
        images: Whether pictures of cases go in; without them the page holds no patient data but names.

    Returns:
        The page.

    Raises:
        OutputError: There is nothing to report.
    """
    parts = {
        "sections": read_sections(run),
        "history": _history(run / "history.csv"),
        "evaluation": _evaluation(run / "evaluation", images=images),
        "predictions": _predictions(run / "predictions"),
        "plan": _plan(run / "plan.json"),
        "settings": _text(run / "settings.yaml"),
        "versions": _versions(run / "versions.json"),
    }
    if not any(parts.values()):
        raise OutputError(f"{run} must hold a training, predictions or an evaluation to report, got none of them.")
    loader = jinja2.PackageLoader("segsuite.reports")
    page = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"number": _number, "title": _title}
    text = page.get_template("report.html").render(name=run.resolve().name, version=segsuite.__version__, **parts)
    write_text(run / "report.html", text)
    return run / "report.html"


def _history(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    shown = [("loss", "training loss"), ("validation_dice", "validation Dice, whole cases")]
    shown = [(prefix, title) for prefix, title in shown if table["name"].str.startswith(prefix).any()]
    for axes, (prefix, title) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for name, rows in table[table["name"].str.startswith(prefix)].groupby("name"):
            axes.plot(rows["minutes"], rows["value"], marker="o" if len(rows) < 20 else None, markersize=3, label=str(name))
        axes.set_xlabel("minutes")
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
    return {"figure": as_data_uri(figure), "steps": int(table["step"].max()), "minutes": float(table["minutes"].max())}


def _evaluation(folder: Path, *, images: bool) -> dict[str, Any] | None:
    if not (folder / "metrics_per_case.csv").is_file():
        return None
    measurements, cases = read_evaluation(folder)
    summary = summarise(measurements, cases)
    metrics = [metric for metric in MAIN_METRICS if metric in summary["mean"]]
    dice = measurements[measurements["metric"] == "dice"].copy()
    dice["value"] = dice["value"].fillna(math.nan)
    means = dice.groupby("case")["value"].mean().dropna().sort_values()
    shown = dict.fromkeys([*means.index[:N_SHOWN], *means.index[::-1][:N_SHOWN]])
    pictures = [_picture(folder, str(case), float(means[case]), cases) for case in shown] if images else []
    return {
        "summary": summary,
        "metrics": metrics,
        "boxes": as_data_uri(_boxes(measurements, [m for m in metrics if m in ("dice", "hd95", "assd")])),
        "pictures": pictures,
        "table": _case_table(measurements),
        "n_most": MOST_ROWS,
        "problems": cases[cases["reason"] != ""][["case", "reason"]].to_dict("records"),
        "legend": [(name, COLOURS[(int(n) - 1) % len(COLOURS)]) for n, name in _legend(measurements)],
    }


def _case_table(measurements: pd.DataFrame) -> dict[str, Any]:
    """Dice and HD95 of every case and structure, worst mean Dice first."""
    chosen = measurements[measurements["metric"].isin(("dice", "hd95"))]
    wide: Any = chosen.pivot_table(index="case", columns=["metric", "label_name"], values="value", dropna=False, sort=False)
    wide = wide.loc[wide["dice"].mean(axis=1).sort_values().index]
    columns = [f"{_title(str(pair[0]))} {pair[1]}" for pair in wide.columns.to_list()]
    rows = [(str(case), [float(value) for value in values]) for case, values in zip(wide.index, wide.to_numpy(), strict=True)]
    return {"columns": columns, "rows": rows[:MOST_ROWS], "n_rows": len(rows)}


def _legend(measurements: pd.DataFrame) -> list[tuple[int, str]]:
    pairs = measurements[["label_index", "label_name"]].drop_duplicates()
    return [(int(index), str(name)) for index, name in pairs.itertuples(index=False)]


def _boxes(measurements: pd.DataFrame, metrics: list[str]) -> Figure:
    figure = Figure(figsize=(2.9 * len(metrics), 3), layout="constrained")
    names = list(dict.fromkeys(measurements["label_name"].astype(str)))
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        rows = measurements[(measurements["metric"] == metric) & measurements["value"].map(math.isfinite)]
        groups = [rows[rows["label_name"].astype(str) == name]["value"].to_numpy() for name in names]
        axes.boxplot(groups, tick_labels=names, showfliers=True, flierprops={"markersize": 3})
        unit = str(rows["unit"].iloc[0]) if len(rows) else "1"
        axes.set_title(metric if unit == "1" else f"{metric} ({unit})", fontsize=9)
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
        axes.grid(axis="y", alpha=0.3)
    return figure


def _picture(folder: Path, case: str, dice: float, cases: pd.DataFrame) -> dict[str, Any]:
    row = cases[cases["case"] == case].iloc[0]
    paths = [folder / row[key] if row[key] else None for key in ("image", "predicted", "reference")]
    try:
        return {"case": case, "dice": dice, "figure": as_data_uri(overlay_figure(*paths), dpi=90), "problem": ""}
    except (InputError, FileNotFoundError) as error:
        return {"case": case, "dice": dice, "figure": "", "problem": str(error)}


def _predictions(folder: Path) -> dict[str, Any] | None:
    lines = {}
    for path in sorted(folder.glob("ledger*.jsonl")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            lines[line["case"]] = line
    if not lines:
        return None
    rows = list(lines.values())
    done = [line for line in rows if line["status"] == "done"]
    seconds = sorted(line["seconds"] for line in done)
    return {
        "n": len(rows),
        "n_done": len(done),
        "seconds": seconds[len(seconds) // 2] if seconds else None,
        "peak_memory_mb": max((line["peak_memory_mb"] for line in rows), default=0),
        "failures": [line for line in rows if line["status"] != "done"],
        "notes": [(line["case"], note) for line in done for note in line.get("notes", [])],
    }


def _plan(path: Path) -> list[tuple[str, str]] | None:
    if not path.is_file():
        return None
    plan = json.loads(path.read_text(encoding="utf-8"))["plan"]
    rows = []
    for key, reason in plan["reasons"].items():
        value = plan.get(key, plan.get("strides") if key == "stages" else "")
        rows.append((key, str(value) if value != "" else "", reason))
    return rows  # type: ignore[return-value]


def _versions(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _text(path: Path) -> str | None:
    if not path.is_file():
        return None
    return yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")), sort_keys=False)


def _title(metric: str) -> str:
    """A metric's name as people write it, with its unit."""
    names = {"dice": "Dice", "hd95": "HD95 mm", "assd": "ASSD mm", "masd": "MASD mm", "volume_difference": "volume difference ml"}
    return names.get(metric, metric.replace("_", " ").replace("mm", " mm").replace("surface dice", "surface Dice"))


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "missed"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
