"""What can be chosen for few-shot segmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segsuite.settings import AugmentationSettings, Group, PipelineSettings, PlanSettings, SliceNetworkSettings, TrainingSettings

__all__ = ["Settings"]


class FeatureSettings(Group):
    """What kernels see."""

    channels: int = Field(default=32, ge=4)
    """Features per voxel."""
    resolution: Literal["full", "half"] = "full"
    """Of the features within slices; at half they are wider in 2-D: for organs, not for thin structures."""
    place: bool = True
    """Tell the network where in the body each voxel lies: what tells a left from a right organ."""
    regions: int = Field(default=32, ge=0)
    """Pseudo-anatomical regions that base training tells apart; 0: none."""
    region_weight: float = Field(default=1.0, ge=0)
    """Of their loss."""
    update: Literal["off", "base", "regions"] = "off"
    """Learn a gate that makes kernels from prototypes, in episodes where base classes (and regions) play new ones."""
    rule: Literal["drop_novel", "with_base", "all"] = "with_base"
    """Which scans base training sees: without novel structures; with a base structure; all. Novel is background in them."""


class ForegroundSettings(Group):
    """A branch that finds objects of any class, known or not."""

    weight: float = Field(default=0.0, ge=0)
    """Of its loss; 0: no such branch."""
    leave_class_out: bool = True
    """Hold classes out of what the branch is told, and call them objects all the same."""
    ignore_background: float = Field(default=0.05, ge=0, lt=1)
    """Share of the background voxels, those most like objects, that teach it nothing."""
    regions: bool = False
    """Let random pseudo-anatomical regions be objects too."""


class KernelSettings(Group):
    """How a new structure is decided; saved with the model, and open to `segsuite predict --set key=value`."""

    rule: Literal["discriminant", "prototype", "gated", "blended", "logistic", "finetuned"] = "discriminant"
    """Linear discriminant; prototype; prototype through the trained gate; with base kernels moved; regression; 100 steps."""
    ridge: float = Field(default=0.02, gt=0)
    """Of the discriminant's covariance."""
    calibrate: bool = True
    """Choose each threshold on the supports."""
    prototypes: int = Field(default=1, ge=1)
    """Sub-prototypes per structure, for rules that have prototypes."""
    competition: Literal["closed", "open"] = "closed"
    """A voxel that a base structure won stays with it; or the largest of all logits wins."""
    bias: Literal["off", "hard", "soft", "unconditional"] = "off"
    """In favour of new structures: where the foreground branch sees an object; or everywhere."""
    bias_threshold: float = Field(default=0.5, gt=0, le=1)
    """Probability of an object from which on a conditional bias is given."""
    bias_size: float = Field(default=1.0, ge=0)
    """Of the bias, in logits."""


class RegisterSettings(Group):
    """Novel structures that training registers at its end, from its own training cases: for demos and benchmarks."""

    shots: int = Field(default=0, ge=0)
    """Patients; 0: nothing is registered."""
    slices: int | None = Field(default=None, ge=1)
    """So many annotated slices per scan instead of all."""


class BenchmarkSettings(Group):
    """What `segsuite fewshot benchmark` hides, draws and judges."""

    folds: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Name of a fold to the structures that are new in it."""
    shots: tuple[int, ...] = (1, 5)
    """Numbers of support patients."""
    draws: int = Field(default=3, ge=1)
    """Draws of supports per number."""
    largest_component: bool = True
    """Keep only the largest component of each new structure: right for organs, not for photographs."""


class InferenceSettings(Group):
    """How masks are made; saved with the model, and open to `segsuite predict --set key=value`."""

    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that the next one covers again."""
    mirror: bool = False
    """Average over flips along the axes that training mirrored."""
    probability_maps: bool = False
    """Write one volume per new structure with its probability."""
    foreground_map: bool = False
    """Write a volume of objects that no base class took, where the model has a foreground branch."""


class Settings(PipelineSettings):
    """All settings of few-shot segmentation."""

    novel: tuple[str, ...] = ()
    """Structures of the manifest that base training must not see."""
    plan: PlanSettings = PlanSettings()
    """Overrides of the plan."""
    slice_network: SliceNetworkSettings = SliceNetworkSettings()
    """The 2-D network, where the plan is 2-D."""
    extractor: str | None = None
    """Model folder of a trained U-Net whose features are used as they are."""
    features: FeatureSettings = FeatureSettings()
    """What kernels see."""
    foreground: ForegroundSettings = ForegroundSettings()
    """A branch that finds objects of any class."""
    kernels: KernelSettings = KernelSettings()
    """How a new structure is decided."""
    register_novel: RegisterSettings = RegisterSettings()
    """What is registered at the end of training."""
    benchmark: BenchmarkSettings = BenchmarkSettings()
    """What the benchmark hides, draws and judges."""
    augmentation: AugmentationSettings = AugmentationSettings(rotate_degrees=15.0, scale_range=(0.85, 1.25))
    """Random changes of the training patches."""
    training: TrainingSettings = TrainingSettings()
    """How long and how fast."""
    inference: InferenceSettings = InferenceSettings()
    """How masks are made."""
