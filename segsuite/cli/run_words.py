"""Words that compute: demo, train, predict, evaluate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segsuite.cli.options import (
    DataRoot,
    Device,
    Fold,
    Json,
    Quiet,
    Verbose,
    Workers,
    parse_fold,
    worker_count,
)
from segsuite.cli.terminal import case_progress, print_json, print_table, say, training_progress

__all__ = ["add_to"]

Overrides = Annotated[list[str] | None, typer.Argument(help="key=value", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Register the words."""
    app.command("demo", epilog="Example: segsuite demo --out demo_run")(demo)
    app.command("train", epilog="Example: segsuite train supervised/default --manifest M.json --fold 0 --out RUN")(train)
    app.command("predict", epilog="Example: segsuite predict RUN/model scans/ --out masks")(predict)
    app.command("evaluate", epilog="Example: segsuite evaluate masks references --out evaluation")(evaluate)
    app.command("compare", epilog="Example: segsuite compare RUN_A RUN_B --metric dice --metric hd95")(compare)
    app.command("report", epilog="Example: segsuite report RUN")(report)
    app.command("overlay", epilog="Example: segsuite overlay t2.nii.gz --mask m.nii.gz --out fig.png")(overlay)


def demo(
    pipeline: Annotated[str | None, typer.Argument(help="Which pipeline; default: the suite's show case.")] = None,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder.")] = Path("demo_run"),
    device: Device = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Phantom cohort, training, prediction, evaluation and report in minutes, without data."""
    from segsuite.pipeline import Runtime, demo_pipeline
    from segsuite.verbs.runs import demo as run_demo

    with training_progress() as progress:
        run, evaluation = run_demo(
            pipeline or demo_pipeline().name, out, overrides=overrides or (), runtime=Runtime(device, workers, progress)
        )
    _print_scores(evaluation.summary)
    say(
        f"report       {run.report}\nmasks        {run.predictions}\nmodel        {run.model}\nphantoms     {run.root / 'cohort'}"
    )
    raise typer.Exit(evaluation.exit_code)


def train(
    config: Annotated[str, typer.Argument(help="A file, or a shipped name such as supervised/default.")],
    overrides: Overrides = None,
    manifest: Annotated[str | None, typer.Option("--manifest", "-m", help="The cases: a file or a shipped name.")] = None,
    data_root: DataRoot = None,
    fold: Fold = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; default runs/<name>.")] = None,
    finetune: Annotated[str | None, typer.Option("--finetune", help="Model to start from; the same pipeline's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Refuse to start anew.")] = False,
    cache_dir: Annotated[Path | None, typer.Option(help="Where prepared cases are kept; default: in the run folder.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random depends on it.")] = None,
    device: Device = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a config. The same command goes on where a killed training stopped."""
    from segsuite.pipeline import Runtime
    from segsuite.verbs.runs import fold_overrides
    from segsuite.verbs.runs import train as run_train

    given = {"data.manifest": manifest, "data.data_root": data_root, "data.cache_dir": cache_dir, "seed": seed}
    given["finetune"] = finetune
    words = [f"{key}={value}" for key, value in given.items() if value is not None] + list(overrides or ())
    fold_words, folds = fold_overrides(config, words, fold)
    with training_progress() as progress:
        run = run_train(
            config,
            overrides=[*words, *fold_words],
            out=out,
            folds=folds,
            resume=resume,
            runtime=Runtime(device, workers, progress),
        )
    say(f"model        {run.model}")
    for page in sorted(run.root.glob("**/report.html")):
        say(f"report       {page}")


def predict(
    model: Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")],
    inputs: Annotated[list[Path], typer.Argument(help="Images, DICOM folders, folders of images, or manifests.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the masks go; they bear their images' names.")],
    data_root: DataRoot = None,
    fold: Fold = None,
    shard: Annotated[str | None, typer.Option("--shard", help="i/n: this process takes the i-th of n parts.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
    save_probabilities: Annotated[bool, typer.Option("--save-probabilities", help="One more volume per class.")] = False,
    series_uid: Annotated[str | None, typer.Option("--series-uid", help="Which series of a DICOM folder.")] = None,
    attributes: Annotated[
        Path | None, typer.Option("--attributes", help="TSV or CSV: column `case`, and what else is known, such as psa.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value of `inference` in model.json.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Segment also what looks like another kind of image.")] = False,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Segment images. A restart skips exactly what is done and unchanged; one bad case never stops the others."""
    from segsuite.engines.inputs import parse_shard
    from segsuite.verbs.runs import predict as run_predict

    with case_progress("predicting") as progress:
        outcome = run_predict(
            model,
            inputs,
            out,
            data_root=data_root,
            fold=parse_fold(fold),
            shard=parse_shard(shard),
            overwrite=overwrite,
            save_probabilities=save_probabilities,
            series_uid=series_uid,
            attributes=attributes,
            overrides=set_ or (),
            force=force,
            device=device,
            threads=workers,
            on_start=progress.start,
            on_case=progress.case,
        )
    if as_json:
        print_json({"done": outcome.n_done, "skipped": outcome.n_skipped, "failed": outcome.failures})
    say(f"{out}: {outcome.n_done} done, {outcome.n_skipped} were done before, {len(outcome.failures)} failed")
    raise typer.Exit(outcome.exit_code)


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of masks, or a manifest.")],
    references: Annotated[Path, typer.Argument(help="Folder of masks, or a manifest; decides which cases count.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the tables go.")],
    data_root: DataRoot = None,
    fold: Fold = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="TSV, CSV or JSON that names the integers.")] = None,
    tolerance: Annotated[list[float] | None, typer.Option("--tolerance", help="Surface Dice tolerance in mm.")] = None,
    instances: Annotated[list[str] | None, typer.Option("--instances", help="Count this label's separate objects.")] = None,
    least_iou: Annotated[float, typer.Option("--least-iou", min=0.01, max=1.0, help="Overlap of matching objects.")] = 0.1,
    tubes: Annotated[list[str] | None, typer.Option("--tubes", help="Compare this label's centre line, foot to head.")] = None,
    thirds: Annotated[bool, typer.Option("--thirds", help="Dice also by lower, middle and upper third.")] = False,
    workers: Workers = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Dice, volumes and surface distances in mm. A missing prediction counts as missed."""
    from segsuite.verbs.runs import TOLERANCES_MM
    from segsuite.verbs.runs import evaluate as run_evaluate

    with case_progress("evaluating") as progress:
        evaluation = run_evaluate(
            predictions,
            references,
            out,
            data_root=data_root,
            fold=parse_fold(fold),
            labels=labels,
            tolerances_mm=tolerance or TOLERANCES_MM,
            instances=instances or (),
            least_iou=least_iou,
            tubes=tubes or (),
            thirds=thirds,
            workers=worker_count(workers),
            seed=seed,
            on_start=progress.start,
            on_case=progress.case,
        )
    if as_json:
        print_json(evaluation.summary)
    _print_scores(evaluation.summary)
    for case, reason in list(evaluation.problems.items())[:20]:
        say(f"case {case} counts as missed: {reason}")
    say(f"{out / 'metrics_per_case.csv'}, {out / 'metrics_summary.json'}")
    raise typer.Exit(evaluation.exit_code)


def compare(
    evaluations: Annotated[list[Path], typer.Argument(help="Evaluation or run folders; the first is the baseline.")],
    metric: Annotated[list[str] | None, typer.Option("--metric", help="What to compare by; default dice and hd95.")] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Is one better, by how much, and can it be claimed? Paired by case, intervals over patients, Holm over structures."""
    from dataclasses import asdict

    from segsuite.verbs.judging import compare as run_compare

    compared = run_compare(evaluations, metrics=metric or ["dice", "hd95"], seed=seed)
    if as_json:
        print_json([{"against_first": name, **asdict(comparison)} for name, comparison in compared])
    columns = ("compared", "structure", "metric", "difference", "95 % interval", "better/worse", "p (Holm)")
    print_table(columns, [_comparison_row(name, comparison) for name, comparison in compared])
    for _, comparison in compared:
        say(comparison.sentence)


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, or one that holds evaluation/ or predictions/.")],
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
    dpi: Annotated[int, typer.Option("--dpi", min=50, help="Dots per inch of a PNG.")] = 200,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw a picture for a paper: three slices with the outlines of masks."""
    from segsuite.verbs.judging import draw_overlay

    say(str(draw_overlay(image, mask, reference, out, dpi=dpi)))


def _print_scores(summary: dict[str, Any]) -> None:
    metrics = ("dice", "hd95", "assd", "volume_difference")
    rows = []
    for name, entry in summary["structures"].items():
        cells = [_cell(entry[metric]) for metric in metrics]
        dice = entry["dice"]
        rows.append((name, *cells, f"{dice['n_scored']} of {dice['n_expected']}, {dice['n_missed']} missed"))
    mean = summary["mean"]["dice"]
    rows.append(("mean", "-" if mean is None else f"{mean:.3f}", "", "", "", ""))
    print_table(("structure", "Dice", "HD95 mm", "ASSD mm", "volume difference ml", "cases"), rows)


def _cell(entry: dict[str, Any]) -> str:
    if entry["mean"] is None:
        return "-"
    return f"{entry['mean']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


def _comparison_row(name: str, comparison: Any) -> tuple[object, ...]:
    change = comparison.difference
    span = f"{change.low:+.4g} to {change.high:+.4g}"
    wins = f"{comparison.n_better}/{comparison.n_worse} of {comparison.n_cases}"
    return (name, comparison.structure, comparison.metric, f"{change.mean:+.4g}", span, wins, f"{comparison.p_adjusted:.3g}")
