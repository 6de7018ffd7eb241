"""The network of a plan: 3-D U-Net, or a 2-D encoder-decoder slice by slice; from plain arguments that go into model.json."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from segsuite.engines.planning import Plan
from segsuite.errors import ModelError
from segsuite.networks.encoders import SliceNetwork
from segsuite.networks.unet import UNet

__all__ = ["build_network", "expect_little", "network_arguments"]

PRIOR = 0.1
"""Probability of a region with fresh weights: most voxels are outside."""

KINDS: dict[str, type[nn.Module]] = {"unet": UNet, "slice_network": SliceNetwork}


def network_arguments(
    plan: Plan, *, n_channels: int, n_classes: int, n_supervised: int, architecture: str, encoder: str
) -> dict[str, Any]:
    """What ``build_network`` needs to build the plan's network again.

    Args:
        plan: Dimensions, channels, kernels, strides.
        n_channels: Of the image.
        n_classes: Background included.
        n_supervised: Resolutions with logits in training.
        architecture: For 2-D.
        encoder: For 2-D.

    Returns:
        JSON values; ``kind`` first.
    """
    shared = {"in_channels": n_channels, "out_channels": n_classes}
    if plan.dimensions == 2:
        return {"kind": "slice_network", **shared, "architecture": architecture, "encoder": encoder}
    return {
        "kind": "unet",
        **shared,
        "channels": list(plan.channels),
        "kernels": [list(kernel) for kernel in plan.kernels],
        "strides": [list(stride) for stride in plan.strides],
        "n_supervised": n_supervised,
    }


def build_network(arguments: dict[str, Any]) -> nn.Module:
    """A network with fresh weights.

    Args:
        arguments: From ``network_arguments``.

    Returns:
        Maps (batch, channels, i, j, k) to logits.

    Raises:
        ModelError: Unknown kind.
    """
    plain = dict(arguments)
    kind = plain.pop("kind", None)
    if kind not in KINDS:
        raise ModelError(f"The network's kind must be one of {sorted(KINDS)}, got `{kind}`. Is it a model of this pipeline?")
    return KINDS[kind](**plain)


def expect_little(network: nn.Module) -> None:
    """Start with a low probability of every region: a sigmoid's one half of everything is unlearned slowly.

    Args:
        network: With fresh weights; the biases of its logits are changed in place.

    Source: Lin et al., ICCV 2017, arXiv:1708.02002, section 4.1, "class imbalance and model initialization".
    """
    heads = network.heads if isinstance(network, UNet) else [network.network.segmentation_head[0]]  # type: ignore[union-attr,index]
    for head in heads:
        nn.init.constant_(head.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type,union-attr]
