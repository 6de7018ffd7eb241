"""YAML to validated settings: ``pipeline:`` first, ``extends:`` another config, dotted overrides on top.

Nothing below this floor sees a settings object; recipes turn them into plain arguments. No code, no class path and no
``eval`` in a config. Nothing heavy is imported here, so that a typing error shows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segsuite.errors import SettingsError, closest_hint, what_is_wrong
from segsuite.shipped import find_config

__all__ = [
    "AugmentationSettings",
    "DataSettings",
    "Group",
    "PhantomSettings",
    "PipelineSettings",
    "PlanSettings",
    "SliceNetworkSettings",
    "TrainingSettings",
    "as_yaml",
    "parsed_overrides",
    "read_config",
    "validated",
]

Precision = Literal["auto", "float32", "bfloat16"]
SettingsType = TypeVar("SettingsType", bound="PipelineSettings")


class Group(BaseModel):
    """A group of settings: unknown keys are refused, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PhantomSettings(Group):
    """A cohort of phantom prostates made by seed, for trying things without a data set."""

    n_cases: int = Field(default=12, ge=2)
    """Number of cases."""
    n_folds: int = Field(default=4, ge=2)
    """Folds by patient."""
    shape: tuple[int, int, int] = (64, 64, 24)
    """Voxels along i, j, k."""
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 3.0)
    """Voxel size along i, j, k."""
    seed: int = 0
    """Of the cohort; the run's seed is another one."""
    n_sites: int = Field(default=2, ge=1)
    """Scanners with their own gain, bias and noise."""
    diseased_share: float = Field(default=0.0, ge=0, le=1)
    """Share of patients with a lesion."""
    with_surroundings: bool = False
    """Also label bladder, rectum, muscle and seminal vesicles."""
    unlabelled_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of patients without a mask, for methods that learn from such."""
    rater_noise: bool = False
    """Masks as a human rater would draw them, instead of the exact ones."""
    masks: str | None = None
    """Folder of zone masks without images that give the shapes: PZ 1, TZ 2, and if drawn DPU 3, AFS 4."""
    with_regions: bool = False
    """Declare the gland and its inner part as regions that contain the zones."""
    vary_protocol: bool = False
    """Each patient with a voxel size, a number of slices and a place of the gland of its own."""
    randomise: float = Field(default=0.0, ge=0, le=2)
    """Spread of the tissues' intensities (standard deviation of the logarithm); 0 keeps to measured ranges."""


class DataSettings(Group):
    """Which cases, and where they are."""

    manifest: str | None = None
    """Path of a manifest, or the name of a shipped one."""
    data_root: str | None = None
    """Folder that the manifest's paths start from; default: the one it was imported from."""
    fold: int | None = Field(default=None, ge=0)
    """Fold that is held out; none: train on every labelled case."""
    cache_dir: str | None = None
    """Where prepared cases are kept; default: a folder `cache` beside the run's own."""
    cache_gb: float | None = Field(default=None, gt=0)
    """Most that prepared images may take on disk; others are prepared again when they are needed, which is slower."""
    phantom: PhantomSettings | None = None
    """Make a cohort instead of reading one."""

    @model_validator(mode="after")
    def _one_source(self) -> DataSettings:
        if self.manifest is not None and self.phantom is not None:
            raise ValueError("give either `manifest` or `phantom`, not both")
        return self


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
    target: float | None = Field(default=None, gt=0, le=1)
    """Stop as soon as validation reaches this mean Dice, and export the best; `max_minutes` and `max_steps` hold all the same."""
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    """AdamW, Adam, or SGD with Nesterov momentum 0.99."""
    learning_rate: float = Field(default=4e-3, gt=0)
    """At the start; SGD wants about 1e-2."""
    schedule: Literal["poly", "cosine", "constant"] = "cosine"
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
    precision: Precision = "auto"
    """Number format of the convolutions; auto takes bfloat16 where the hardware has it."""
    compiled: bool | None = None
    """Compile the norms on a GPU: half a minute, then half the time per step; null: from 5 minutes and 1000 steps on."""

    @property
    def may_stop_early(self) -> bool:
        """Whether the best weights are exported, not the last."""
        return bool(self.patience) or self.target is not None

    @model_validator(mode="after")
    def _limited(self) -> TrainingSettings:
        if self.max_minutes is None and self.max_steps is None:
            raise ValueError("training must end: give `max_minutes` or `max_steps`")
        if self.target is not None and not self.epochs_per_validation:
            raise ValueError("`target` must have validations to judge by: give `epochs_per_validation`")
        return self


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
    normalisation: Literal["zscore", "zscore_nonzero", "robust", "percentile"] | None = None
    """How intensities are scaled, case by case; robust bears bright cysts and coils in MR."""


