"""From a data set's fingerprint to spacing, normalisation, patch, batch and network, each with its reason.

The rules follow nnU-Net (Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z, methods) where a GPU is
there, and spend a smaller budget where only a CPU is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from segsuite.data.fingerprint import Fingerprint, take_fingerprint
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.documents import read_json
from segsuite.engines.cohort import Cohort
from segsuite.engines.processes import Tell, wait_for_first
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.sides import sided_names, why_not_mirrored
from segsuite.errors import ManifestError
from segsuite.files import write_json
from segsuite.networks.unet import least_multiple

__all__ = ["Plan", "make_plan", "plan_once"]

ANISOTROPY = 3.0
"""An axis this many times coarser than the finest, in spacing and in voxels, counts as through-plane."""
LEAST_FEATURE_SIZE = 4
"""Stages are added until the coarsest feature map is this small."""
MOST_STAGES = 6
LEAST_SHARE = 0.85
"""A planned patch is rounded down to what the strides allow if so much of every axis stays."""
CT_SCALE_SPREAD = 3.0
"""Data sets of one scale (CT) have 99.5 % intensities within this factor of each other; MR does not."""


@dataclass(frozen=True)
class Resources:
    """What a training step may cost.

    Attributes:
        patch_voxels: Largest patch.
        batch_voxels: Largest batch; decides the batch size.
        base_channels: Channels of the finest stage.
        max_channels: Channels of the coarsest.
        name: ``CPU`` or ``GPU``.
    """

    patch_voxels: int
    batch_voxels: int
    base_channels: int
    max_channels: int
    name: str


CPU = Resources(112_000, 240_000, 16, 128, "CPU")
GPU = Resources(128**3, 2 * 128**3, 32, 320, "GPU")


@dataclass(frozen=True)
class Plan:
    """All that the data decides. ``reasons`` has one sentence per choice; ``sided`` names labels that tell left from right."""

    dimensions: int
    spacing_mm: tuple[float, ...]
    normalisation: tuple[Normalisation, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    channels: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    mirror_axes: tuple[int, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    sided: tuple[str, ...] = ()

    @property
    def is_anisotropic(self) -> bool:
        """Whether the third axis is so coarse that only in-plane rotations make sense."""
        return self.dimensions == 2 or max(self.spacing_mm) > ANISOTROPY * min(self.spacing_mm)

    @property
    def preprocessing(self) -> Preprocessing:
        """Spacing and normalisation."""
        return Preprocessing(self.spacing_mm, self.normalisation)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content

    @staticmethod
    def from_json(content: dict[str, Any]) -> Plan:
        """The inverse of ``to_json``."""
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        nested = {key: tuple(tuple(row) for row in content[key]) for key in ("kernels", "strides")}
        entries = tuple(Normalisation(**entry) for entry in content["normalisation"])
        plain |= {**nested, "normalisation": entries}
        return Plan(**plain)


def make_plan(
    fingerprint: Fingerprint,
    *,
    on_gpu: bool,
    dimensions: int | None = None,
    spacing_mm: tuple[float, ...] | None = None,
    patch_size: tuple[int, ...] | None = None,
    batch_size: int | None = None,
    base_channels: int | None = None,
    mirror_axes: tuple[int, ...] | None = None,
    normalisation: str | None = None,
) -> Plan:
    """The plan for a data set; what is given is kept, the rest follows from the data.

    Args:
        fingerprint: Of the training data.
        on_gpu: Whether a GPU will train.
        dimensions: 2 or 3.
        spacing_mm: Voxel size of the network's grid.
        patch_size: Voxels along i, j, k; rounded up to what the strides allow.
        batch_size: Patches per step.
        base_channels: Channels of the finest stage.
        mirror_axes: RAS+ axes along which patches may be flipped.
        normalisation: Scheme of all channels, one that goes by the case alone.

    Returns:
        The plan, with reasons.
    """
    resources = GPU if on_gpu else CPU
    reasons: dict[str, str] = {}
    dims = _dimensions(fingerprint, dimensions, reasons)
    spacing = spacing_mm or _spacing(fingerprint, resources, dims, reasons)
    reasons.setdefault("spacing_mm", "given in the settings")
    extent = np.asarray(fingerprint.median_shape) * np.asarray(fingerprint.median_spacing_mm) / np.asarray(spacing)
    patch = patch_size or _patch(extent, spacing, resources, dims, reasons)
    reasons.setdefault("patch_size", "given in the settings")
    kernels, strides = _stages(patch, spacing, dims)
    patch = _rounded(patch, spacing, dims, least_share=1.0 if patch_size else LEAST_SHARE)
    reasons["stages"] = (
        f"{len(strides)} stages: an axis is halved while at least {LEAST_FEATURE_SIZE} voxels stay and its voxels are within "
        "twice the finest"
    )
    base = base_channels or resources.base_channels
    channels = tuple(min(base * 2**stage, resources.max_channels) for stage in range(len(strides)))
    reasons["channels"] = f"{base} at the finest stage, doubled per stage up to {resources.max_channels} ({resources.name})"
    batch = batch_size or max(2, min(64, resources.batch_voxels // int(np.prod(patch))))
    reasons["batch_size"] = (
        f"{batch} patches of {int(np.prod(patch))} voxels fill the {resources.name}'s step of {resources.batch_voxels} voxels"
        if batch_size is None
        else "given in the settings"
    )
    scaling = _normalisation(fingerprint, normalisation, reasons)
    mirror = _mirror_axes(fingerprint, mirror_axes, reasons)
    sided = sided_names(list(fingerprint.label_ml), fingerprint.mirrored)
    return Plan(dims, tuple(spacing), scaling, patch, batch, channels, kernels, strides, mirror, reasons, sided)


def _dimensions(fingerprint: Fingerprint, given: int | None, reasons: dict[str, str]) -> int:
    if given is not None:
        reasons["dimensions"] = "given in the settings"
        return given
    thin = min(fingerprint.median_shape) <= 3
    reasons["dimensions"] = (
        f"2-D: the median case has only {min(fingerprint.median_shape):g} slices" if thin else
        f"3-D: the median case has {' x '.join(f'{n:g}' for n in fingerprint.median_shape)} voxels"
    )  # fmt: skip
    return 2 if thin else 3


def _spacing(fingerprint: Fingerprint, resources: Resources, dims: int, reasons: dict[str, str]) -> tuple[float, ...]:
    spacing = np.asarray(fingerprint.median_spacing_mm)
    shape = np.asarray(fingerprint.median_shape)
    coarse = int(spacing.argmax())
    others = [axis for axis in range(3) if axis != coarse]
    anisotropic = spacing[coarse] > ANISOTROPY * spacing[others].max() and shape[coarse] * ANISOTROPY < shape[others].min()
    reason = "median voxel size of the data"
    if anisotropic:
        finest = float(np.percentile(np.asarray(fingerprint.spacings_mm)[:, coarse], 10))
        spacing[coarse] = max(finest, float(spacing[others].max()))
        reason += f"; axis {'ijk'[coarse]} at its 10th percentile, since it is over {ANISOTROPY:g} times coarser"
    shape = shape * np.asarray(fingerprint.median_spacing_mm) / spacing
    fitting = np.prod(shape) / (8 * resources.patch_voxels)
    if dims == 3 and fitting > 1:
        # coarsen the finest axes together until a patch sees an eighth of the case: context beats detail
        for _ in range(40):
            if np.prod(shape) <= 8 * resources.patch_voxels:
                break
            fine = spacing < spacing.min() * 1.5
            shape, spacing = np.where(fine, shape / 1.1, shape), np.where(fine, spacing * 1.1, spacing)
        reason += f"; coarsened so that a {resources.name} patch sees an eighth of the median case"
    reasons["spacing_mm"] = reason
    return tuple(round(float(mm), 4) for mm in spacing)


def _patch(extent: Any, spacing: tuple[float, ...], resources: Resources, dims: int, reasons: dict[str, str]) -> tuple[int, ...]:
    size = np.maximum(1, np.ceil(np.asarray(extent))).astype(int)
    if dims == 2:
        size[2] = 1
    whole = True
    while np.prod(_rounded(size, spacing, dims)) > resources.patch_voxels:
        size[int(np.argmax(size / np.maximum(np.asarray(extent), 1) + size * 1e-6))] -= 1
        whole = False
    reasons["patch_size"] = (
        "the median case fits into one patch"
        if whole
        else f"same shape as the median case, cut to {resources.patch_voxels} voxels"
    )
    return tuple(int(n) for n in size)


def _rounded(size: Any, spacing: tuple[float, ...], dims: int, *, least_share: float = LEAST_SHARE) -> tuple[int, ...]:
    """A size as its strides allow: rounded down where that keeps enough of it (padding is paid for in every step), else up."""
    multiple = least_multiple(_stages(tuple(size), spacing, dims)[1])
    down = [int(n // m * m) for n, m in zip(size, multiple, strict=True)]
    up = [int(-(-n // m) * m) for n, m in zip(size, multiple, strict=True)]
    return tuple(d if d >= least_share * n else u for d, u, n in zip(down, up, size, strict=True))


def _stages(
    patch: tuple[int, ...], spacing: tuple[float, ...], dims: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Kernel and stride per stage: an axis is halved while it is long enough and its voxels are among the finest."""
    size, now = np.asarray(patch, dtype=float), np.asarray(spacing, dtype=float)
    kernels, strides = [], [(1, 1, 1)]
    while True:
        near = now <= 2 * now.min()
        kernels.append((int(near[0]) * 2 + 1, int(near[1]) * 2 + 1, 1 if dims == 2 else int(near[2]) * 2 + 1))
        pool = near & (size >= 2 * LEAST_FEATURE_SIZE)
        if dims == 2:
            pool[2] = False
        if not pool.any() or len(strides) == MOST_STAGES:
            return tuple(kernels), tuple(strides)
        stride = tuple(2 if halved else 1 for halved in pool)
        strides.append((stride[0], stride[1], stride[2]))
        size, now = np.ceil(size / np.asarray(stride)), now * np.asarray(stride)


