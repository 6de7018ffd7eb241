"""Base training, registration at its end where asked for, prediction: read top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipelines.fewshot.anatomy import fit_regions
from pipelines.fewshot.features import base_prototypes, deploy
from pipelines.fewshot.lessons import TaughtCase, choose_cases, teach
from pipelines.fewshot.module import BaseTraining, Foreground
from pipelines.fewshot.network import OpenNetwork, build_network
from pipelines.fewshot.predictor import FewshotPredictor
from pipelines.fewshot.registration import register
from pipelines.fewshot.settings import Settings
from pipelines.fewshot.supports import draw_supports
from segsuite.data.augmentation import IntensityAugmentation
from segsuite.data.cache import PreparedCase
from segsuite.data.datasets import PatchDataset
from segsuite.data.spatial import SpatialAugmentation
from segsuite.data.transforms import Preprocessing
from segsuite.engines.averaged_training import as_settings_say, fit_on_patches
from segsuite.engines.cohort import Cohort, open_cohort
from segsuite.engines.components import labels_to_reduce
from segsuite.engines.devices import choose_device, choose_precision
from segsuite.engines.finetuning import inherited_plan, load_fitting_weights
from segsuite.engines.inference import WindowInference
from segsuite.engines.model_card import describe, model_card
from segsuite.engines.model_folder import ModelFolder, read_model_folder, write_model_folder
from segsuite.engines.model_predictor import model_of_pipeline
from segsuite.engines.planning import Plan, plan_once
from segsuite.engines.processes import rank, wait_for_first
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError, closest_hint
from segsuite.pipeline import Runtime

__all__ = ["train"]

NAME = "fewshot"


def train(settings: Settings, run: RunFolder, runtime: Runtime) -> None:
    """Plan, prepare, teach base classes and regions, export; register novel structures if the settings ask for it.

    Args:
        settings: Validated settings.
        run: An open run folder.
        runtime: Device, workers, progress.
    """
    device = choose_device(runtime.device)
    cohort = open_cohort(settings.data.model_dump(), run, workers=runtime.workers, tell=runtime.tell)
    base, novel = _split_classes(settings.novel, cohort)
    start = _starting_model(settings)
    plan = plan_once(run, cohort, on_gpu=device.type == "cuda", overrides=settings.plan.model_dump(), tell=runtime.tell)
    if start is not None and start.pipeline == "supervised":
        plan = inherited_plan(plan, start)
    preprocessing = _preprocessing(settings, plan, start)
    training, held_out = cohort.prepare(preprocessing, tell=runtime.tell)
    seen = choose_cases(training, base=base, novel=novel, rule=settings.features.rule)
    taught = _lessons(settings, run, plan, seen, base, cohort.manifest.n_channels, runtime)
    validation = teach(
        held_out[: settings.training.validation_cases],
        base=base,
        regions=None,
        spacing_mm=plan.spacing_mm,
        folder=run.root / "lessons" / "validation",
    )
    n_inputs = cohort.manifest.n_channels + 3 * preprocessing.with_place
    arguments = _network_arguments(settings, plan, n_inputs, len(base), start)
    windows = WindowInference(
        patch_size=plan.patch_size,
        n_classes=1 + len(base),
        overlap=settings.inference.overlap,
        mirror_axes=plan.mirror_axes if settings.inference.mirror else (),
        precision=choose_precision(settings.training.precision, device),
        device=device,
        gives_probabilities=True,
        n_extra=int(arguments["foreground"]),
    )
    names = {place: cohort.class_names[index] for place, index in enumerate(base, start=1)}
    module = _module(settings, plan, arguments, windows, names, cohort.manifest.n_channels, start)
    minutes = fit_on_patches(
        module,
        _patches(settings, plan, taught, on_gpu=device.type == "cuda"),
        validation,
        run,
        training=settings.training.model_dump(),
        batch_size=plan.batch_size,
        workers=cohort.workers,
        tell=runtime.tell,
        doing=lambda: "base training",
    )
    if rank() == 0:
        _export(settings, run, cohort, preprocessing, arguments, module, taught, validation, windows, base, minutes, plan.sided)


def _split_classes(novel: Sequence[str], cohort: Cohort) -> tuple[list[int], list[int]]:
    """Class indices of base and novel structures."""
    index_of = {name: index for index, name in cohort.class_names.items()}
    for name in novel:
        if name not in index_of:
            raise SettingsError(f"`novel` must name structures of the manifest, got `{name}`. {closest_hint(name, index_of)}")
    hidden = {index_of[name] for name in novel}
    base = [index for index in cohort.class_names if index not in hidden]
    if not base:
        raise SettingsError(f"`novel` must leave structures to train on, got all of {sorted(index_of)}.")
    return base, sorted(hidden)


def _starting_model(settings: Settings) -> ModelFolder | None:
    if settings.extractor is not None and settings.finetune is not None:
        raise SettingsError("Give either `extractor` (features as they are) or --finetune, not both.")
    if settings.extractor is not None:
        return model_of_pipeline(Path(settings.extractor), pipeline="supervised")
    return None if settings.finetune is None else read_model_folder(Path(settings.finetune))


def _lessons(
    settings: Settings, run: RunFolder, plan: Plan, cases: list[PreparedCase], base: list[int], n_channels: int, runtime: Runtime
) -> list[TaughtCase]:
    folder = run.root / "lessons" / "training"
    wait_for_first(folder)
    regions = None
    if settings.features.regions:
        runtime.tell("finding pseudo-anatomy", 0.0)
        regions = fit_regions(
            cases,
            n_regions=settings.features.regions,
            n_channels=n_channels,
            spacing_mm=plan.spacing_mm,
            seed=settings.seed,
        )
    return teach(cases, base=base, regions=regions, spacing_mm=plan.spacing_mm, folder=folder)


def _preprocessing(settings: Settings, plan: Plan, start: ModelFolder | None) -> Preprocessing:
    """The plan's; a model of this pipeline that the training starts from keeps its own."""
    if start is not None and start.pipeline == NAME:
        return Preprocessing.from_json(start.description["preprocessing"])
    return replace(plan.preprocessing, with_place=settings.features.place and settings.extractor is None)


