"""Words that compute: demo, train, predict."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from segsuite.cli.options import (
    Attributes,
    DataRoot,
    Device,
    Fold,
    Force,
    Isolate,
    Json,
    OutOfFold,
    Quiet,
    SaveProbabilities,
    SaveRegions,
    SeriesDescription,
    SeriesUid,
    Set,
    Strict,
    TimeLimit,
    Verbose,
    Workers,
    parse_fold,
)
from segsuite.cli.terminal import case_progress, print_json, print_scores, print_table, say, stop_on_sigterm, training_progress
from segsuite.errors import SettingsError

__all__ = ["add_to"]

Overrides = Annotated[list[str] | None, typer.Argument(help="key=value", show_default=False)]

MOST_WAITED = 0.05
"""Share of the time for data in an ordinary epoch; beyond, the user is told what helps."""


def add_to(app: typer.Typer) -> None:
    """Register the words."""
    app.command("demo", epilog="Example: segsuite demo --out demo_run")(demo)
    app.command("train", epilog="Example: segsuite train supervised/default --manifest M.json --fold 0 --out RUN")(train)
    app.command("predict", epilog="Example: segsuite predict RUN/model scans/ --out masks")(predict)


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
    print_scores(evaluation.summary)
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
    at_once: Annotated[
        int | None, typer.Option("--at-once", min=1, help="Of --fold all, trainings at the same time; default: one per GPU.")
    ] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Of --fold all: ray, or ray:cpus=4,gpus=1: a cluster.")] = None,
    device: Device = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a config. The same command goes on where a killed training stopped."""
    from segsuite.engines.ray_options import parse_engine
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
            at_once=at_once,
            cluster=parse_engine(engine),
            resume=resume,
            runtime=Runtime(device, workers, progress),
        )
    say(f"model        {run.model}")
    trained = [run.root, *sorted(run.root.glob("fold_*"))]
    for page in (folder / "report.html" for folder in trained):
        if page.is_file():
            say(f"report       {page}")
    for folder in trained:
        _say_waits(folder)