def _mirror_axes(fingerprint: Fingerprint, given: tuple[int, ...] | None, reasons: dict[str, str]) -> tuple[int, ...]:
    """Left and right may be swapped unless labels tell them apart; patients are never upside down or back to front."""
    if given is not None:
        reasons["mirror_axes"] = "given in the settings"
        return given
    if why := why_not_mirrored(list(fingerprint.label_ml), fingerprint.mirrored):
        reasons["mirror_axes"] = f"none: {why}"
        return ()
    reasons["mirror_axes"] = "left and right only: patients are never upside down or back to front"
    return (0,)


def _normalisation(fingerprint: Fingerprint, given: str | None, reasons: dict[str, str]) -> tuple[Normalisation, ...]:
    entries = []
    for channel, spread in enumerate(fingerprint.case_scale_spread):
        values = fingerprint.intensities[channel]
        if given is not None:
            reason = "given in the settings"
            entries.append(Normalisation(given))
        elif fingerprint.least_intensity[channel] < -500 and spread < CT_SCALE_SPREAD:
            reason = "CT: intensities below -500 and one scale; window and scale from the foreground of all cases"
            entries.append(Normalisation("window", values["low"], values["high"], values["mean"], max(values["std"], 1e-6)))
        elif fingerprint.zero_share > 0.25:
            reason = f"{fingerprint.zero_share:.0%} of the voxels are exactly zero: scaled over the rest, case by case"
            entries.append(Normalisation("zscore_nonzero"))
        else:
            reason = f"intensity scales differ {spread:.3g}-fold between cases: scaled case by case"
            entries.append(Normalisation("zscore"))
        reasons[f"normalisation_{channel}"] = reason
    return tuple(entries)


