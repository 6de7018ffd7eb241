"""The report: one HTML file that opens from e-mail, without network; figures inside it as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from matplotlib.figure import Figure

from segsuite.engines.ledger import read_ledger
from segsuite.engines.run_folder import share_waited
from segsuite.errors import InputError, OutputError
from segsuite.failures import Step, reason_of
from segsuite.files import hash_of_file
from segsuite.reports.conventions import CONVENTIONS, CONVENTIONS_FILE, means_under
from segsuite.reports.figures import agreement_of_volumes, overlap_against_volume, reliability, spread
from segsuite.reports.overlays import COLOURS, as_data_uri, overlay_figure
from segsuite.reports.rendering import metric_title, render, write_page
from segsuite.reports.sections import read_sections
from segsuite.reports.tables import read_evaluation, summarise
from segsuite.reports.viewer import LayeredCase, viewer_of, viewer_script
from segsuite.volumes.regions import integers_of

__all__ = ["write_report"]

N_SHOWN = 3
"""Best and worst cases with a picture each."""
PAGE_BYTES = 5_000_000
"""Of a page without volumes, at most: the viewer's own text, figures and tables."""
MOST_ROWS = 1000
"""Cases listed in the page; the CSV holds all."""
MAIN_METRICS = ("dice", "hd95", "assd", "masd", "surface_dice_1mm", "surface_dice_2mm", "volume_difference")


def write_report(run: Path, *, images: bool = True, most_megabytes: float = 15.0) -> Path:
    """``report.html`` of a run folder, of an evaluation, or of a folder that holds ``evaluation/`` or ``predictions/``.

    Args:
        run: The folder.
        images: Whether pictures of cases go in; without them the page holds no patient data but names.
        most_megabytes: Size that the page keeps to by leaving volumes out of the viewer, which it then says.

    Returns:
        The page.

    Raises:
        OutputError: There is nothing to report.
    """
    evaluation = run if (run / "metrics_per_case.csv").is_file() else run / "evaluation"
    most_bytes = int(most_megabytes * 1e6) - PAGE_BYTES
    readers: dict[str, Callable[[], Any]] = {
        "sections": lambda: read_sections(run),
        "history": lambda: _history(run / "history.csv"),
        "evaluation": lambda: _evaluation(evaluation, images=images, most_bytes=most_bytes),
        "predictions": lambda: _predictions(run / "predictions"),
        "plan": lambda: _plan(run / "plan.json"),
        "settings": lambda: _text(run / "settings.yaml"),
        "versions": lambda: _versions(run / "versions.json"),
        "model": lambda: _model(run / "model" / "model.json"),
    }
    parts = {name: _part(run, name, read) for name, read in readers.items()}
    if not any(parts.values()):
        raise OutputError(f"{run} must hold a training, predictions or an evaluation to report, got none of them.")
    text = render("report.html", name=run.resolve().name, **parts)
    write_page(run / "report.html", text)
    return run / "report.html"


def _part(run: Path, name: str, read: Callable[[], Any]) -> Any:
    """What one file or folder of the run gives; one that was changed so that it cannot be read is named."""
    try:
        return read()
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(
            f"The {name} of {run} must be as segsuite wrote it, got something else ({type(error).__name__}: {reason}). "
            "Restore or remove it."
        ) from error


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
    facts = {"steps": int(table["step"].max()), "minutes": float(table["minutes"].max())}
    return {"figure": as_data_uri(figure), **facts, "waited": share_waited(path)}


def _evaluation(folder: Path, *, images: bool, most_bytes: int) -> dict[str, Any] | None:
    if not (folder / "metrics_per_case.csv").is_file():
        return None
    measurements, cases = read_evaluation(folder)
    summary = _summary(folder, measurements, cases)
    metrics = [metric for metric in MAIN_METRICS if metric in summary["mean"]]
    dice = measurements[measurements["metric"] == "dice"]
    means = dice.groupby("case")["value"].mean().dropna().sort_values()
    shown = [str(case) for case in dict.fromkeys([*means.index[:N_SHOWN], *means.index[::-1][:N_SHOWN]])] if images else []
    viewer = _viewer(folder, shown, cases, dict(_legend(measurements)), most_bytes)
    return {
        "summary": summary,
        "metrics": metrics,
        "figures": _figures(folder, measurements, metrics),
        "pictures": [_picture(folder, case, float(means[case]), cases) for case in shown],
        "viewer": viewer,
        "niivue": viewer_script() if viewer and viewer["cases"] else "",
        "table": _case_table(measurements),
        "n_most": MOST_ROWS,
        "problems": cases[cases["reason"] != ""][["case", "reason"]].to_dict("records"),
        "legend": [(name, COLOURS[(int(n) - 1) % len(COLOURS)]) for n, name in _legend(measurements)],
        "conventions": _conventions(folder, measurements, cases),
    }


