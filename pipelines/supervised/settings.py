"""What can be chosen for a supervised training; whatever is left out follows from the data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segsuite.settings import (
    AugmentationSettings,
    Group,
    PipelineSettings,
    PlanSettings,
    SliceNetworkSettings,
    TrainingSettings,
)

__all__ = ["Settings"]


class SupervisedTrainingSettings(TrainingSettings):
    """How long and how fast."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the cross-entropy."""
    deep_supervision: int = Field(default=3, ge=1)
    """Resolutions of the decoder that are trained directly."""
    regions: bool = True
    """Where the manifest declares regions, train these, each with a sigmoid of its own; false: its single labels."""


class InferenceSettings(Group):
    """How masks are made; saved with the model."""

    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that the next one covers again."""
    mirror: bool = True
    """Average over flips along the axes that training mirrored: up to 8 times the work, a little better."""
    largest_component: Literal["auto", "all", "none"] = "auto"
    """Keep only the largest component per structure or region; auto: for each whose validation Dice does not fall."""


class Settings(PipelineSettings):
    """All settings of the supervised pipeline."""

    plan: PlanSettings = PlanSettings()
    """Overrides of the plan."""
    slice_network: SliceNetworkSettings = SliceNetworkSettings()
    """The 2-D network."""
    augmentation: AugmentationSettings = AugmentationSettings()
    """Random changes of the training patches."""
    training: SupervisedTrainingSettings = SupervisedTrainingSettings()
    """How long and how fast."""
    inference: InferenceSettings = InferenceSettings()
    """How masks are made."""
