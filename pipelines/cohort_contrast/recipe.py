"""Two cohorts to a model that scores anyone: read top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.cohort_contrast.embedding import Spaces, embed, finish_network
from pipelines.cohort_contrast.fitting import fit_branches
from pipelines.cohort_contrast.module import Independence
from pipelines.cohort_contrast.network import TwoBranches, build_network
from pipelines.cohort_contrast.phantom import BrainCohort, write_brain_cohort
from pipelines.cohort_contrast.predictor import saliency_of
from pipelines.cohort_contrast.scans import Scans
from pipelines.cohort_contrast.scoring import outlying_distance
from pipelines.cohort_contrast.settings import Settings
from pipelines.cohort_contrast.subjects import require_two_groups, scans_of, site_confounding
from pipelines.cohort_contrast.summary import group_facts, probe_matrix, write_group_section
from pipelines.cohort_contrast.views import Views
from pipelines.cohort_contrast.weights import weights_of
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.cohort import Cohort, open_cohort
from segsuite.engines.devices import choose_device, choose_precision
from segsuite.engines.finetuning import load_fitting_weights
from segsuite.engines.model_card import describe
from segsuite.engines.model_folder import read_model_folder, write_model_folder
from segsuite.engines.processes import rank, wait_for_first
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ManifestError
from segsuite.pipeline import Runtime

__all__ = ["network_arguments", "train"]

NAME = "cohort_contrast"
HEALTHY_FOR_MAPS = 24


def train(settings: Settings, run: RunFolder, runtime: Runtime) -> None:
    """Open and check the cohorts, train both branches, fix the null point, judge held-out subjects, export.

    Args:
        settings: Validated settings.
        run: An open run folder.
        runtime: Device, workers, progress.

    Raises:
        ManifestError: A group is missing, a subject is in both, or site and group are the same thing.
    """
    device = choose_device(runtime.device)
    cohort = _open(settings, run, runtime)
    confounding = site_confounding([*cohort.training, *cohort.held_out])
    if confounding.is_too_much and not settings.sampling.allow_confounded:
        raise ManifestError(
            f"Site and group must not be nearly the same thing, but {confounding}. What is learned would be the site. Use sites "
            "that have both groups, or set `sampling.allow_confounded=true` and read every result as one about sites."
        )
    preprocessing = _preprocessing(settings, cohort.manifest.n_channels)
    prepared, held_out = cohort.prepare(preprocessing, tell=runtime.tell)
    within = settings.image.within_label
    scans = scans_of(prepared, settings.image.shape, within_label=within)
    others = scans_of(held_out, settings.image.shape, within_label=within)
    arguments = network_arguments(settings, cohort.manifest.n_channels)
    start = None if settings.finetune is None else _starting_weights(settings.finetune, arguments)
    network, minutes, steps = fit_branches(
        scans,
        run,
        network=arguments,
        weights=weights_of(settings.loss.model_dump()),
        independence=_independence(settings),
        views=Views(**settings.views.model_dump()),
        training=settings.training.model_dump(),
        sampling=settings.sampling.model_dump(),
        attributes=settings.attributes,
        device=device,
        precision=choose_precision(settings.training.precision, device),
        workers=cohort.workers,
        seed=settings.seed,
        tell=runtime.tell,
        start=start,
    )
    if rank() > 0:
        return
    runtime.tell("judging held-out subjects", 1.0)
    independence = settings.independence
    here = finish_network(
        network, scans, erase=independence.erase, erase_sites=independence.erase_sites, seed=settings.seed, device=device
    )
    there = embed(network, others, device=device) if len(others) else None
    matrix = {} if there is None else probe_matrix(scans, here, others, there, list(scans.attributes))
    facts = group_facts(scans, here, others, there, matrix, confounding, seed=settings.seed)
    facts["effective_rows"] = settings.sampling.batch_size + settings.sampling.memory_rows
    _export(settings, run, cohort, preprocessing, arguments, network, (scans, here), (others, there), facts, minutes, steps)
    write_group_section(run.root, scans, others, there, matrix, facts, seed=settings.seed)


def network_arguments(settings: Settings, n_channels: int) -> dict[str, Any]:
    """Arguments of ``build_network``.

    Args:
        settings: Validated settings.
        n_channels: Of the images.

    Returns:
        Plain values.
    """
    chosen = settings.network
    return {
        "encoder": chosen.encoder,
        "spatial_shape": list(settings.image.shape),
        "in_channels": n_channels,
        "channels": list(chosen.channels),
        "common_dimensions": chosen.common_dimensions,
        "salient_dimensions": len(settings.attributes) or chosen.salient_dimensions,
        "norm": chosen.norm,
    }


def _open(settings: Settings, run: RunFolder, runtime: Runtime) -> Cohort:
    data = settings.data.model_dump()
    brains = data.pop("brains")
    if brains is not None:
        path = run.root / "cohort" / "manifest.json"
        wait_for_first(path)
        if not path.is_file():
            runtime.tell("making the phantom cohort", 0.0)
            write_brain_cohort(path.parent, BrainCohort(**brains))
        data["manifest"] = str(path)
    cohort = open_cohort(data, run, workers=runtime.workers, tell=runtime.tell, labelled=False)
    require_two_groups([*cohort.training, *cohort.held_out])
    require_two_groups(cohort.training)
    if cohort.held_out:
        require_two_groups(cohort.held_out, least=1)
    return cohort


def _preprocessing(settings: Settings, n_channels: int) -> Preprocessing:
    normalisation = Normalisation(settings.image.normalisation)
    return Preprocessing(settings.image.spacing_mm, (normalisation,) * n_channels)


def _independence(settings: Settings) -> Independence:
    chosen = settings.independence
    return Independence(chosen.penalty, chosen.weight, chosen.mixing, chosen.on_representations)


def _starting_weights(model: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    network = build_network(arguments)
    load_fitting_weights(network, read_model_folder(Path(model)))
    network.forget_null()  # the new cohort has a null point of its own
    return network.state_dict()


def _export(
    settings: Settings,
    run: RunFolder,
    cohort: Cohort,
    preprocessing: Preprocessing,
    arguments: dict[str, Any],
    network: TwoBranches,
    training: tuple[Scans, Spaces],
    held_out: tuple[Scans, Spaces | None],
    facts: Mapping[str, Any],
    minutes: float,
    steps: int,
) -> None:
    """Write the model folder: network, null point, and what a scan is judged against; embeddings and means, no scan."""
    scans, here = training
    others, there = held_out
    inference = settings.inference.model_dump()
    baseline, healthy_map = _healthy_means(network, scans, inference)
    healthy = ~np.asarray(others.is_diseased, dtype=bool)
    description = describe(
        cohort,
        pipeline=NAME,
        name=settings.name,
        preprocessing=preprocessing,
        network=arguments,
        inference=inference,
        training={"minutes": round(minutes, 2), "steps": steps, "validation_dice": {}},
    )
    description |= {
        "labels": {"background": 0, "salient_region": 1},
        "class_labels": [0, 1],
        "within_label": settings.image.within_label,
        "loss": settings.loss.model_dump(),
        "recipe": {
            "views": settings.views.model_dump(),
            "independence": vars(_independence(settings)),
            "training": settings.training.model_dump(),
            "sampling": settings.sampling.model_dump(),
        },
        "facts": dict(facts),
        "reference": {
            "healthy_scores": [] if there is None else [round(float(v), 6) for v in there.score[healthy]],
            "healthy_subjects": [name for name, keep in zip(others.subjects, healthy, strict=True) if keep],
            "subjects": list(scans.subjects),
            "outlying_distance": _finite(outlying_distance(here.common, scans.subjects)),
            "subject_of_case": {case.case_id: case.patient_id for case in [*cohort.training, *cohort.held_out]},
        },
    }
    weights = dict(network.state_dict())
    weights |= {"reference.baseline": baseline, "reference.healthy_map": healthy_map}
    weights |= {"reference.common": torch.from_numpy(here.common), "reference.salient": torch.from_numpy(here.salient)}
    write_model_folder(run.model, weights=weights, description=description, card=_card(description))


def _healthy_means(network: TwoBranches, scans: Scans, inference: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean image and mean map of some healthy training scans: what maps start from, and what is subtracted from them."""
    rows = np.flatnonzero(~np.asarray(scans.is_diseased, dtype=bool))[:HEALTHY_FOR_MAPS]
    network = network.cpu().eval()
    baseline = scans.batch(rows).mean(dim=0)
    if inference["maps"] == "none":
        return baseline, torch.zeros(baseline.shape[1:])
    maps = [saliency_of(network, scans.batch([row])[0], baseline, inference) for row in rows]
    return baseline, torch.stack(maps).mean(dim=0)


def _finite(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def _card(description: Mapping[str, Any]) -> str:
    data, facts = description["data"], description["facts"]
    scores = "\n".join(f"| {name} | {value} |" for name, value in facts.items() if not isinstance(value, dict | list))
    return f"""---
library_name: segsuite
tags: [medical, nifti, contrastive]
license: other
---
# {description["name"]}

Made by `segsuite train` with the pipeline `{description["pipeline"]}`. **A deviation score for research, not a diagnosis, not a
medical device.** It says how far a scan lies from what healthy scans of this data set look like, in what this data set's
diseased have in common; other diseases, scanners and ages may score high or low for other reasons.

Use: `segsuite cohort score THIS_FOLDER MANIFEST --out DIR`, `segsuite predict THIS_FOLDER SCAN --out DIR` for maps.

Trained on {len(data["training_cases"])} scans of {data["manifest"]} (licence of the data: {data["licence"] or "not stated"}),
{description["training"]["steps"]} steps. On held-out subjects:

| | |
| --- | --- |
{scores}
"""
