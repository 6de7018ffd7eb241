from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DynUNet

from segsuite.errors import SettingsError
from segsuite.networks.unet import UNet, count_parameters, least_multiple

KERNELS = [[3, 3, 1], [3, 3, 3], [3, 3, 3]]
STRIDES = [[1, 1, 1], [2, 2, 1], [2, 2, 2]]


def build(**more: object) -> UNet:
    torch.manual_seed(0)
    plan = {"channels": [4, 8, 16], "kernels": KERNELS, "strides": STRIDES, **more}
    return UNet(in_channels=2, out_channels=4, **plan)


def test_training_gives_resolutions_and_evaluation_the_finest() -> None:
    network, image = build(), torch.randn(1, 2, 16, 16, 8)
    assert [tuple(level.shape) for level in network(image)] == [(1, 4, 16, 16, 8), (1, 4, 8, 8, 8)]
    finest = network.train()(image)[0]
    torch.testing.assert_close(network.eval()(image), finest)


def test_parameters_are_those_of_the_field_s_reference() -> None:
    """MONAI's DynUNet with the same plan differs only in its heads' and up-convolutions' biases, which it lacks or has."""
    kernels = [[3, 3, 3]] * 3  # DynUNet gives the finest decoder level the second stage's kernel
    peer = DynUNet(
        spatial_dims=3, in_channels=2, out_channels=4, kernel_size=kernels, strides=STRIDES, filters=[4, 8, 16],
        upsample_kernel_size=STRIDES[1:], norm_name=("INSTANCE", {"affine": True}), deep_supervision=False,
    )  # fmt: skip
    ours = build(n_supervised=1, kernels=kernels)
    biases = sum(p.numel() for name, p in peer.named_parameters() if "output_block" not in name and name.endswith("conv.bias"))
    assert count_parameters(ours) == count_parameters(peer) - biases


def test_every_parameter_learns() -> None:
    network = build()
    sum(level.square().mean() for level in network(torch.randn(1, 2, 16, 16, 8))).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_patch_must_be_a_multiple() -> None:
    assert least_multiple(STRIDES) == (4, 4, 2)


def test_lists_of_different_length() -> None:
    with pytest.raises(SettingsError, match=r"one kernel and one stride per stage.*got channels \[4, 8\]"):
        UNet(in_channels=1, out_channels=2, channels=[4, 8], kernels=KERNELS, strides=STRIDES)
