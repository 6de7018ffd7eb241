"""Words that compute: train, demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segsuite.data.manifest import read_manifest
from segsuite.engines.model_folder import write_ensemble
from segsuite.engines.processes import rank
from segsuite.engines.run_folder import RunFolder, open_run
from segsuite.errors import SettingsError
from segsuite.pipeline import Pipeline, Runtime, find_pipeline
from segsuite.reports.page import write_report
from segsuite.settings import PipelineSettings, as_yaml, read_config, validated
from segsuite.shipped import find_manifest
from segsuite.verbs.evaluating import Evaluation, evaluate
from segsuite.verbs.predicting import predict

__all__ = [
    "demo",
    "fold_overrides",
    "load_settings",
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
