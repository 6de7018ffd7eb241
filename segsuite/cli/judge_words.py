"""Words that judge: evaluate, compare, report, overlay, view."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from segsuite.cli.options import Attributes, DataRoot, Fold, Json, Quiet, Verbose, Workers, parse_fold, worker_count
from segsuite.cli.terminal import case_progress, print_json, print_scores, print_table, say

__all__ = ["add_to"]


class Surface(StrEnum):
    """See ``metrics.per_case.SURFACES``."""

    voxels = "voxels"
    area = "area"


class Rules(StrEnum):
    """See ``reports.conventions.CONVENTIONS``."""

    segsuite = "segsuite"
    monai = "monai"
    nnunet = "nnunet"
    metricsreloaded = "metricsreloaded"


class Axis(StrEnum):
    """See ``verbs.evaluating.BODY_AXES``."""

    left_right = "left-right"
    back_front = "back-front"
    foot_head = "foot-head"


MOST_NAMED = 20
"""Cases named on the terminal; the tables hold all."""
Conventions = Annotated[
    list[Rules] | None, typer.Option("--convention", help="Also under this tool's rules for what is missing.")
]


def add_to(app: typer.Typer) -> None:
    """Register the words."""
    app.command("evaluate", epilog="Example: segsuite evaluate masks references --out evaluation")(evaluate)
    app.command("compare", epilog="Example: segsuite compare RUN_A RUN_B --metric dice --metric hd95")(compare)
    app.command("report", epilog="Example: segsuite report RUN")(report)
    app.command("overlay", epilog="Example: segsuite overlay t2.nii.gz --mask m.nii.gz --out fig.png")(overlay)
    app.command("view", epilog="Example: segsuite view t2.nii.gz m.nii.gz --out view.html")(view)


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of masks, or a manifest.")],
    references: Annotated[Path, typer.Argument(help="Folder of masks, or a manifest; decides which cases count.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the tables go.")],
    data_root: DataRoot = None,
    fold: Fold = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="TSV, CSV or JSON that names the integers.")] = None,
    regions: Annotated[Path | None, typer.Option("--regions", help="JSON that declares regions to score.")] = None,
    each_label: Annotated[bool, typer.Option("--each-label", help="Score labels beside regions.")] = False,
    tolerance: Annotated[list[float] | None, typer.Option("--tolerance", help="Surface Dice tolerance in mm.")] = None,
    surface: Annotated[Surface, typer.Option("--surface", help="Boundary voxels, or elements by area.")] = Surface.voxels,
    instances: Annotated[list[str] | None, typer.Option("--instances", help="Count this label's separate objects.")] = None,
    least_iou: Annotated[float, typer.Option("--least-iou", min=0.01, max=1.0, help="Overlap of matching objects.")] = 0.1,
    size: Annotated[list[float] | None, typer.Option("--size", help="ml between small and large objects: 0.1 and 1.")] = None,
    tubes: Annotated[list[str] | None, typer.Option("--tubes", help="Compare this label's centre line along the axis.")] = None,
    topology: Annotated[list[str] | None, typer.Option("--topology", help="Count this label's pieces and holes.")] = None,
    thirds: Annotated[bool, typer.Option("--thirds", help="Dice also by lower, middle and upper third.")] = False,
    axis: Annotated[Axis, typer.Option("--axis", help="Of thirds and tubes.")] = Axis.foot_head,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Brier score and calibration of saved ones.")] = False,
    by: Annotated[list[str] | None, typer.Option("--by", help="Also split by this attribute of the cases (site).")] = None,
    attributes: Attributes = None,
    convention: Conventions = None,
    workers: Workers = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files in --out that no evaluation wrote.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Dice, volumes and surface distances in mm. A missing prediction counts as missed; a killed evaluation goes on."""
    from segsuite.verbs import evaluating

    measures = evaluating.Measures(
        tuple(tolerance or evaluating.TOLERANCES_MM),
        surface=surface.value,
        instances=instances or (),
        least_iou=least_iou,
        size_edges_ml=tuple(size or evaluating.SIZE_EDGES_ML),
        tubes=tubes or (),
        topology=topology or (),
        thirds=thirds,
        axis=axis.value,
        probabilities=probabilities,
    )
    how: dict[str, Any] = {"data_root": data_root, "fold": parse_fold(fold), "labels": labels, "regions": regions}
    how |= {"each_label": each_label, "by": by or (), "attributes": attributes, "seed": seed, "overwrite": overwrite}
    how |= {"measures": measures, "workers": worker_count(workers)}
    with case_progress("evaluating") as progress:
        evaluation = evaluating.evaluate(predictions, references, out, on_start=progress.start, on_case=progress.case, **how)
    raise typer.Exit(_show_evaluation(evaluation, out, convention, as_json=as_json))