def _network_arguments(settings: Settings, plan: Plan, n_inputs: int, n_base: int, start: ModelFolder | None) -> dict[str, Any]:
    extractor: dict[str, Any] = {"kind": "unet", "in_channels": n_inputs, "out_channels": 1, "n_supervised": 1}
    extractor |= {
        "channels": list(plan.channels),
        "kernels": [list(kernel) for kernel in plan.kernels],
        "strides": [list(stride) for stride in plan.strides],
    }
    is_half = settings.features.resolution == "half"
    if plan.dimensions == 2:
        chosen = settings.slice_network
        if is_half and chosen.architecture != "unet":
            raise SettingsError(f"`features.resolution=half` must have the architecture `unet`, got `{chosen.architecture}`.")
        extractor = {"kind": "slice_network", "in_channels": n_inputs, "out_channels": 1, "architecture": chosen.architecture}
        if is_half:
            extractor = {"kind": "slice_features", "in_channels": n_inputs}
        extractor |= {"encoder": chosen.encoder}
    arguments = {
        "extractor": extractor,
        "n_base": n_base,
        "n_regions": settings.features.regions,
        "feature_channels": settings.features.channels,
        "update": settings.features.update != "off",
        "foreground": settings.foreground.weight > 0,
        "first_level": int(is_half and plan.dimensions == 3),
    }
    return start.description["network"] if start is not None and start.pipeline == NAME else arguments


def _module(
    settings: Settings,
    plan: Plan,
    arguments: dict[str, Any],
    windows: WindowInference,
    names: dict[int, str],
    n_channels: int,
    start: ModelFolder | None,
) -> BaseTraining:
    torch.manual_seed(settings.seed)
    weights = settings.slice_network.encoder_weights if plan.dimensions == 2 else None
    given = {} if weights is None else {"encoder_weights": weights}
    network = build_network({**arguments, "extractor": {**arguments["extractor"], **given}})
    if start is not None:
        load_fitting_weights(network.network.extractor if start.pipeline == "supervised" else network, start)
    if settings.extractor is not None:
        network.network.extractor.requires_grad_(False)
    return BaseTraining(
        network,
        n_channels=n_channels,
        region_weight=settings.features.region_weight,
        update_regions=settings.features.update == "regions",
        foreground=Foreground(**settings.foreground.model_dump()),
        augmentation=IntensityAugmentation().scaled(settings.augmentation.intensity, mirror_axes=plan.mirror_axes),
        windows=windows,
        structures=names,
        seed=settings.seed,
        **as_settings_say(settings.training.model_dump()),
    )