def predict(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")],
    inputs: Annotated[list[Path], typer.Argument(help="Images, DICOM, folders at any depth, zip and tar, manifests.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the masks go; they bear their images' names.")],
    data_root: DataRoot = None,
    fold: Fold = None,
    shard: Annotated[str | None, typer.Option("--shard", help="i/n: this process takes the i-th of n parts.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done; replace what is in the way.")] = False,
    save_probabilities: SaveProbabilities = False,
    save_regions: SaveRegions = False,
    series_uid: SeriesUid = None,
    series_description: SeriesDescription = None,
    attributes: Attributes = None,
    set_: Set = None,
    force: Force = False,
    strict: Strict = False,
    out_of_fold: OutOfFold = False,
    isolate: Isolate = True,
    time_limit: TimeLimit = None,
    watched: Annotated[bool, typer.Option("--watch", help="The input is a folder: segment what arrives in it.")] = False,
    engine: Annotated[str | None, typer.Option("--engine", help="ray, or ray:workers=8,cpus=4,gpus=0.5: a cluster.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what memory and time it would take here.")] = False,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Segment images. A restart skips exactly what is done and unchanged; one bad case never stops the others.

    SIGTERM finishes the case in hand.
    """
    _check_words(inputs, isolate=isolate, time_limit=time_limit, watched=watched, out_of_fold=out_of_fold, engine=engine)
    if isolate and engine is None and not dry_run:
        _start_early(context)
    from segsuite.engines.inputs import parse_shard
    from segsuite.engines.ray_options import parse_engine

    how: dict[str, Any] = {"data_root": data_root, "fold": parse_fold(fold), "shard": parse_shard(shard), "device": device}
    how |= {"overrides": set_ or (), "threads": workers}
    if dry_run:
        _show_forecast(model, inputs, how, _where(out, series_uid, series_description), as_json=as_json)
        return
    how |= {
        "overwrite": overwrite,
        "save_probabilities": save_probabilities,
        "save_regions": save_regions,
        "series_uid": series_uid,
        "series_description": series_description,
        "attributes": attributes,
        "force": force,
        "strict": strict,
        "isolate": isolate,
        "time_limit_s": time_limit,
        "cluster": parse_engine(engine),
    }
    outcome, left_out = _predicted(model, inputs, out, how, watched=watched, out_of_fold=out_of_fold)
    _show_outcome(outcome, out, left_out, as_json=as_json)


def _predicted(
    model: Path, inputs: list[Path], out: Path, how: dict[str, Any], *, watched: bool, out_of_fold: bool
) -> tuple[Any, Counter[str]]:
    from segsuite.verbs.out_of_fold import predict_out_of_fold
    from segsuite.verbs.predicting import predict as run_predict
    from segsuite.verbs.spreading import watch

    left_out: Counter[str] = Counter()
    with stop_on_sigterm() as stop, case_progress("predicting") as progress:
        how = {**how, "stop": stop, "on_case": progress.case}
        if watched:
            say(f"watching {inputs[0]}")
            return watch(model, inputs[0], out, **how, on_left_out=lambda now: _replace(left_out, now)), left_out
        run = predict_out_of_fold if out_of_fold else run_predict
        return run(model, inputs, out, on_start=progress.start, on_left_out=left_out.update, **how), left_out


def _replace(counts: Counter[str], by: Counter[str]) -> None:
    counts.clear()
    counts.update(by)


def _check_words(
    inputs: list[Path], *, isolate: bool, time_limit: float | None, watched: bool, out_of_fold: bool, engine: str | None
) -> None:
    if time_limit is not None and not isolate:
        raise SettingsError("--time-limit must have a process that can be ended, got --no-isolate. Leave that away.")
    if out_of_fold and (watched or engine is not None):
        raise SettingsError("--out-of-fold must go over scans that are there, on this machine: leave --watch and --engine away.")
    if watched and len(inputs) != 1:
        raise SettingsError(f"--watch must have one folder, got {len(inputs)} inputs.")


def _start_early(context: typer.Context) -> None:
    """Start the process that segments while the cases are still looked up."""
    from segsuite.engines.spare_process import spare_process

    context.with_resource(spare_process("segsuite.engines.model_predictor"))


def _say_waits(root: Path) -> None:
    """Whether a training was held up by loading, and what helps."""
    from segsuite.engines.run_folder import RunFolder, share_waited

    share = share_waited(RunFolder(root).history)
    if share is not None and share > MOST_WAITED:
        say(
            f"{root}: the network waited for data {share:.0%} of the time. More loader processes (--workers), or a faster disk "
            "for the cache (--cache-dir), would shorten the training"
        )


def _where(out: Path, series_uid: str | None, series_description: str | None) -> Any:
    from segsuite.engines.inputs import SearchOptions
    from segsuite.volumes.finding import SeriesChoice

    return SearchOptions(SeriesChoice(series_uid, series_description), out)


def _show_forecast(model: Path, inputs: list[Path], how: dict[str, Any], where: Any, *, as_json: bool) -> None:
    from segsuite.verbs.forecasting import forecast_prediction
    from segsuite.volumes.finding import left_out_text

    found = forecast_prediction(model, inputs, **how, where=where)
    if as_json:
        print_json(found)
        return
    largest = found["largest"]
    print_table(("memory", "GB"), list(largest["memory_gb"].items()), title=f"{largest['case']}, {largest['shape']}, at its peak")
    say(f"{found['cases']} cases, {len(found['unreadable'])} of them unreadable")
    if text := left_out_text(Counter(found["left_out"])):
        say(text)
    say(f"peak memory  {found['peak_gb']:.2f} GB of {found['free_gb']:.2f} free")
    say(f"network      {found['network_minutes']:.1f} minutes, {found['window_seconds']:.3f} s a pass")


def _show_outcome(outcome: Any, out: Path, left_out: Counter[str], *, as_json: bool) -> NoReturn:
    from segsuite.engines.first_look import remarks
    from segsuite.engines.ledger import read_ledger
    from segsuite.volumes.finding import left_out_text

    if as_json:
        counts = {"done": outcome.n_done, "skipped": outcome.n_skipped, "failed": outcome.failures}
        print_json({**counts, "left_out": dict(left_out)})
    if text := left_out_text(left_out):
        say(text)
    say(f"{out}: {outcome.n_done} done, {outcome.n_skipped} were done before, {len(outcome.failures)} failed")
    for sentence in remarks(read_ledger(out)):
        say(f"note: {sentence}")
    if outcome.n_done:
        how = f"the network ({outcome.computed_by})" if outcome.computed_by else "the network"
        say(f"{how} was busy {outcome.busy_share:.0%} of the time, otherwise it waited for reading or writing")
    raise typer.Exit(outcome.exit_code)
