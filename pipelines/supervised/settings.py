"""What can be chosen for a supervised training; whatever is left out follows from the data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from segsuite.settings import Group, PipelineSettings, Precision

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


class AugmentationSettings(Group):
    """Random changes of the training patches; probabilities per patch."""

    rotate_probability: float = Field(default=0.35, ge=0, le=1)
    """Of a rotation."""
    rotate_degrees: float = Field(default=30.0, ge=0, le=180)
    """Largest angle."""
    scale_probability: float = Field(default=0.35, ge=0, le=1)
    """Of a change of size."""
    scale_range: tuple[float, float] = (0.7, 1.4)
    """Smallest and largest size factor."""
    intensity: float = Field(default=1.0, ge=0)
    """Factor on nnU-Net's probabilities of noise, blur, brightness, contrast, low resolution and gamma; 0 turns them off."""


class TrainingSettings(Group):
    """How long and how fast."""

    max_minutes: float | None = Field(default=20.0, gt=0)
    """Time budget; the learning rate reaches zero when it ends."""
    max_steps: int | None = Field(default=None, ge=1)
    """Step budget."""
    steps_per_epoch: int = Field(default=50, ge=1)
    """Steps between checkpoints."""
    epochs_per_validation: int = Field(default=10, ge=0)
    """Epochs between validations on whole held-out cases; 0: only at the end."""
    validation_cases: int = Field(default=8, ge=1)
    """How many held-out cases validation looks at; evaluation looks at all."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many validations without a better score, and export the best; 0: train to the end, export the last."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov momentum 0.99."""
    learning_rate: float = Field(default=4e-3, gt=0)
    """At the start; SGD wants about 1e-2."""
    schedule: Literal["poly", "cosine"] = "cosine"
    """How the learning rate falls."""
    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the budget over which the learning rate rises."""
    weight_decay: float = Field(default=3e-5, ge=0)
    """Of the weights."""
    clip_norm: float = Field(default=12.0, gt=0)
    """Largest gradient norm."""
    average_decay: float = Field(default=0.998, ge=0, lt=1)
    """Of the exponential moving average of the weights, which is what is exported; 0: the weights themselves."""
    foreground_share: float = Field(default=0.5, ge=0, le=1)
    """Share of patches centred on a structure."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the cross-entropy."""
    deep_supervision: int = Field(default=3, ge=1)
    """Resolutions of the decoder that are trained directly."""
    precision: Precision = "auto"
    """Number format of the convolutions; auto takes bfloat16 where the hardware has it."""

    @model_validator(mode="after")
    def _limited(self) -> TrainingSettings:
        if self.max_minutes is None and self.max_steps is None:
            raise ValueError("training must end: give `max_minutes` or `max_steps`")
        return self


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
    training: TrainingSettings = TrainingSettings()
    """How long and how fast."""
    inference: InferenceSettings = InferenceSettings()
    """How masks are made."""
