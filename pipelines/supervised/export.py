"""What goes into the model folder beside the weights: `model.json` for machines, the card for people."""

from __future__ import annotations

from typing import Any

from pipelines.supervised.settings import Settings
from segsuite.engines.cohort import Cohort
from segsuite.engines.inference import WindowInference
from segsuite.engines.planning import Plan
from segsuite.engines.run_folder import versions

__all__ = ["describe", "model_card"]


def describe(
    settings: Settings,
    cohort: Cohort,
    plan: Plan,
    arguments: dict[str, Any],
    windows: WindowInference,
    *,
    largest_component: tuple[int, ...],
    training: dict[str, Any],
) -> dict[str, Any]:
    """The content of ``model.json``: enough to predict without anything else.

    Args:
        settings: Of the run.
        cohort: The data.
        plan: What was planned.
        arguments: Of the network's constructor.
        windows: How it is applied.
        largest_component: Labels reduced to their largest component.
        training: Facts of the training.

    Returns:
        JSON values.
    """
    return {
        "pipeline": settings.pipeline,
        "name": settings.name,
        "labels": cohort.manifest.labels,
        "class_labels": list(cohort.class_labels),
        "channels": cohort.manifest.channels,
        "preprocessing": plan.preprocessing.to_json(),
        "network": arguments,
        "inference": {
            "patch_size": list(windows.patch_size),
            "overlap": windows.overlap,
            "mirror_axes": list(windows.mirror_axes),
            "precision": settings.training.precision,
            "largest_component": list(largest_component),
        },
        "data": {
            "manifest": cohort.manifest.name,
            "licence": cohort.manifest.licence,
            "fold": cohort.fold,
            "training_cases": [case.case_id for case in cohort.training],
            "held_out_cases": [case.case_id for case in cohort.held_out],
        },
        "training": training,
        "versions": versions(),
    }


def model_card(description: dict[str, Any]) -> str:
    """The model card: Markdown with a YAML head, as model hubs read it.

    Args:
        description: From ``describe``.

    Returns:
        The text of ``README.md``.
    """
    data, training = description["data"], description["training"]
    labels = "\n".join(f"| {value} | {name} |" for name, value in description["labels"].items())
    channels = ", ".join(description["channels"].values())
    scores = training["validation_dice"]
    dice = "\n".join(f"| {name} | {value:.3f} |" for name, value in scores.items()) or "| (no held-out case) | |"
    spacing = " x ".join(f"{mm:g}" for mm in description["preprocessing"]["spacing_mm"])
    return f"""---
library_name: segsuite
tags: [segmentation, medical, nifti]
license: other
---
# {description["name"]}

Made by `segsuite train` with the pipeline `{description["pipeline"]}`. Not a medical device.

Use: `segsuite predict THIS_FOLDER IMAGE... --out FOLDER`. Input: {channels}; any orientation and spacing, it is brought to
{spacing} mm inside and back to its own grid.

| value | structure |
| --- | --- |
{labels}

Trained on {len(data["training_cases"])} cases of {data["manifest"]} (licence of the data: {data["licence"] or "not stated"}),
{training["steps"]} steps, {training["minutes"]:.1f} minutes. Validation Dice on held-out cases, before evaluation:

| structure | Dice |
| --- | --- |
{dice}
"""