class SliceNetworkSettings(Group):
    """The 2-D network; used when the plan is 2-D."""

    architecture: str = "unet"
    """Decoder of segmentation-models-pytorch."""
    encoder: str = "resnet18"
    """Encoder of segmentation-models-pytorch (timm)."""
    encoder_weights: str | None = None
    """Local file with pre-trained encoder weights; nothing is ever downloaded."""


class PipelineSettings(Group):
    """What every pipeline's settings have."""

    pipeline: str
    """Name of the pipeline."""
    name: str
    """Name of the experiment; also the default run folder."""
    seed: int = 0
    """Everything random depends on it."""
    data: DataSettings = DataSettings()
    """Which cases."""
    finetune: str | None = None
    """Model or run folder of the same pipeline whose weights the training starts from."""


def read_config(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A config with everything it extends, and with overrides applied; not validated yet.

    Args:
        name_or_path: File, or shipped name such as ``supervised/hippocampus``.
        overrides: ``dotted.key=value``, the value in YAML.

    Returns:
        Plain nested values.

    Raises:
        SettingsError: Unknown config, no YAML mapping, a circle of ``extends``, or an override without ``=``.
    """
    content = _read_extended(name_or_path, seen=())
    for key, value in parsed_overrides(overrides).items():
        _set(content, key.split("."), value, f"{key}={value}")
    return content


def parsed_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """``key=value`` texts as keys and values.

    Args:
        overrides: The value in YAML.

    Returns:
        Key to value; the last one counts.

    Raises:
        SettingsError: An override without ``=``, or a value that is no YAML.
    """
    found = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"An override must look like training.max_minutes=5, got `{override}`.")
        try:
            found[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"The value of `{override}` must be YAML, got: {error}.") from error
    return found


def validated(content: dict[str, Any], settings_class: type[SettingsType], *, source: str) -> SettingsType:
    """Check values against a pipeline's settings.

    Args:
        content: From ``read_config``.
        settings_class: The pipeline's.
        source: The config's name for messages.

    Returns:
        The settings.

    Raises:
        SettingsError: Unknown key (with the closest known one), wrong type or value; all findings in one message.
    """
    try:
        return settings_class.model_validate(content)
    except ValidationError as error:
        findings = [_finding(item, settings_class) for item in error.errors()[:8]]
        raise SettingsError(f"{source}: " + "; ".join(findings)) from error


def as_yaml(settings: PipelineSettings) -> str:
    """The resolved settings as a config file.

    Args:
        settings: Validated settings.

    Returns:
        YAML that ``read_config`` reads back to the same settings.
    """
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_extended(name_or_path: str, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = find_config(name_or_path).resolve()
    if path in seen:
        circle = " -> ".join(str(part) for part in (*seen, path))
        raise SettingsError(f"`extends` must not lead back to itself, got {circle}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} must be YAML, got: {error}.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold settings by name, got {type(content).__name__}.")
    parent = content.pop("extends", None)
    if parent is None:
        return content
    beside = path.parent / str(parent)
    base = _read_extended(str(beside) if beside.is_file() else str(parent), (*seen, path))
    return _merged(base, content)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def _set(content: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        if content.get(key) is None:
            content[key] = {}
        content = content[key]
        if not isinstance(content, dict):
            raise SettingsError(f"`{override}` must point into a group of settings, but `{key}` holds {content!r}.")
    content[keys[-1]] = value


def _finding(item: Any, settings_class: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _fields_at(settings_class, item["loc"][:-1])
        return f"key `{place}` is unknown. {closest_hint(str(item['loc'][-1]), known)}"
    return what_is_wrong(item, most=60)


def _fields_at(settings_class: type[BaseModel], location: Sequence[Any]) -> list[str]:
    for part in location:
        field = settings_class.model_fields.get(str(part))
        inner = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        groups = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if groups:
            settings_class = groups[0]
    return list(settings_class.model_fields)
