"""Train, export, predict: read top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipelines.supervised.losses import supervised_loss, supervised_regions_loss
from pipelines.supervised.module import SupervisedModule
from pipelines.supervised.network import build_network, expect_little, network_arguments
from pipelines.supervised.settings import Settings
from segsuite.data.augmentation import IntensityAugmentation
from segsuite.data.cache import PreparedCase
from segsuite.data.datasets import PatchDataset
from segsuite.data.spatial import SpatialAugmentation
from segsuite.engines.averaged_training import as_settings_say, fit_on_patches
from segsuite.engines.checkpoints import BEST
from segsuite.engines.cohort import Cohort, open_cohort
from segsuite.engines.components import labels_to_reduce
from segsuite.engines.devices import choose_device, choose_precision
from segsuite.engines.finetuning import inherited_plan, load_fitting_weights
from segsuite.engines.inference import WindowInference
from segsuite.engines.model_card import describe, model_card
from segsuite.engines.model_folder import write_model_folder
from segsuite.engines.model_predictor import model_of_pipeline
from segsuite.engines.planning import Plan, plan_once
from segsuite.engines.processes import rank
from segsuite.engines.run_folder import RunFolder
from segsuite.pipeline import Runtime

__all__ = ["train"]


def train(settings: Settings, run: RunFolder, runtime: Runtime) -> None:
    """Plan, prepare, train, export.

    Args:
        settings: Validated settings.
        run: An open run folder.
        runtime: Device, workers, progress.
    """
    device = choose_device(runtime.device)
    cohort = open_cohort(
        settings.data.model_dump(),
        run,
        workers=runtime.workers,
        tell=runtime.tell,
        with_regions=settings.training.regions,
    )
    n_outputs = len(cohort.class_regions or cohort.class_labels)
    plan = plan_once(run, cohort, on_gpu=device.type == "cuda", overrides=settings.plan.model_dump(), tell=runtime.tell)
    start = None if settings.finetune is None else model_of_pipeline(Path(settings.finetune), pipeline="supervised")
    if start is not None:
        plan = inherited_plan(plan, start)
    training, held_out = cohort.prepare(plan.preprocessing, tell=runtime.tell)
    arguments = network_arguments(
        plan,
        n_channels=cohort.manifest.n_channels,
        n_classes=n_outputs,
        n_supervised=settings.training.deep_supervision,
        architecture=settings.slice_network.architecture,
        encoder=settings.slice_network.encoder,
    )
    windows = _windows(settings, plan, n_outputs, device, sigmoid=cohort.class_regions is not None)
    module = _module(settings, plan, arguments, cohort, windows)
    if start is not None:
        fresh = load_fitting_weights(module.network, start)
        module.average.module.load_state_dict(module.network.state_dict())
        runtime.tell(f"starting from {settings.finetune}, {len(fresh)} parameters fresh", 0.0)
    validation = held_out[: settings.training.validation_cases]
    minutes = fit_on_patches(
        module,
        _patches(settings, plan, training, on_gpu=device.type == "cuda"),
        validation,
        run,
        training=settings.training.model_dump(),
        batch_size=plan.batch_size,
        workers=cohort.workers,
        tell=runtime.tell,
        doing=lambda: "training",
    )
    if rank() > 0:
        return
    _export(settings, run, cohort, plan, arguments, module, validation, windows, minutes)


def _module(
    settings: Settings, plan: Plan, arguments: dict[str, Any], cohort: Cohort, windows: WindowInference
) -> SupervisedModule:
    torch.manual_seed(settings.seed)
    chance, training = settings.augmentation, settings.training
    network = build_network({**arguments, **_pretrained(settings, arguments)})
    if cohort.class_regions is not None:
        expect_little(network)
    return SupervisedModule(
        network,
        loss=_loss(cohort, label_smoothing=training.label_smoothing),
        augmentation=IntensityAugmentation().scaled(chance.intensity, mirror_axes=plan.mirror_axes),
        windows=windows,
        structures=cohort.class_regions or cohort.class_names,
        seed=settings.seed,
        **as_settings_say(settings.training.model_dump()),
    )


def _loss(cohort: Cohort, *, label_smoothing: float) -> Any:
    """Of single labels, or of regions one by one."""
    if cohort.class_regions is None:
        return partial(supervised_loss, label_smoothing=label_smoothing)
    membership = torch.from_numpy(cohort.class_regions.membership(len(cohort.class_labels)))
    return partial(supervised_regions_loss, membership=membership, label_smoothing=label_smoothing)


def _patches(settings: Settings, plan: Plan, training: list[PreparedCase], *, on_gpu: bool) -> PatchDataset:
    chance = settings.augmentation
    spatial = SpatialAugmentation(
        rotate_probability=chance.rotate_probability,
        rotate_degrees=chance.rotate_degrees,
        scale_probability=chance.scale_probability,
        scale_range=chance.scale_range,
        in_plane_only=plan.is_anisotropic,
    )
    return PatchDataset(
        training,
        patch_size=plan.patch_size,
        spacing_mm=plan.spacing_mm,
        seed=settings.seed,
        foreground_share=settings.training.foreground_share,
        spatial=None if plan.dimensions == 2 else spatial,
        slice_augmentation=_slice_augmentation(settings) if plan.dimensions == 2 else None,
        turn_on_gpu=on_gpu,
    )


def _slice_augmentation(settings: Settings) -> Any:
    from segsuite.data.slice_transforms import slice_augmentation  # albumentations loads slowly; 3-D does without

    chance = settings.augmentation
    return slice_augmentation(rotate_degrees=chance.rotate_degrees, scale_range=chance.scale_range, flip=False)


def _pretrained(settings: Settings, arguments: dict[str, Any]) -> dict[str, Any]:
    weights = settings.slice_network.encoder_weights
    return {"encoder_weights": weights} if arguments["kind"] == "slice_network" and weights else {}


def _windows(settings: Settings, plan: Plan, n_classes: int, device: torch.device, *, sigmoid: bool) -> WindowInference:
    return WindowInference(
        patch_size=plan.patch_size,
        n_classes=n_classes,
        overlap=settings.inference.overlap,
        mirror_axes=plan.mirror_axes if settings.inference.mirror else (),
        precision=choose_precision(settings.training.precision, device),
        device=device,
        sigmoid=sigmoid,
    )


def _export(
    settings: Settings,
    run: RunFolder,
    cohort: Cohort,
    plan: Plan,
    arguments: dict[str, Any],
    module: SupervisedModule,
    validation: list[PreparedCase],
    windows: WindowInference,
    minutes: float,
) -> None:
    """Write the model folder: the averaged weights, of the best validation if training could stop early."""
    best = run.checkpoints / BEST
    if settings.training.may_stop_early and best.is_file():
        module.load_state_dict(torch.load(best, weights_only=True)["state_dict"])
    average = module.average.module.eval()
    wanted = settings.inference.largest_component
    regions = cohort.class_regions
    reduced: Sequence[int | str] = tuple(cohort.class_names) if regions is None else regions.names
    reduced = reduced if wanted == "all" else ()
    scores: dict[str, float] = {}
    if validation:
        chosen, scores = labels_to_reduce(average.to(windows.device), validation, windows, module.structures)
        reduced = chosen if wanted == "auto" else reduced
    description = describe(
        cohort,
        pipeline=settings.pipeline,
        name=settings.name,
        preprocessing=plan.preprocessing,
        network=arguments,
        inference={
            "patch_size": list(windows.patch_size),
            "overlap": windows.overlap,
            "mirror_axes": list(windows.mirror_axes),
            "precision": settings.training.precision,
            "largest_component": [index if isinstance(index, str) else cohort.class_labels[index] for index in reduced],
        },
        training={"minutes": round(minutes, 2), "steps": int(module.global_step), "validation_dice": scores},
        sided_labels=plan.sided,
    )
    write_model_folder(run.model, weights=average.state_dict(), description=description, card=model_card(description))
