"""Words that compute: train, demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segsuite.data.manifest import read_manifest
from segsuite.engines.model_folder import write_ensemble
from segsuite.engines.processes import Tell, default_workers, rank, world_size
from segsuite.engines.ray_options import RayOptions
from segsuite.engines.run_folder import RunFolder, open_run
from segsuite.engines.side_by_side import Job, run_side_by_side
from segsuite.engines.split_record import require_same_manifest
from segsuite.errors import ModelError, SettingsError
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
    at_once: int | None = None,
    cluster: RayOptions | None = None,
    resume: bool = False,
    runtime: Runtime,
) -> RunFolder:
    """Train a config; with several folds, each in a folder of its own and an ensemble on top.

    Folds are trained side by side where there are several CUDA devices, one on each.

    Args:
        config: File or shipped name.
        overrides: ``dotted.key=value``.
        out: Run folder; default ``runs/<name>``.
        folds: Folds to train; ``None``: the one in the settings.
        at_once: How many of them at the same time; ``None``: as many as CUDA devices.
        cluster: Train the folds on a Ray cluster instead.
        resume: Refuse to start anew.
        runtime: Device, workers, progress.

    Returns:
        The run folder.

    Raises:
        ModelError: Folds that failed beside others; what is done is kept.
        SettingsError: Something for several folds, and there is one; or in one of several processes of one training.
    """
    if folds is None:
        if at_once is not None or cluster is not None:
            raise SettingsError("--at-once and --engine must have several folds, got one training. Add --fold all.")
        return _train_one(config, overrides, out, resume, runtime)
    root = (out or Path("runs") / load_settings(config, overrides)[1].name).absolute()
    shared = [] if any(text.startswith("data.cache_dir=") for text in overrides) else [f"data.cache_dir={root / 'cache'}"]
    trainings = [
        _Fold(config, (*overrides, *shared, f"data.fold={fold}"), root / f"fold_{fold}", resume and fold == folds[0])
        for fold in folds
    ]
    _train_folds(trainings, at_once, cluster, runtime)
    members = [RunFolder(training.out).model for training in trainings]
    card = f"# Ensemble of {len(members)} folds of {config}\n\nPrediction averages the members' probabilities.\n"
    write_ensemble(root / "model", members, card=card)
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


@dataclass(frozen=True)
class _Fold:
    """One of several trainings of a config; works in any process."""

    config: str
    overrides: tuple[str, ...]
    out: Path
    resume: bool
    devices: tuple[str, ...] = ("auto",)
    workers: int | None = None

    def __call__(self, place: int, tell: Tell) -> None:
        """Train it as the one of several at once that has this place."""

        def progress(doing: str, share: float, numbers: dict[str, float]) -> None:
            tell(doing, share, **numbers)

        runtime = Runtime(self.devices[place % len(self.devices)], self.workers, progress)
        _train_one(self.config, self.overrides, self.out, self.resume, runtime)


def _train_folds(folds: Sequence[_Fold], at_once: int | None, cluster: RayOptions | None, runtime: Runtime) -> None:
    """One after the other in this process, side by side, or on a cluster."""
    from segsuite.engines.devices import devices_of  # loads torch

    devices, workers = devices_of(runtime.device), runtime.workers
    if cluster is not None:
        devices = [runtime.device]
        workers = default_workers(max(1, int(cluster.cpus))) if workers is None else workers
    n = min(len(folds), at_once or (len(devices) if world_size() == 1 else 1))
    if world_size() > 1 and (n > 1 or cluster is not None):
        raise SettingsError(f"--at-once must be 1 where {world_size()} processes share one training, got {n}.")
    folds = [replace(fold, devices=tuple(devices), workers=workers) for fold in folds]
    if n == 1 and cluster is None:
        for fold in folds:
            fold(0, runtime.tell)
        return
    jobs = [Job(fold.out.name, fold, fold.out.with_name(f"{fold.out.name}.log")) for fold in folds]
    if cluster is not None:
        from segsuite.engines.ray_jobs import run_on_ray  # Ray is an extra

        failures = run_on_ray(jobs, cluster=cluster, tell=runtime.tell)
    else:
        failures = run_side_by_side(jobs, at_once=n, tell=runtime.tell)
    if failures:
        reasons = "; ".join(f"{job.name}: {failures[job.name]}" for job in jobs if job.name in failures)
        raise ModelError(
            f"All {len(folds)} folds must be trained, but {len(failures)} failed: {reasons}. The same command goes on."
        )


def _train_one(config: str, overrides: Sequence[str], out: Path | None, resume: bool, runtime: Runtime) -> RunFolder:
    pipeline, settings = load_settings(config, overrides)
    root = out or Path("runs") / settings.name
    run = open_run(root, settings=settings.model_dump(mode="json"), settings_yaml=as_yaml(settings), must_exist=resume)
    if run.is_trained:
        require_same_manifest(run.split, settings.data.manifest, settings.data.fold)
    else:
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
