"""Start a training from another model's weights."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from segsuite.data.transforms import Preprocessing
from segsuite.engines.model_folder import ModelFolder
from segsuite.engines.planning import Plan
from segsuite.errors import ModelError

__all__ = ["inherited_plan", "load_fitting_weights"]

LEAST_SHARE = 0.5


def load_fitting_weights(network: nn.Module, model: ModelFolder) -> list[str]:
    """Copy every parameter that the model has under the same name and shape.

    Args:
        network: With fresh weights; changed in place.
        model: A single model's folder.

    Returns:
        Names of the network's parameters that stay fresh.

    Raises:
        ModelError: An ensemble, or fewer than half of the parameters fit.
    """
    if model.members:
        raise ModelError(
            f"{model.path} must be one model to fine-tune, got an ensemble. Name one of {model.members[0]} and so on."
        )
    weights, own = model.weights(), network.state_dict()
    fitting = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
    size = sum(tensor.numel() for tensor in own.values())
    if sum(tensor.numel() for tensor in fitting.values()) < LEAST_SHARE * size:
        raise ModelError(
            f"{model.path} must hold the same network as the config asks for, got {len(fitting)} of {len(own)} parameters that "
            "fit. Use the config that the model was trained with, or leave out what it sets about the network."
        )
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def inherited_plan(plan: Plan, model: ModelFolder) -> Plan:
    """A plan with the network and the preprocessing that a model was trained with, so that its weights fit and mean the same.

    Args:
        plan: Of the new data.
        model: A single planned 3-D model's folder.

    Returns:
        The plan with the model's stages, spacing, normalisation and patch.

    Raises:
        ModelError: An ensemble, or a 2-D model.
    """
    network = model.description.get("network", {})
    if "kernels" not in network:
        raise ModelError(f"{model.path} must be a single 3-D model to fine-tune, got {network.get('kind', 'an ensemble')}.")
    preprocessing = Preprocessing.from_json(model.description["preprocessing"])
    reason = f"as in {model.description['name']}, which the training starts from"
    return replace(
        plan,
        dimensions=3,
        spacing_mm=preprocessing.spacing_mm or plan.spacing_mm,
        normalisation=preprocessing.normalisation,
        patch_size=tuple(model.description["inference"]["patch_size"]),
        channels=tuple(network["channels"]),
        kernels=tuple(tuple(kernel) for kernel in network["kernels"]),
        strides=tuple(tuple(stride) for stride in network["strides"]),
        reasons=dict.fromkeys(plan.reasons, reason) | {key: plan.reasons[key] for key in ("batch_size", "mirror_axes")},
    )