def _summary(folder: Path, measurements: pd.DataFrame, cases: pd.DataFrame) -> dict[str, Any]:
    """As the evaluation wrote it, with its seed and subgroups; made again where it was not written."""
    path = folder / "metrics_summary.json"
    if not path.is_file():
        return summarise(measurements, cases)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _figures(folder: Path, measurements: pd.DataFrame, metrics: list[str]) -> list[tuple[str, str, str]]:
    """Heading, description, picture."""
    drawn = [
        (
            "Spread",
            "Every case is a dot; box: quartiles. Missed structures have no finite distance and are not drawn.",
            spread(measurements, [metric for metric in metrics if metric in ("dice", "hd95", "assd")]),
        ),
        (
            "Agreement of volumes",
            "Bland-Altman: solid line the mean difference, dashed lines the limits of agreement (95 % of differences).",
            agreement_of_volumes(measurements),
        ),
        ("Dice against volume", "Are the small ones worse?", overlap_against_volume(measurements)),
    ]
    if (folder / "calibration.csv").is_file():
        bins = pd.read_csv(folder / "calibration.csv", dtype={"label_name": str}, keep_default_na=False)
        described = "Voxels within 10 mm of a structure, all cases pooled; on the diagonal, probabilities are frequencies."
        drawn.append(("Can probabilities be believed?", described, reliability(bins)))
    return [(heading, description, as_data_uri(figure)) for heading, description, figure in drawn]


def _viewer(folder: Path, shown: list[str], cases: pd.DataFrame, names: dict[int, str], most_bytes: int) -> dict[str, Any] | None:
    """The pictured cases for the viewer; those whose files are gone or do not fit on each other have a picture that says so."""
    layered = []
    for case in shown:
        paths = _files(folder, case, cases)
        if (image := paths["image"]) is None or not image.is_file():
            continue
        masks = [(title, path) for title in ("predicted", "reference") if (path := paths[title]) is not None and path.is_file()]
        layered.append(LayeredCase(case, image, masks, crop=True))
    try:
        return viewer_of(layered, names, most_bytes=most_bytes)
    except InputError:
        return None


def _conventions(folder: Path, measurements: pd.DataFrame, cases: pd.DataFrame) -> dict[str, Any] | None:
    """Only where the evaluation was asked for them."""
    if not (folder / CONVENTIONS_FILE).is_file():
        return None
    asked = pd.read_csv(folder / CONVENTIONS_FILE, dtype=str)
    names = [name for name in CONVENTIONS if name != "segsuite" and name in set(asked["convention"])]
    table = means_under(measurements, cases, ["segsuite", *names])
    table = table[table["metric"].isin(("dice", "hd95", "assd"))]
    rows = [
        (row["structure"], metric_title(row["metric"]), [(row[name], row[f"n {name}"]) for name in ("segsuite", *names)])
        for row in table.to_dict("records")
    ]
    reasons = asked[["case", "metric", "reason"]].to_dict("records")
    return {"names": ["segsuite", *names], "rows": rows, "reasons": reasons[:MOST_ROWS], "n": len(reasons)}


def _case_table(measurements: pd.DataFrame) -> dict[str, Any]:
    """Dice and HD95 of every case and structure, worst mean Dice first."""
    chosen = measurements[measurements["metric"].isin(("dice", "hd95"))]
    wide: Any = chosen.pivot_table(index="case", columns=["metric", "label_name"], values="value", dropna=False, sort=False)
    wide = wide.loc[wide["dice"].mean(axis=1).sort_values().index]
    columns = [f"{metric_title(str(pair[0]))} {pair[1]}" for pair in wide.columns.to_list()]
    rows = [(str(case), [float(value) for value in values]) for case, values in zip(wide.index, wide.to_numpy(), strict=True)]
    return {"columns": columns, "rows": rows[:MOST_ROWS], "n_rows": len(rows)}


def _legend(measurements: pd.DataFrame) -> list[tuple[int, str]]:
    """The integers of a mask, as it is drawn, and their names; of regions each integer is called after the smallest it is in."""
    pairs = measurements[["label_index", "label_name"]].drop_duplicates()
    known = [(integers_of(str(index)), str(name)) for index, name in pairs.itertuples(index=False)]
    values = sorted({value for integers, _ in known for value in integers})
    return [(value, min((len(integers), name) for integers, name in known if value in integers)[1]) for value in values]


def _files(folder: Path, case: str, cases: pd.DataFrame) -> dict[str, Path | None]:
    row = cases[cases["case"] == case].iloc[0]
    return {key: folder / row[key] if row[key] else None for key in ("image", "predicted", "reference")}


def _picture(folder: Path, case: str, dice: float, cases: pd.DataFrame) -> dict[str, Any]:
    try:
        figure = as_data_uri(overlay_figure(**_files(folder, case, cases)), dpi=90)
        return {"case": case, "dice": dice, "figure": figure, "problem": ""}
    except Exception as error:
        return {"case": case, "dice": dice, "figure": "", "problem": reason_of(error, Step.READING)}


def _predictions(folder: Path) -> dict[str, Any] | None:
    rows = list(read_ledger(folder).values())
    if not rows:
        return None
    done = [line for line in rows if line.status == "done"]
    seconds = sorted(line.seconds for line in done)
    return {
        "n": len(rows),
        "n_done": len(done),
        "seconds": seconds[len(seconds) // 2] if seconds else None,
        "peak_memory_mb": max((line.peak_memory_mb for line in rows), default=0),
        "failures": [line for line in rows if line.status != "done"],
        "notes": [(line.case, note) for line in done for note in line.notes],
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


def _model(path: Path) -> dict[str, str] | None:
    """Which weights made the masks of a run; an ensemble has the hash of its description."""
    if not path.is_file():
        return None
    description = json.loads(path.read_text(encoding="utf-8"))
    weights = description.get("weights", {"file": path.name, "sha256": hash_of_file(path)})
    return {**weights, "name": description.get("name", path.parent.parent.name), "pipeline": description["pipeline"]}


def _versions(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _text(path: Path) -> str | None:
    if not path.is_file():
        return None
    return yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")), sort_keys=False)
