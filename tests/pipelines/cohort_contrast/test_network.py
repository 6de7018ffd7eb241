from __future__ import annotations

import pytest
import torch

from pipelines.cohort_contrast.independence import Eraser
from pipelines.cohort_contrast.network import build_network
from segsuite.errors import SettingsError


def arguments(**changed: object) -> dict[str, object]:
    return {
        "encoder": "convolutional", "spatial_shape": (16, 16, 16), "in_channels": 1, "channels": (8, 16), "common_dimensions": 5,
        "salient_dimensions": 3, "norm": "group", **changed,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"norm": "batch"},
        {"encoder": "features"},
        {"encoder": "resnet10", "spatial_shape": (32, 32, 32), "channels": (32,)},
        {"encoder": "resnet18", "spatial_shape": (32, 32, 32), "channels": (32,), "norm": "batch"},
        {"encoder": "densenet121", "spatial_shape": (32, 32, 32), "channels": (16,)},
        {"spatial_shape": (16, 16)},
        {"encoder": "smp:resnet18", "spatial_shape": (32, 32)},
    ],
    ids=str,
)
def test_every_encoder_gives_two_spaces(changed: dict[str, object]) -> None:
    torch.manual_seed(0)
    made = arguments(**changed)
    network = build_network(made)
    image = torch.randn(4, 1, *made["spatial_shape"])  # type: ignore[misc]
    found = network(image)
    assert found.common.shape == found.common_head.shape == (4, 5)
    assert found.salient.shape == found.salient_head.shape == (4, 3)


def test_16_the_branches_share_nothing() -> None:
    network = build_network(arguments())
    found = network(torch.randn(4, 1, 16, 16, 16))
    found.salient_head.square().sum().backward()
    assert all(parameter.grad is None for parameter in network.common.parameters())
    assert any(parameter.grad is not None for parameter in network.salient.parameters())


def test_19_an_embedding_does_not_depend_on_who_else_is_in_the_batch() -> None:
    network = build_network(arguments(norm="batch")).eval()
    image = torch.randn(4, 1, 16, 16, 16)
    with torch.inference_mode():
        together, alone = network(image), network(image[:1])
    for one, other in zip(vars(together).values(), vars(alone).values(), strict=True):
        torch.testing.assert_close(one[:1], other, atol=1e-5, rtol=1e-5)


def test_null_point_and_erasure_are_part_of_the_weights_and_can_be_forgotten() -> None:
    network = build_network(arguments()).eval()
    image = torch.randn(2, 1, 16, 16, 16)
    with torch.inference_mode():
        before = network(image).salient
        network.set_null(torch.tensor([1.0, 2.0, 3.0]), Eraser(torch.diag(torch.tensor([1.0, 0.0, 1.0]))))
        after = network(image).salient
    torch.testing.assert_close(after, (before - torch.tensor([1.0, 2.0, 3.0])) * torch.tensor([1.0, 0.0, 1.0]))
    again = build_network(arguments()).eval()
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again(image).salient, after)
    network.forget_null()
    torch.testing.assert_close(network(image).salient, before)


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(SettingsError, match=r"`network.encoder` must be one of .* got `resnet11` .* Did you mean `resnet1"):
        build_network(arguments(encoder="resnet11"))
    with pytest.raises(SettingsError, match="images of 2 axes"):
        build_network(arguments(encoder="resnet10", spatial_shape=(8, 8)))
