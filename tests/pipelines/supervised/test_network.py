from __future__ import annotations

import json
import math

import pytest
import torch

from pipelines.supervised.network import build_network, expect_little, network_arguments
from segsuite.data.transforms import Normalisation
from segsuite.engines.planning import Plan
from segsuite.errors import ModelError

PLAN = Plan(3, (1, 1, 1), (Normalisation(),), (8, 8, 8), 2, (4, 8), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)))
WORDS = {"n_channels": 1, "n_classes": 3, "n_supervised": 2, "architecture": "unet", "encoder": "resnet18"}


def test_arguments_are_json_and_build_the_same_network_again() -> None:
    arguments = json.loads(json.dumps(network_arguments(PLAN, **WORDS)))
    network = build_network(arguments).eval()
    assert network(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 3, 8, 8, 8)
    assert network.state_dict().keys() == build_network(arguments).state_dict().keys()


def test_two_dimensional_plans_get_a_slice_network() -> None:
    flat = Plan(2, (1, 1, 5), (Normalisation(),), (32, 32, 1), 2, (4, 8), ((3, 3, 1),) * 2, ((1, 1, 1), (2, 2, 1)))
    arguments = network_arguments(flat, **WORDS)
    assert arguments["kind"] == "slice_network"
    assert build_network(arguments).eval()(torch.zeros(1, 1, 32, 32, 1)).shape == (1, 3, 32, 32, 1)


def test_unknown_kind() -> None:
    with pytest.raises(ModelError, match=r"kind must be one of \['slice_network', 'unet'\], got `vit`"):
        build_network({"kind": "vit"})


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_region_begins_with_a_low_probability(dimensions: int) -> None:
    flat = Plan(2, (1, 1, 5), (Normalisation(),), (32, 32, 1), 2, (4, 8), ((3, 3, 1),) * 2, ((1, 1, 1), (2, 2, 1)))
    network = build_network(network_arguments(PLAN if dimensions == 3 else flat, **WORDS)).train()
    image = torch.zeros(2, 1, *((8, 8, 8) if dimensions == 3 else (32, 32, 1)))
    before = [level.detach() for level in network(image)]
    old = {name: value.clone() for name, value in network.state_dict().items()}
    expect_little(network)
    changed = [name for name, value in network.state_dict().items() if name.endswith("bias") and not value.equal(old[name])]
    assert len(changed) == len(before)
    for name, level, other in zip(changed, before, network(image), strict=True):
        torch.testing.assert_close(network.state_dict()[name].sigmoid(), torch.full((3,), 0.1))
        moved = (math.log(0.1 / 0.9) - old[name]).view(1, 3, 1, 1, 1)
        torch.testing.assert_close(other - level, moved.expand_as(level))
