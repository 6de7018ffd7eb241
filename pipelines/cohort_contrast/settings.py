"""What can be chosen for the contrast of two cohorts; the defaults are the row of the benchmark that won."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from segsuite.settings import DataSettings, Group, PipelineSettings, TrainingSettings

__all__ = ["Settings"]


class BrainSettings(Group):
    """A cohort of phantom heads made by seed: ventricles widen with age, the diseased have one lesion."""

    n_per_group: int = Field(default=60, ge=4)
    """Subjects per group."""
    n_folds: int = Field(default=4, ge=2)
    """Folds by subject."""
    size: int = Field(default=32, ge=16)
    """Voxels per edge of a field of 128 mm."""
    repeat_share: float = Field(default=0.3, ge=0, le=1)
    """Share of subjects with a second scan."""
    site_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the diseased from the second site; of the healthy it is the rest. 0.5: site says nothing about the group."""
    seed: int = 0
    """Of the cohort; the run's seed is another one."""


class CohortDataSettings(DataSettings):
    """Which subjects: a manifest whose cases have `group: healthy` or `diseased`."""

    brains: BrainSettings | None = None
    """Make a cohort of phantom heads instead of reading one."""

    @model_validator(mode="after")
    def _one_cohort(self) -> CohortDataSettings:
        if self.phantom is not None:
            raise ValueError("give `brains`, not `phantom`: this pipeline needs two groups")
        if self.brains is not None and self.manifest is not None:
            raise ValueError("give either `manifest` or `brains`, not both")
        return self


class ImageSettings(Group):
    """What the network sees of an image."""

    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 3.0)
    """Voxel size of the network's grid."""
    shape: tuple[int, int, int] = (64, 64, 64)
    """Voxels around the centre of the field; smaller images are padded."""
    normalisation: Literal["zscore", "zscore_nonzero", "robust", "percentile"] = "zscore_nonzero"
    """How intensities are scaled; zscore_nonzero leaves a stripped background at zero."""
    within_label: bool = False
    """Blank everything outside the manifest's masks: an organ's mask, of any model, makes the organ the question."""


class NetworkSettings(Group):
    """The two encoders."""

    encoder: str = "convolutional"
    """convolutional (light), resnet10, resnet18, densenet121; for slices also smp:NAME."""
    channels: tuple[int, ...] = (8, 16, 32, 64)
    """Of the convolutional encoder's stages; the last one is also the width of the others."""
    common_dimensions: int = Field(default=16, ge=2)
    """Of what all subjects have."""
    salient_dimensions: int = Field(default=16, ge=1)
    """Of what only the diseased have; with `attributes` one per attribute."""
    norm: Literal["group", "batch"] = "group"
    """Batch norm mixes both groups' statistics; group norm does not."""


class LossSettings(Group):
    """The weights of the terms."""

    preset: Literal["separated", "vision", "medical", "medical_strong_null", "reference"] = "separated"
    """Weights: our own, or published ones; see `weights.PRESETS`."""
    null_weight: float | None = Field(default=None, ge=0)
    """Instead of the preset's weight of the pull of healthy subjects to the null point."""
    joint_weight: float | None = Field(default=None, ge=0)
    """Instead of the preset's weight of the joint entropy."""
    joint_on_common: float | None = Field(default=None, ge=0, le=1)
    """Instead of the preset's share of the joint entropy's gradient that reaches the common branch."""
    kind: Literal["pooled", "split", "per_anchor"] = "pooled"
    """Of the salient uniformity."""


class IndependenceSettings(Group):
    """What keeps the salient space from repeating the common one, beside the joint entropy."""

    erase: bool = True
    """After training, erase from the salient space what the common one says of how healthy subjects vary."""
    erase_sites: bool = True
    """Erase the site too, where several are known."""
    mixing: float = Field(default=0.0, ge=0, lt=1)
    """Largest share of a healthy image that salient views are blended with."""
    penalty: Literal["", "hsic", "distance_correlation"] = ""
    """Between both spaces of the diseased."""
    weight: float = Field(default=1.0, ge=0)
    """Of the penalty."""
    on_representations: bool = False
    """The joint entropy also of the representations."""


class ViewSettings(Group):
    """How much two views of one scan differ; nothing that one wants to read may depend on it."""

    rotate_degrees: float = Field(default=10.0, ge=0)
    """Largest angle."""
    scale: float = Field(default=0.05, ge=0, lt=1)
    """Largest relative change of size."""
    shift: float = Field(default=0.05, ge=0, lt=0.5)
    """Largest shift, as a share of the field."""
    gain: float = Field(default=0.2, ge=0)
    """Largest relative change of contrast."""
    offset: float = Field(default=0.1, ge=0)
    """Largest change of brightness."""
    gamma: float = Field(default=0.2, ge=0)
    """Largest logarithm of the exponent."""
    bias: float = Field(default=0.1, ge=0)
    """Of a slowly varying field."""
    noise: float = Field(default=0.1, ge=0)
    """Largest standard deviation of added noise."""
    blur: float = Field(default=0.2, ge=0, le=1)
    """Probability of a halved resolution."""
    cutout: float = Field(default=0.0, ge=0, le=1)
    """Probability of one hidden block."""
    flip: tuple[int, ...] = ()
    """Axes that may be mirrored, only where the side is no question."""


class SamplingSettings(Group):
    """Which subjects meet in a batch."""

    batch_size: int = Field(default=64, ge=4, multiple_of=2)
    """Subjects per step, half of each group."""
    memory_rows: int = Field(default=0, ge=0)
    """Rows of earlier batches that stand among the neighbours: for large networks whose batches are small."""
    match_sites: bool = True
    """Draw both groups from the same sites."""
    allow_confounded: bool = False
    """Train although site and group are nearly the same thing."""


class InferenceSettings(Group):
    """What a prediction holds; saved with the model, and open to `segsuite predict --set key=value`."""

    maps: Literal["gradients", "occlusion", "none"] = "gradients"
    """Integrated gradients of the squared salient norm, occlusion of blocks, or no map."""
    steps: int = Field(default=16, ge=2)
    """Of the integral."""
    region_share: float = Field(default=0.01, gt=0, lt=1)
    """Share of the field that the salient region takes, in a subject whose score stands out."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """A score stands out when so few held-out healthy subjects reach it."""


class Settings(PipelineSettings):
    """All settings of the cohort contrast."""

    data: CohortDataSettings = CohortDataSettings()
    """Which subjects."""
    image: ImageSettings = ImageSettings()
    """What the network sees of an image."""
    network: NetworkSettings = NetworkSettings()
    """The two encoders."""
    loss: LossSettings = LossSettings()
    """The weights of the terms."""
    independence: IndependenceSettings = IndependenceSettings()
    """What keeps the spaces apart."""
    attributes: tuple[str, ...] = ()
    """Attributes of the diseased that the salient dimensions must carry, one each: the supervised extension."""
    views: ViewSettings = ViewSettings()
    """How much two views of one scan differ."""
    sampling: SamplingSettings = SamplingSettings()
    """Which subjects meet in a batch."""
    training: TrainingSettings = TrainingSettings(
        optimiser="adam", learning_rate=1e-3, weight_decay=0.0, warmup=0.05, clip_norm=1.0, epochs_per_validation=0
    )
    """How long and how fast."""
    inference: InferenceSettings = InferenceSettings()
    """What a prediction holds."""
