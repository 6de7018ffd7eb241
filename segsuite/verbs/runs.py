"""Words that compute: train, predict, demo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from segsuite.data.manifest import read_manifest
from segsuite.engines.devices import set_threads
from segsuite.engines.inputs import InputCase, find_inputs, take_shard, with_attributes
from segsuite.engines.isolation import predict_isolated
from segsuite.engines.model_folder import read_model_folder, write_ensemble
from segsuite.engines.prediction import BatchOptions, Outcome, ignore, predict_cases
from segsuite.engines.processes import rank
from segsuite.engines.run_folder import RunFolder, open_run
from segsuite.engines.segmentation import Predictor
from segsuite.errors import SettingsError
from segsuite.files import make_folder, write_text
from segsuite.pipeline import Pipeline, Runtime, find_pipeline
from segsuite.reports.page import write_report
from segsuite.settings import PipelineSettings, as_yaml, parsed_overrides, read_config, validated
from segsuite.shipped import find_manifest
from segsuite.verbs.evaluating import Evaluation, evaluate

__all__ = [
    "demo",
    "fold_overrides",
    "load_settings",
    "open_predictor",
    "predict",
    "train",
]


def load_settings(config: str, overrides: Sequence[str] = ()) -> tuple[Pipeline, PipelineSettings]:
    """A config's pipeline and its validated settings.

    Args:
        config: File or shipped name.
        overrides: ``dotted.key=value``.

    Returns:
        Pipeline and settings.

    Raises:
        SettingsError: Anything wrong with them.
    """
    content = read_config(config, overrides)
    if not isinstance(content.get("pipeline"), str):
        raise SettingsError(f"{config} must begin with `pipeline: NAME`, got {content.get('pipeline')!r}.")
    pipeline = find_pipeline(content["pipeline"])
    return pipeline, validated(content, pipeline.settings_class, source=config)


def train(
    config: str,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    folds: Sequence[int] | None = None,
    resume: bool = False,
    runtime: Runtime,
) -> RunFolder:
    """Train a config; with several folds, each in a folder of its own and an ensemble on top.

    Args:
        config: File or shipped name.
        overrides: ``dotted.key=value``.
        out: Run folder; default ``runs/<name>``.
        folds: Folds to train one after the other; ``None``: the one in the settings.
        resume: Refuse to start anew.
        runtime: Device, workers, progress.

    Returns:
        The run folder.
    """
    if folds is None:
        return _train_one(config, overrides, out, resume, runtime)
    root = out or Path("runs") / load_settings(config, overrides)[1].name
    shared = [] if any(text.startswith("data.cache_dir=") for text in overrides) else [f"data.cache_dir={root / 'cache'}"]
    members = []
    for fold in folds:
        part = [*overrides, *shared, f"data.fold={fold}"]
        members.append(_train_one(config, part, root / f"fold_{fold}", resume and fold == folds[0], runtime))
    card = f"# Ensemble of {len(members)} folds of {config}\n\nPrediction averages the members' probabilities.\n"
    write_ensemble(root / "model", [member.model for member in members], card=card)
    return RunFolder(root)


def predict(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    save_probabilities: bool = False,
    series_uid: str | None = None,
    attributes: Path | None = None,
    overrides: Sequence[str] = (),
    force: bool = False,
    device: str = "auto",
    threads: int | None = None,
    isolate: bool = False,
    time_limit_s: float | None = None,
    choose: Callable[[Sequence[InputCase]], list[InputCase]] = list,
    stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[int], None] | None = None,
    on_case: Callable[[str, str], None] = ignore,
) -> Outcome:
    """Segment files, folders or a manifest with a model folder.

    Args:
        model: Model or run folder.
        inputs: Files, folders, DICOM folders, manifests.
        out: Where the masks go.
        data_root: For manifests.
        fold: For manifests, only this fold.
        shard: This process's part of how many, counted from 1.
        overwrite: Do again what is done.
        save_probabilities: Also write one volume per class.
        series_uid: For DICOM folders with several series: which one.
        attributes: Table with a column ``case`` and what else is known of each case.
        overrides: ``key=value`` of how the model is applied.
        force: Segment also what the model takes for another kind of image.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: Of the network on a CPU; ``None``: one per core.
        isolate: In a process of its own, so that a case that kills it costs only itself.
        time_limit_s: For one case; needs ``isolate``.
        choose: Which of the cases to segment now.
        stop: When true, the case in hand is finished and the rest is left.
        on_start: Called with the number of cases.
        on_case: Called with case id and result.

    Returns:
        Counts and failures.
    """
    folder = read_model_folder(model)
    load = partial(open_predictor, folder.path, device=device, overrides=tuple(overrides), threads=threads)
    cases = find_inputs(inputs, n_channels=len(folder.description["channels"]), data_root=data_root, fold=fold)
    if attributes is not None:
        cases = with_attributes(cases, attributes)
    cases = choose(take_shard(cases, shard))
    if not cases:
        return Outcome(0, 0, {})
    if on_start is not None:
        on_start(len(cases))
    table = "".join(f"{value}\t{name}\n" for name, value in folder.labels.items())
    write_text(make_folder(out) / "labels.tsv", f"index\tname\n{table}")
    options = BatchOptions(shard, overwrite, save_probabilities, series_uid, force)
    if isolate:
        return predict_isolated(cases, load, out, options, time_limit_s=time_limit_s, stop=stop, on_case=on_case)
    return predict_cases(cases, load(), out, options, stop=stop, on_case=on_case)


def open_predictor(model: Path, *, device: str, overrides: Sequence[str], threads: int | None) -> Predictor:
    """Open a model folder with the pipeline that made it.

    Args:
        model: Model or run folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        overrides: ``key=value`` of how it is applied.
        threads: Of the network on a CPU; ``None``: one per core.

    Returns:
        The predictor.
    """
    set_threads(threads)
    recipe = find_pipeline(read_model_folder(model).pipeline).recipe
    return recipe.load_predictor(model, device=device, overrides=parsed_overrides(overrides))


def demo(pipeline: str, out: Path, *, overrides: Sequence[str] = (), runtime: Runtime) -> tuple[RunFolder, Evaluation]:
    """Phantom cohort, training, prediction of the held-out fold, evaluation, report: a complete run folder.

    Args:
        pipeline: Whose ``phantom`` config.
        out: Run folder.
        overrides: ``dotted.key=value``.
        runtime: Device, workers, progress.

    Returns:
        The run folder and the evaluation.
    """
    run = train(f"{pipeline}/phantom", overrides=overrides, out=out, runtime=runtime)
    manifest = run.root / "cohort" / "manifest.json"
    fold = load_settings(str(run.settings))[1].data.fold
    runtime.tell("predicting the held-out cases", 0.0)
    predict(run.model, [manifest], run.predictions, fold=fold, device=runtime.device)
    runtime.tell("evaluating", 0.0)
    evaluation = evaluate(run.predictions, manifest, run.evaluation, fold=fold)
    write_report(run.root)
    return run, evaluation


def _train_one(config: str, overrides: Sequence[str], out: Path | None, resume: bool, runtime: Runtime) -> RunFolder:
    pipeline, settings = load_settings(config, overrides)
    root = out or Path("runs") / settings.name
    run = open_run(root, settings=settings.model_dump(mode="json"), settings_yaml=as_yaml(settings), must_exist=resume)
    if not run.is_trained:
        pipeline.recipe.train(settings, run, runtime)
    if rank() == 0:
        write_report(run.root)
    return run


def fold_overrides(config: str, overrides: Sequence[str], fold: str | None) -> tuple[list[str], list[int] | None]:
    """What ``--fold`` means: a number, ``all`` folds of the manifest, ``none``; left out: fold 0 if there are folds.

    Args:
        config: File or shipped name.
        overrides: What is given besides.
        fold: The option.

    Returns:
        More overrides, and the folds to train one after the other (``None``: one training).

    Raises:
        SettingsError: Another word, or folds of a manifest that has none.
    """
    if fold is not None and fold not in ("all", "none") and not fold.isdigit():
        raise SettingsError(f"--fold must be a number, all or none, got `{fold}`.")
    if fold is not None and fold.isdigit():
        return [f"data.fold={fold}"], None
    if fold == "none":
        return ["data.fold=null"], None
    data = load_settings(config, overrides)[1].data
    if data.manifest is None:
        folds = list(range(data.phantom.n_folds)) if data.phantom is not None else []
    else:
        folds = read_manifest(find_manifest(data.manifest)).folds
    if fold == "all":
        if not folds:
            raise SettingsError("--fold all must have a manifest with folds, got none. Run `segsuite manifest split` first.")
        return [], folds
    return ([f"data.fold={folds[0]}"] if folds and data.fold is None else []), None
