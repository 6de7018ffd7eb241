"""What model hubs and MONAI's bundle tools read in a model folder: `config.json` and `configs/metadata.json`.

Both repeat parts of ``model.json`` in the words of others; segsuite itself reads neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["HUB_FILE", "METADATA_FILE", "bundle_metadata", "hub_config"]

HUB_FILE = "config.json"
METADATA_FILE = "configs/metadata.json"
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
PACKAGES = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}


def hub_config(description: Mapping[str, Any]) -> dict[str, Any]:
    """The file that a hub counts and shows.

    Args:
        description: Content of ``model.json``.

    Returns:
        Library, kind of model, labels; JSON values.
    """
    labels = {str(name): int(value) for name, value in description.get("labels", {}).items()}
    return {
        "library_name": "segsuite",
        "model_type": description["pipeline"],
        "description_file": "model.json",
        "id2label": {str(value): name for name, value in labels.items()},
        "label2id": labels,
    }


def bundle_metadata(description: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a MONAI bundle: what goes into the network and what comes out.

    Args:
        description: Content of ``model.json`` of a single model.

    Returns:
        JSON values.

    Source: MONAI bundle specification, https://docs.monai.io/en/stable/mb_specification.html
    """
    packages = dict(description["versions"]["packages"])
    names = {int(value): str(name) for name, value in description.get("labels", {}).items()}
    decided = description.get("regions") or [names.get(value, str(value)) for value in description.get("class_labels", [])]
    outputs = {str(place): name for place, name in enumerate(decided)}
    patch = list(description["inference"].get("patch_size", ["*", "*", "*"]))
    channels = dict(description["channels"])
    shared = {"dtype": "float32", "is_patch_data": "patch_size" in description["inference"], "spatial_shape": patch}
    image = {"type": "image", "format": "magnitude", "modality": ", ".join(channels.values()), "num_channels": len(channels)}
    return {
        "schema": SCHEMA,
        "version": description["versions"]["segsuite"],
        **{name: packages.get(package, "") for package, name in PACKAGES.items()},
        "required_packages_version": {"segsuite": description["versions"]["segsuite"]},
        "task": f"{description['pipeline']}: {', '.join(name for value, name in names.items() if value)}",
        "description": f"{description['name']}, trained by segsuite on {description['data']['manifest']}",
        "authors": "see README.md",
        "copyright": f"data: {description['data'].get('licence') or 'licence not said'}",
        "intended_use": "research",
        "network_data_format": {
            "inputs": {"image": {**image, **shared, "value_range": [], "channel_def": channels}},
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(outputs),
                    **shared,
                    "channel_def": outputs,
                }
            },
        },
    }
