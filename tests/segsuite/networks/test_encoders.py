from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segsuite.errors import ModelError
from segsuite.networks.encoders import SliceFeatures, SliceNetwork


def build(**more: object) -> SliceNetwork:
    return SliceNetwork(in_channels=1, out_channels=3, architecture="unet", encoder="resnet18", **more)


def test_slices_are_independent_of_each_other() -> None:
    network = build().eval()
    image = torch.randn(1, 1, 32, 32, 3)
    whole = network(image)
    assert whole.shape == (1, 3, 32, 32, 3)
    torch.testing.assert_close(whole[..., 1:2], network(image[..., 1:2]), atol=1e-4, rtol=1e-4)


def test_training_gives_a_list() -> None:
    assert [level.shape for level in build().train()(torch.randn(2, 1, 32, 32, 1))] == [(2, 3, 32, 32, 1)]


def test_local_encoder_weights_are_loaded(tmp_path: Path) -> None:
    source = build()
    torch.save(source.network.encoder.state_dict(), tmp_path / "w.pt")
    loaded = build(encoder_weights=str(tmp_path / "w.pt"))
    assert torch.equal(loaded.network.encoder.conv1.weight, source.network.encoder.conv1.weight)


def test_weights_of_something_else(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="must hold the weights of `resnet18`, got a file that lacks"):
        build(encoder_weights=str(tmp_path / "w.pt"))


def test_half_resolution_features_of_independent_slices(tmp_path: Path) -> None:
    torch.save(build().network.encoder.state_dict(), tmp_path / "w.pt")
    network = SliceFeatures(in_channels=1, encoder="resnet18", encoder_weights=str(tmp_path / "w.pt")).eval()
    image = torch.randn(2, 1, 64, 32, 3)
    (whole,) = network.features(image)
    assert whole.shape == (2, network.feature_channels, 32, 16, 3)
    torch.testing.assert_close(whole[1:, ..., 1:2], network.features(image[1:, ..., 1:2])[0], atol=1e-4, rtol=1e-4)