def plan_once(run: RunFolder, cohort: Cohort, *, on_gpu: bool, overrides: dict[str, Any], tell: Tell) -> Plan:
    """The run's plan: made from all labelled cases on the first start, read from ``plan.json`` on every later one.

    Args:
        run: Where the plan is kept.
        cohort: The data.
        on_gpu: Whether a GPU will train.
        overrides: ``make_plan``'s optional arguments; ``None`` values are left to the data.
        tell: Told how far it is.

    Returns:
        The plan.

    Raises:
        ManifestError: The run began with other regions.
    """
    wait_for_first(run.plan)
    regions = {} if cohort.manifest.region_set is None else cohort.manifest.region_set.to_json()
    if run.plan.is_file():
        content = read_json(run.plan)
        if content.get("regions", {}) != regions:
            raise ManifestError(
                f"A training must go on with the regions that it began with, {content.get('regions') or 'single labels'}, got "
                f"{regions or 'single labels'} from {cohort.manifest.name}. Take the regions back, or train into another --out."
            )
        return Plan.from_json(content["plan"])
    cases = [*cohort.training, *cohort.held_out]
    tell(f"looking at {len(cases)} cases", 0.0)
    fingerprint = take_fingerprint(cohort.manifest, cases, data_root=cohort.data_root, workers=cohort.workers + 1)
    plan = make_plan(fingerprint, on_gpu=on_gpu, **overrides)
    write_json(
        run.plan, {"plan": plan.to_json(), "fingerprint": asdict(fingerprint), **({"regions": regions} if regions else {})}
    )
    return plan
