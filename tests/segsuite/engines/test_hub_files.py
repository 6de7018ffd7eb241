"""What others read in a model folder says the same as ``model.json``."""

from __future__ import annotations

import json

import pytest

from segsuite.engines.hub_files import HUB_FILE, METADATA_FILE, bundle_metadata, hub_config
from segsuite.engines.run_folder import RunFolder

DESCRIPTION = {
    "pipeline": "supervised",
    "name": "n",
    "labels": {"background": 0, "gland": 7},
    "class_labels": [0, 7],
    "channels": {"0": "T2w"},
    "inference": {"patch_size": [32, 32, 8]},
    "data": {"manifest": "m", "licence": "CC0"},
    "versions": {"segsuite": "0.1.0", "packages": {"torch": "2.6", "monai": "1.5", "numpy": "2.0"}},
}


def test_labels_go_both_ways() -> None:
    found = hub_config(DESCRIPTION)
    assert found["id2label"] == {"0": "background", "7": "gland"}
    assert {str(value): name for name, value in found["label2id"].items()} == found["id2label"]


def test_outputs_are_named_in_the_order_of_the_network() -> None:
    found = bundle_metadata(DESCRIPTION)
    output, image = (found["network_data_format"][side][name] for side, name in (("outputs", "pred"), ("inputs", "image")))
    assert (output["channel_def"], output["num_channels"]) == ({"0": "background", "1": "gland"}, 2)
    assert (image["num_channels"], image["spatial_shape"], image["is_patch_data"]) == (1, [32, 32, 8], True)
    whole = bundle_metadata({**DESCRIPTION, "inference": {}})
    assert not whole["network_data_format"]["inputs"]["image"]["is_patch_data"]


def test_outputs_of_regions_are_the_regions() -> None:
    regions = {"regions": {"gland": [1, 2], "core": [2]}, "regions_class_order": [1, 2], "class_labels": [0, 1, 2]}
    output = bundle_metadata({**DESCRIPTION, **regions})["network_data_format"]["outputs"]["pred"]
    assert (output["channel_def"], output["num_channels"]) == ({"0": "gland", "1": "core"}, 2)


@pytest.mark.slow
def test_a_trained_model_has_both(tiny_run: RunFolder) -> None:
    config, metadata = (json.loads((tiny_run.model / name).read_text()) for name in (HUB_FILE, METADATA_FILE))
    assert config["model_type"] == "supervised"
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == len(config["id2label"])
    assert (tiny_run.model / "README.md").read_text().startswith("---\n")