def _patches(settings: Settings, plan: Plan, taught: Sequence[TaughtCase], *, on_gpu: bool) -> PatchDataset:
    chance = settings.augmentation
    if plan.dimensions == 2:
        from segsuite.data.slice_transforms import slice_augmentation  # albumentations loads slowly; 3-D does without

        flat = slice_augmentation(rotate_degrees=chance.rotate_degrees, scale_range=chance.scale_range, flip=False)
    return PatchDataset(
        taught,
        patch_size=plan.patch_size,
        spacing_mm=plan.spacing_mm,
        seed=settings.seed,
        foreground_share=settings.training.foreground_share,
        spatial=None
        if plan.dimensions == 2
        else SpatialAugmentation(
            rotate_probability=chance.rotate_probability,
            rotate_degrees=chance.rotate_degrees,
            scale_probability=chance.scale_probability,
            scale_range=chance.scale_range,
            in_plane_only=plan.is_anisotropic,
        ),
        slice_augmentation=flat if plan.dimensions == 2 else None,
        turn_on_gpu=on_gpu,
    )


def _export(
    settings: Settings,
    run: RunFolder,
    cohort: Cohort,
    preprocessing: Preprocessing,
    arguments: dict[str, Any],
    module: BaseTraining,
    taught: Sequence[TaughtCase],
    validation: Sequence[PreparedCase],
    windows: WindowInference,
    base: Sequence[int],
    minutes: float,
    sided: Sequence[str],
) -> None:
    """Write the base model, and on top of it the model with the structures that the settings ask to register."""
    average = module.average.module.eval()
    assert isinstance(average, OpenNetwork)  # noqa: S101 - this is what build_network gives
    if average.network.update is not None:
        deploy(average.network, base_prototypes(average.to(windows.device).network, taught, windows))
    reduced, scores = (
        labels_to_reduce(average.to(windows.device), validation, windows, module.structures) if validation else ((), {})
    )
    labels = {name: value for name, value in cohort.manifest.labels.items() if name not in settings.novel}
    class_labels = [0, *(cohort.class_labels[index] for index in base)]
    inference = settings.inference
    description = describe(
        cohort,
        pipeline=NAME,
        name=settings.name,
        preprocessing=preprocessing,
        network=arguments,
        inference={
            "patch_size": list(windows.patch_size),
            "overlap": windows.overlap,
            "mirror_axes": list(windows.mirror_axes),
            "precision": settings.training.precision,
            "largest_component": [class_labels[index] for index in reduced],
            "probability_maps": inference.probability_maps,
            "foreground_map": inference.foreground_map,
            **settings.kernels.model_dump(),
        },
        training={"minutes": round(minutes, 2), "steps": int(module.global_step), "validation_dice": scores},
        sided_labels=sided,
    )
    description |= {"labels": labels, "class_labels": class_labels, "kernels": [], "hidden": list(settings.novel)}
    description |= {"rule": settings.features.rule, "flipped_axes": list(module.augmentation.mirror_axes)}
    shots = settings.register_novel.shots
    weights, card = average.state_dict(), model_card(description)
    base_folder = run.root / "base_model" if shots else run.model
    model = write_model_folder(base_folder, weights=weights, description=description, card=card)
    for number, name in enumerate(settings.novel if shots else (), start=1):
        predictor = FewshotPredictor(model, device=str(windows.device))
        supports = draw_supports(cohort.training, cohort.manifest, cohort.data_root, name, shots=shots, seed=settings.seed)
        last = number == len(settings.novel)
        out = run.model if last else run.root / f"session_{number}"
        model = register(
            predictor, name, supports, out, value=cohort.manifest.labels[name], slices=settings.register_novel.slices
        )
