"""What can be chosen for a supervised training; whatever is left out follows from the data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segsuite.settings import AugmentationSettings, Group, PipelineSettings, TrainingSettings

__all__ = ["Settings"]


class PlanSettings(Group):
    """Overrides of what `segsuite plan` would choose."""

    dimensions: Literal[2, 3] | None = None
    """2 for slices, 3 for volumes."""
    spacing_mm: tuple[float, float, float] | None = None
    """Voxel size of the network's grid along the RAS+ axes."""
    patch_size: tuple[int, int, int] | None = None
    """Voxels per patch; rounded up to what the network allows."""
    batch_size: int | None = Field(default=None, ge=1)
    """Patches per step."""
    base_channels: int | None = Field(default=None, ge=4)
    """Channels of the finest stage."""
    mirror_axes: tuple[int, ...] | None = None
    """RAS+ axes along which left and right (0), back and front (1), down and up (2) may be swapped in training."""


class SliceNetworkSettings(Group):
    """The 2-D network; used when the plan is 2-D."""

    architecture: str = "unet"
    """Decoder of segmentation-models-pytorch."""
    encoder: str = "resnet18"
    """Encoder of segmentation-models-pytorch (timm)."""
    encoder_weights: str | None = None
    """Local file with pre-trained encoder weights; nothing is ever downloaded."""


class SupervisedTrainingSettings(TrainingSettings):
    """How long and how fast."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the cross-entropy."""
    deep_supervision: int = Field(default=3, ge=1)
    """Resolutions of the decoder that are trained directly."""


class InferenceSettings(Group):
    """How masks are made; saved with the model."""

    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that the next one covers again."""
    mirror: bool = True
    """Average over flips along the axes that training mirrored: up to 8 times the work, a little better."""
    largest_component: Literal["auto", "all", "none"] = "auto"
    """Keep only the largest component per structure; auto: for each structure whose validation Dice does not fall."""


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
