"""What can be chosen for the prostate zones; the defaults are the row of the benchmark that won."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from segsuite.settings import AugmentationSettings, Group, PipelineSettings, TrainingSettings

__all__ = ["Settings"]

Kernel = tuple[int, int, int]


class ImageSettings(Group):
    """What the network sees of an image."""

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 3.0)
    """Voxel size of the network's grid along left-right, back-front, foot-head."""
    region_mm: tuple[float | None, float | None, float | None] | None = (96.0, 96.0, None)
    """Extent around the field's centre, where the gland lies; nothing for an axis: all of it."""
    low_percentile: float = Field(default=1.0, ge=0, lt=50)
    """Of the region's intensities; becomes 0."""
    high_percentile: float = Field(default=99.0, gt=50, le=100)
    """Of the region's intensities; becomes 1."""
    patch_size: tuple[int, int, int] = (96, 96, 32)
    """Voxels that the network sees at once."""


class AuxiliarySettings(Group):
    """Weights of what is learned beside the zones; 0 leaves a task out."""

    sdm: float = Field(default=0.0, ge=0)
    """Signed distance to each zone's surface."""
    gland: float = Field(default=0.0, ge=0)
    """The whole gland, at the coarsest decoder level."""
    recon: float = Field(default=0.0, ge=0)
    """The image itself, from the bottleneck."""
    presence: float = Field(default=0.0, ge=0)
    """Which zones are in which slice."""


class NetworkSettings(Group):
    """The zone network."""

    branches: tuple[tuple[str, ...], ...] = (
        ("peripheral_zone", "transition_zone", "distal_prostatic_urethra", "anterior_fibromuscular_stroma"),
    )
    """Zones of each decoder, by their names in the manifest; several branches must share some. One branch: the baseline."""
    share_encoder: bool = True
    """One encoder for all branches, or a whole network for each."""
    channels: tuple[int, ...] = (16, 32, 64, 128)
    """Feature channels per stage, finest first; Meyer's network has 32, 64, 128, 256."""
    strides: tuple[Kernel, ...] = ((2, 2, 1), (2, 2, 1), (2, 2, 2))
    """Pooling between the stages."""
    flat_stages: int = Field(default=1, ge=0)
    """So many of the finest stages convolve within slices only: much faster, about as good on thick slices."""
    norm: Literal["batch", "instance", "group"] = "instance"
    """Normalisation of features."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """In the bottleneck and the decoders."""
    auxiliary: AuxiliarySettings = AuxiliarySettings()
    """What is learned beside the zones."""
    prior_bias: bool = True
    """Begin with each zone's share of the voxels as its probability, so that small zones are not lost at the start."""

    @model_validator(mode="after")
    def _fits(self) -> NetworkSettings:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"give one stride between stages, got {len(self.channels)} channels, {len(self.strides)} strides")
        if len(self.branches) > 1 and not set(self.branches[0]).intersection(*map(set, self.branches[1:])):
            raise ValueError("`branches` must share at least one zone, which co-training compares")
        return self


class CoTrainingSettings(Group):
    """The second stage: the branches are held to agree about the zones that they share."""

    share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget, for example a third; 0: no second stage."""
    kind: Literal["squared", "dice", "js", "kl"] = "squared"
    """How disagreement is measured."""
    weight: float = Field(default=1.0, ge=0)
    """Of the co-training loss after its warm-up."""
    ramp: float = Field(default=0.2, gt=0, le=1)
    """Share of the stage over which the weight rises."""
    learning_rate_factor: float = Field(default=0.1, gt=0, le=1)
    """Of the second stage's learning rate."""
    teacher: bool = False
    """The surer branch teaches the other, voxel by voxel."""
    unlabelled_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the patches that come from cases without a mask, if there are some."""


class ZoneTrainingSettings(TrainingSettings):
    """How long and how fast."""

    loss: Literal["zone", "meyer"] = "zone"
    """Dice with weighted cross-entropy, or the loss of the baseline paper."""
    batch_size: int = Field(default=2, ge=1)
    """Patches per step."""
    learned_weights: bool = False
    """Learn the weights of the tasks instead of taking those of `auxiliary`."""


class InferenceSettings(Group):
    """How masks are made; saved with the model, and open to `segsuite predict --set key=value`."""

    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that the next one covers again."""
    mirror: bool = True
    """Average over the image and its left-right flip."""
    region: Literal["centre", "search", "whole"] = "centre"
    """Where the network looks: around the field's centre; around the gland that a first pass finds; everywhere."""
    post_processing: bool = True
    """Keep connected zones, fill holes, give islands to the nearest zone."""
    uncertainty: bool = True
    """Write a volume of where the branches disagree."""


class Settings(PipelineSettings):
    """All settings of the prostate zones."""

    image: ImageSettings = ImageSettings()
    """What the network sees of an image."""
    network: NetworkSettings = NetworkSettings()
    """The zone network."""
    co_training: CoTrainingSettings = CoTrainingSettings()
    """The second stage."""
    augmentation: AugmentationSettings = AugmentationSettings(rotate_degrees=10.0, scale_range=(0.9, 1.1))
    """Random changes of the training patches."""
    training: ZoneTrainingSettings = ZoneTrainingSettings()
    """How long and how fast."""
    inference: InferenceSettings = InferenceSettings()
    """How masks are made."""

    @model_validator(mode="after")
    def _stage_2_has_something_to_compare(self) -> Settings:
        if len(self.network.branches) == 1 and self.co_training.share > 0:
            raise ValueError("one branch has nothing to agree with: set `co_training.share=0`, or give two branches")
        return self

    @model_validator(mode="after")
    def _patch_can_be_halved(self) -> Settings:
        patch, multiple = self.image.patch_size, tuple(map(math.prod, zip(*self.network.strides, strict=True)))
        if any(size % least for size, least in zip(patch, multiple, strict=True)):
            raise ValueError(f"`image.patch_size` must be multiples of the strides' product {multiple}, got {patch}")
        return self
