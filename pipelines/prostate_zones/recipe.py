"""Train both stages, export, predict: read top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pipelines.prostate_zones.label_tables import CODES, require_order
from pipelines.prostate_zones.module import SecondStage, ZoneModule
from pipelines.prostate_zones.network import build_network
from pipelines.prostate_zones.settings import Settings
from pipelines.prostate_zones.targets import ZoneTargets
from segsuite.data.augmentation import IntensityAugmentation
from segsuite.data.cache import PreparedCase
from segsuite.data.datasets import PatchDataset
from segsuite.data.spatial import SpatialAugmentation
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.averaged_training import as_settings_say, fit_on_patches
from segsuite.engines.checkpoints import BEST
from segsuite.engines.cohort import Cohort, open_cohort
from segsuite.engines.components import labels_to_reduce
from segsuite.engines.devices import choose_device, choose_precision
from segsuite.engines.finetuning import load_fitting_weights
from segsuite.engines.inference import WindowInference
from segsuite.engines.model_card import describe, model_card
from segsuite.engines.model_folder import ModelFolder, write_model_folder
from segsuite.engines.model_predictor import model_of_pipeline
from segsuite.engines.processes import rank
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.shares import class_shares
from segsuite.engines.sides import mirrored_in_prepared, sided_names, why_not_mirrored
from segsuite.errors import ModelError, SettingsError, closest_hint
from segsuite.pipeline import Runtime

__all__ = ["train"]

NAME = "prostate_zones"
LEFT_RIGHT = 0
"""The only axis along which a prostate may be mirrored; not where zones are told apart by side."""
N_GUARD_CASES = 3


def train(settings: Settings, run: RunFolder, runtime: Runtime) -> None:
    """Prepare, train both stages, export.

    Args:
        settings: Validated settings.
        run: An open run folder.
        runtime: Device, workers, progress.
    """
    device = choose_device(runtime.device)
    cohort = open_cohort(settings.data.model_dump(), run, workers=runtime.workers, tell=runtime.tell)
    start = None if settings.finetune is None else _start(settings.finetune, cohort)
    preprocessing = _preprocessing(settings) if start is None else Preprocessing.from_json(start.description["preprocessing"])
    arguments = _network_arguments(settings, cohort) if start is None else start.description["network"]
    training, held_out = cohort.prepare(preprocessing, tell=runtime.tell)
    require_order(training, cohort.class_labels, cohort.class_names)
    unlabelled = cohort.prepare_unlabelled(preprocessing) if settings.co_training.unlabelled_share > 0 else []
    mirrored = mirrored_in_prepared(training, cohort.class_names, preprocessing.spacing_mm or (1.0, 1.0, 1.0))
    sided = sided_names(list(cohort.class_names.values()), mirrored)
    if sided:
        runtime.tell(f"no left-right flips: {why_not_mirrored(sided, mirrored)}", 0.0)
    windows = _windows(settings, len(cohort.class_labels), device, is_sided=bool(sided))
    validation = held_out[: settings.training.validation_cases]
    module = _module(settings, arguments, cohort, windows, training, validation, start, is_sided=bool(sided))
    minutes = fit_on_patches(
        module,
        _patches(settings, preprocessing, cohort, training, unlabelled),
        validation,
        run,
        training=settings.training.model_dump(),
        batch_size=settings.training.batch_size,
        workers=cohort.workers,
        tell=runtime.tell,
        doing=lambda: f"training, stage {module.stage}",
    )
    if rank() > 0:
        return
    _export(settings, run, cohort, preprocessing, arguments, module, validation, windows, minutes, sided)


def _start(path: str, cohort: Cohort) -> ModelFolder:
    """The model to fine-tune, which must know the same zones by the same numbers."""
    model = model_of_pipeline(Path(path), pipeline=NAME)
    if model.labels != cohort.manifest.labels:
        raise ModelError(
            f"{path} must have the labels of the manifest, {cohort.manifest.labels}, got {model.labels}. Give the manifest the "
            "model's `labels` and, where masks show only some of them, say which in each case's `labelled`."
        )
    return model


def _preprocessing(settings: Settings) -> Preprocessing:
    image = settings.image
    scheme = Normalisation("percentile", low=image.low_percentile, high=image.high_percentile)
    return Preprocessing(image.spacing_mm, (scheme,), image.region_mm)


def _network_arguments(settings: Settings, cohort: Cohort) -> dict[str, Any]:
    network = settings.network
    index_of = {name: index for index, name in cohort.class_names.items()}
    for name in {zone for branch in network.branches for zone in branch}:
        if name not in index_of:
            raise SettingsError(
                f"`network.branches` must name zones of the manifest, {sorted(index_of)}, got `{name}`. "
                f"{closest_hint(name, index_of)} For another zone set give other branches, for example "
                "network.branches='[[peripheral_zone,transition_zone]]' co_training.share=0."
            )
    if missing := sorted(set(index_of) - {zone for branch in network.branches for zone in branch}):
        raise SettingsError(f"`network.branches` must hold every structure of the manifest, got none with {missing}.")
    return {
        "in_channels": cohort.manifest.n_channels,
        "branches": [[index_of[zone] for zone in branch] for branch in network.branches],
        "channels": list(network.channels),
        "strides": [list(stride) for stride in network.strides],
        "norm": network.norm,
        "dropout": network.dropout,
        "flat_stages": network.flat_stages,
        "share_encoder": network.share_encoder,
        "auxiliary": [task for task, weight in network.auxiliary.model_dump().items() if weight > 0],
    }


def _module(
    settings: Settings,
    arguments: dict[str, Any],
    cohort: Cohort,
    windows: WindowInference,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    start: ModelFolder | None,
    *,
    is_sided: bool,
) -> ZoneModule:
    torch.manual_seed(settings.seed)
    chosen, stage = settings.training, settings.co_training
    shares = class_shares(training, n_classes=len(cohort.class_labels), seed=settings.seed)
    network = build_network(arguments)
    if settings.network.prior_bias:
        network.network.start_from_prior(dict(enumerate(shares)))
    if start is not None:
        load_fitting_weights(network, start)  # before the average copies it
    return ZoneModule(
        network,
        shares=shares,
        auxiliary=settings.network.auxiliary.model_dump(),
        second_stage=SecondStage(**stage.model_dump(exclude={"unlabelled_share"})),
        loss=chosen.loss,
        learned_weights=chosen.learned_weights,
        augmentation=IntensityAugmentation().scaled(settings.augmentation.intensity, mirror_axes=_mirror_axes(is_sided)),
        guard_cases=(validation or training)[:N_GUARD_CASES],
        windows=windows,
        structures=cohort.class_names,
        seed=settings.seed,
        **as_settings_say(settings.training.model_dump()),
    )


def _mirror_axes(is_sided: bool) -> tuple[int, ...]:
    return () if is_sided else (LEFT_RIGHT,)


def _patches(
    settings: Settings,
    preprocessing: Preprocessing,
    cohort: Cohort,
    training: list[PreparedCase],
    unlabelled: list[PreparedCase],
) -> PatchDataset:
    chance, spacing = settings.augmentation, preprocessing.spacing_mm or settings.image.spacing_mm
    return PatchDataset(
        training,
        patch_size=settings.image.patch_size,
        spacing_mm=spacing,
        seed=settings.seed,
        foreground_share=settings.training.foreground_share,
        spatial=SpatialAugmentation(
            rotate_probability=chance.rotate_probability,
            rotate_degrees=chance.rotate_degrees,
            scale_probability=chance.scale_probability,
            scale_range=chance.scale_range,
            in_plane_only=False,
        ),
        unlabelled=unlabelled,
        unlabelled_share=settings.co_training.unlabelled_share,
        more_targets=ZoneTargets(
            ("background", *cohort.class_names.values()), spacing, with_distances=settings.network.auxiliary.sdm > 0
        ),
    )


def _windows(settings: Settings, n_classes: int, device: torch.device, *, is_sided: bool) -> WindowInference:
    return WindowInference(
        patch_size=settings.image.patch_size,
        n_classes=n_classes,
        overlap=settings.inference.overlap,
        mirror_axes=_mirror_axes(is_sided) if settings.inference.mirror else (),
        precision=choose_precision(settings.training.precision, device),
        device=device,
        gives_probabilities=True,
        n_extra=1,
    )


def _export(
    settings: Settings,
    run: RunFolder,
    cohort: Cohort,
    preprocessing: Preprocessing,
    arguments: dict[str, Any],
    module: ZoneModule,
    validation: list[PreparedCase],
    windows: WindowInference,
    minutes: float,
    sided: Sequence[str],
) -> None:
    """Write the model folder: the averaged weights, of the best validation if training could stop early."""
    best = run.checkpoints / BEST
    if settings.training.may_stop_early and best.is_file():
        module.load_state_dict(torch.load(best, weights_only=True)["state_dict"])
    average = module.average.module.eval()
    scores = labels_to_reduce(average.to(windows.device), validation, windows, module.structures)[1] if validation else {}
    start = float(module.stage_2_start)
    inference = settings.inference
    description = describe(
        cohort,
        pipeline=settings.pipeline,
        name=settings.name,
        preprocessing=preprocessing,
        network=arguments,
        inference={
            "patch_size": list(windows.patch_size),
            "overlap": windows.overlap,
            "mirror_axes": list(windows.mirror_axes),
            "precision": settings.training.precision,
            "largest_component": [],
            "region": inference.region,
            "post_processing": inference.post_processing,
            "uncertainty": inference.uncertainty,
        },
        sided_labels=sided,
        training={
            "minutes": round(minutes, 2),
            "steps": int(module.global_step),
            "validation_dice": scores,
            "second_stage": {
                "began_at": round(start, 4) if module.stage == 2 else None,
                "zones_not_found": module.lost_zones() if module.stage == 1 and settings.co_training.share else [],
            },
            "finetuned_from": settings.finetune,
        },
    )
    description["codes"] = {name: CODES[name] for name in cohort.class_names.values() if name in CODES}
    write_model_folder(run.model, weights=average.state_dict(), description=description, card=model_card(description))
