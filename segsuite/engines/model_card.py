"""What goes into the model folder beside the weights: `model.json` for machines, the card for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segsuite.data.scan_profile import common_profile
from segsuite.data.transforms import Preprocessing
from segsuite.engines.cohort import Cohort
from segsuite.engines.run_folder import versions
from segsuite.engines.seen_scans import training_scans
from segsuite.engines.split_record import recorded_scans
from segsuite.volumes.regions import Regions

__all__ = ["describe", "model_card"]


def describe(
    cohort: Cohort,
    *,
    pipeline: str,
    name: str,
    preprocessing: Preprocessing,
    network: dict[str, Any],
    inference: dict[str, Any],
    training: dict[str, Any],
    sided_labels: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of ``model.json``: enough to predict without anything else.

    Args:
        cohort: The data.
        pipeline: Which one.
        name: Of the experiment.
        preprocessing: What an image goes through.
        network: Arguments of the network's constructor.
        inference: How it is applied; what a user may override.
        training: Facts of the training: ``minutes``, ``steps``, ``validation_dice`` by structure.
        sided_labels: Labels that tell left from right.

    Returns:
        JSON values.
    """
    return {
        "pipeline": pipeline,
        "name": name,
        "labels": cohort.manifest.labels,
        "class_labels": list(cohort.class_labels),
        **({} if cohort.manifest.region_set is None else cohort.manifest.region_set.to_json()),
        "channels": cohort.manifest.channels,
        "preprocessing": preprocessing.to_json(),
        "network": network,
        "inference": inference,
        "data": {
            "manifest": cohort.manifest.name,
            "licence": cohort.manifest.licence,
            "fold": cohort.fold,
            "training_cases": [case.case_id for case in cohort.training],
            "held_out_cases": [case.case_id for case in cohort.held_out],
            **_scans(cohort, sided_labels),
        },
        "training": training,
        "versions": versions(),
    }


def _scans(cohort: Cohort, sided_labels: Sequence[str]) -> dict[str, Any]:
    """What a model keeps of the scans that it learned from: to know them again, and others of their kind."""
    hashes, profiles = ([], []) if cohort.record is None else recorded_scans(cohort.record)
    found = training_scans(hashes)
    if profiles:
        found["fingerprint"] = common_profile(profiles)
    return found | ({"sided_labels": list(sided_labels)} if sided_labels else {})


def model_card(description: dict[str, Any], *, remarks: str = "") -> str:
    """The model card: Markdown with a YAML head, as model hubs read it.

    Args:
        description: From ``describe``.
        remarks: More paragraphs, for what a user of this model must know.

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
{_regions_text(description)}
Trained on {len(data["training_cases"])} cases of {data["manifest"]} (licence of the data: {data["licence"] or "not stated"}),
{training["steps"]} steps, {training["minutes"]:.1f} minutes. Validation Dice on held-out cases, before evaluation:

| structure | Dice |
| --- | --- |
{dice}
{remarks}"""


def _regions_text(description: dict[str, Any]) -> str:
    """What a model with regions decides, and how it writes the values."""
    regions = Regions.from_json(description)
    if regions is None:
        return ""
    rows = "".join(
        f"| {name} | {', '.join(map(str, integers))} | {value} |\n"
        for (name, integers), value in zip(regions.members.items(), regions.order, strict=True)
    )
    return f"""
Decides regions one by one (`segsuite predict --save-regions` writes each). The mask is written in this order, what comes later
over what was there:

| region | the values that it is the union of | writes |
| --- | --- | --- |
{rows}"""