def compare(
    evaluations: Annotated[list[Path], typer.Argument(help="Evaluation or run folders; the first is the baseline.")],
    metric: Annotated[list[str] | None, typer.Option("--metric", help="What to compare by; default dice and hd95.")] = None,
    seeds: Annotated[bool, typer.Option("--seeds", help="Each folder holds repeated trainings of one setting.")] = False,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    shared: Annotated[bool, typer.Option("--shared", help="Only cases and structures that all have.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Is one better, by how much, and can it be claimed? Paired by case, intervals over patients, Holm over structures.

    Of more than two, the ranking and how stable it is. With --seeds, whether a difference is larger than that between seeds.
    """
    from dataclasses import asdict

    from segsuite.verbs.judging import compare as run_compare
    from segsuite.verbs.judging import compare_seeds, rank

    metrics = metric or ["dice", "hd95"]
    if seeds:
        repeated = compare_seeds(evaluations, metrics=metrics, shared=shared, tell=say)
        if as_json:
            print_json([{"against_first": name, **asdict(comparison)} for name, comparison in repeated])
        for name, repeats in repeated:
            say(f"{name}: {repeats.sentence}")
        return
    compared = run_compare(evaluations, metrics=metrics, seed=seed, shared=shared, tell=say)
    if as_json:
        print_json([{"against_first": name, **asdict(comparison)} for name, comparison in compared])
    columns = ("compared", "structure", "metric", "difference", "95 % interval", "better/worse", "p (Holm)")
    print_table(columns, [_comparison_row(name, comparison) for name, comparison in compared])
    for _, comparison in compared:
        say(comparison.sentence)
    if len(evaluations) > 2:
        for name in metrics:
            ranked = rank(evaluations, metric=name, seed=seed, shared=shared)
            rows = [(r.rank, r.name, f"{r.mean:.4g}", f"{r.shares[0]:.0%}", _places(r.shares)) for r in ranked]
            print_table(("rank", "evaluation", f"mean {name}", "first in", "ranks on resampled patients"), rows)
            say(f"ranking by {name}: Kendall's tau on resampled patients {ranked[0].tau:.2f} on average (1 is stable)")


def report(
    run: Annotated[Path, typer.Argument(help="A run or evaluation folder, or one that holds evaluation/ or predictions/.")],
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave out pictures of cases, to share the page.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write report.html of a run folder: one file, no network."""
    from segsuite.reports.page import write_report

    say(str(write_report(run, images=not no_images)))


def overlay(
    image: Annotated[Path, typer.Argument(help="The image.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG, PDF or SVG.")],
    mask: Annotated[Path | None, typer.Option("--mask", help="Drawn solid; maps that lie beside it are shown below.")] = None,
    reference: Annotated[Path | None, typer.Option("--reference", help="Drawn dashed.")] = None,
    dpi: Annotated[int, typer.Option("--dpi", min=50, max=1200, help="Dots per inch of a PNG.")] = 200,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw a picture for a paper: slices in three planes with the outlines of masks."""
    from segsuite.verbs.judging import draw_overlay

    say(str(draw_overlay(image, mask, reference, out, dpi=dpi)))


def view(
    image: Annotated[Path, typer.Argument(help="The image.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, .html.")],
    masks: Annotated[list[Path] | None, typer.Argument(help="Masks on its grid.")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="TSV, CSV or JSON that names the integers.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Look at volumes and masks in three planes and 3-D: one HTML file, no network."""
    from segsuite.verbs.judging import write_viewer

    say(str(write_viewer(image, masks or [], out, labels=labels)))


def _show_evaluation(evaluation: Any, out: Path, convention: list[Rules] | None, *, as_json: bool) -> int:
    """Scores, what to know of them, and problems; the exit code."""
    if as_json:
        print_json(evaluation.summary)
    print_scores(evaluation.summary)
    if convention:
        _print_conventions(out, [rules.value for rules in convention])
    for note in evaluation.summary["notes"]:
        say(f"note: {note}")
    _say_problems(evaluation.problems, out)
    say(f"{out / 'metrics_per_case.csv'}, {out / 'metrics_summary.json'}")
    return int(evaluation.exit_code)


def _say_problems(problems: dict[str, str], out: Path) -> None:
    """Every broken reference, and the first of the cases that lack a prediction."""
    lost = {case: reason for case, reason in problems.items() if reason.startswith("the reference")}
    for case, reason in lost.items():
        say(f"case {case} does not count: {reason}")
    rest = [(case, reason) for case, reason in problems.items() if case not in lost]
    for case, reason in rest[:MOST_NAMED]:
        say(f"case {case} {'in part ' if reason.startswith('no reference of') else ''}counts as missed: {reason}")
    if len(rest) > MOST_NAMED:
        say(f"... and {len(rest) - MOST_NAMED} more cases: {out / 'cases.csv'}")


def _places(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{place}: {share:.0%}" for place, share in enumerate(shares, start=1) if share > 0)


def _print_conventions(folder: Path, names: list[str]) -> None:
    from segsuite.verbs.judging import conventions

    table, differences = conventions(folder, names)
    columns = [name for name in table.columns if not name.startswith("n ")]
    rows = []
    for line in table.to_dict("records"):
        means = (f"{line[name]:.4g} ({line[f'n {name}']})" if line[f"n {name}"] else "-" for name in columns[2:])
        rows.append((line["structure"], line["metric"], *means))
    print_table((*columns[:2], *(f"{name} (values)" for name in columns[2:])), rows)
    for difference in differences[:MOST_NAMED]:
        say(f"case {difference.case}, {difference.metric}: {difference.reason}")
    say(f"{len(differences)} values are treated otherwise: {folder / 'conventions.csv'}")


def _comparison_row(name: str, comparison: Any) -> tuple[object, ...]:
    change = comparison.difference
    span = f"{change.low:+.4g} to {change.high:+.4g}"
    wins = f"{comparison.n_better}/{comparison.n_worse} of {comparison.n_cases}"
    return (name, comparison.structure, comparison.metric, f"{change.mean:+.4g}", span, wins, f"{comparison.p_adjusted:.3g}")
