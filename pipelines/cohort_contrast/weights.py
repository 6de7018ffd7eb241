"""How the terms of the loss are weighed: our own weights, and those of the authors' scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["PRESETS", "Weights", "weights_of"]


@dataclass(frozen=True)
class Weights:
    """How the terms are weighed, and the forms of those that have several.

    Attributes:
        salient: Of alignment and uniformity of the salient space.
        null: Of the pull of healthy rows to the null point.
        joint: Of the joint entropy of both spaces.
        uniformity: Of uniformity against alignment, in both spaces.
        kind: Of the salient uniformity: ``pooled``, ``split`` or ``per_anchor``.
        include_self: Whether a row is its own neighbour in the joint entropy, as in the authors' code.
        joint_on_common: Share of the joint entropy's gradient that reaches the common branch. The published weights treat both
            branches alike: enough for the salient one costs the common one what it should hold.
        common_bandwidth: Of kernels on the sphere of the common space.
        salient_bandwidth: Of kernels in the salient space.
    """

    salient: float
    null: float
    joint: float
    uniformity: float = 2.0
    kind: str = "pooled"
    include_self: bool = False
    joint_on_common: float = 1.0
    common_bandwidth: float = 0.5
    salient_bandwidth: float = 0.5


PRESETS: Mapping[str, Weights] = {
    "separated": Weights(1.0, 10.0, 10.0, joint_on_common=0.3),
    "vision": Weights(1000.0, 1000.0, 10.0),
    "medical": Weights(1.0, 10.0, 10.0),
    "medical_strong_null": Weights(1.0, 100.0, 10.0),
    "reference": Weights(1.0, 10.0, 10.0, include_self=True),
}
"""Ours; then weights of the authors' scripts: CIFAR-MNIST and CelebA; CheXpert; ODIR; and CheXpert with self pairs, as theirs."""


def weights_of(loss: Mapping[str, Any]) -> Weights:
    """The weights that the settings name.

    Args:
        loss: The group ``loss`` as plain values.

    Returns:
        The preset with its overrides.
    """
    given = {key: loss[f"{key}_weight"] for key in ("null", "joint") if loss.get(f"{key}_weight") is not None}
    if loss.get("joint_on_common") is not None:
        given["joint_on_common"] = loss["joint_on_common"]
    return replace(PRESETS[loss["preset"]], kind=loss["kind"], **given)
