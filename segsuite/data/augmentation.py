"""Random intensity changes and flips of a whole batch at once, on whatever device the batch is.

The list follows nnU-Net's (Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z, supplement): noise,
blur, brightness, contrast, low resolution, gamma, inverted gamma, mirroring. Each change draws per sample whether it
happens; all draws come from one CPU generator, so that CPU and GPU runs see the same augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["IntensityAugmentation", "augment_batch", "blur", "change_gamma", "mirror", "reduce_resolution"]


@dataclass(frozen=True)
class IntensityAugmentation:
    """Probability per sample of each change, and its range.

    Attributes:
        noise: Gaussian noise; variance up to 0.1 of the sample's own.
        blur: Gaussian blur; sigma 0.5 to 1 voxel.
        brightness: Factor 0.75 to 1.25.
        contrast: Factor 0.75 to 1.25 about the mean, range kept.
        low_resolution: Down to half the resolution and back.
        gamma: Exponent 0.7 to 1.5, mean and spread kept.
        inverted_gamma: The same on the inverted image.
        mirror_axes: Axes (0, 1, 2 = i, j, k) that may be flipped, each with probability 1/2.
    """

    noise: float = 0.1
    blur: float = 0.2
    brightness: float = 0.15
    contrast: float = 0.15
    low_resolution: float = 0.25
    gamma: float = 0.3
    inverted_gamma: float = 0.1
    mirror_axes: tuple[int, ...] = (0, 1, 2)

    def scaled(self, factor: float, *, mirror_axes: tuple[int, ...]) -> IntensityAugmentation:
        """The same list with every probability multiplied (at most 1) and other mirror axes.

        Args:
            factor: At least 0.
            mirror_axes: Axes that may be flipped.

        Returns:
            A new list.
        """
        chances = {f.name: min(1.0, getattr(self, f.name) * factor) for f in fields(self) if f.name != "mirror_axes"}
        return IntensityAugmentation(**chances, mirror_axes=mirror_axes)


def augment_batch(image: Tensor, label: Tensor, augmentation: IntensityAugmentation, *, seed: int) -> tuple[Tensor, Tensor]:
    """A batch with each sample changed at random.

    Args:
        image: (batch, channels, i, j, k).
        label: (batch, ..., i, j, k); only mirrored.
        augmentation: What may happen.
        seed: Of this batch.

    Returns:
        New image and label.
    """
    draw = torch.Generator().manual_seed(seed)
    image = image.clone()
    for sample in range(len(image)):
        image[sample] = _augment_sample(image[sample], augmentation, draw)
    return mirror(image, label, augmentation.mirror_axes, draw)


def mirror(image: Tensor, label: Tensor, axes: tuple[int, ...], draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip image and label together, each axis with probability 1/2 per sample.

    Args:
        image: (batch, channels, i, j, k).
        label: (batch, ..., i, j, k).
        axes: Which of 0, 1, 2 may be flipped.
        draw: Source of randomness, on the CPU.

    Returns:
        New image and label.
    """
    image, label = image.clone(), label.clone()
    for sample in range(len(image)):
        flipped = [axis for axis in axes if _uniform(draw, 0, 1) < 0.5]
        if flipped:
            image[sample] = image[sample].flip([axis + 1 for axis in flipped])
            label[sample] = label[sample].flip([axis - 3 for axis in flipped])
    return image, label


def blur(sample: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with one sigma, axis by axis, edge values repeated.

    Args:
        sample: (channels, i, j, k).
        sigma: Width in voxels, at most 1.33 (the kernel has 9 taps).

    Returns:
        Same shape.
    """
    taps = torch.arange(-4, 5, dtype=sample.dtype, device=sample.device)
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for axis in range(3):
        if sample.shape[axis + 1] < 2:
            continue
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = 9
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = 4
        padded = F.pad(sample[:, None], padding, mode="replicate")
        sample = F.conv3d(padded, kernel.reshape(shape))[:, 0]
    return sample


def reduce_resolution(sample: Tensor, factor: float) -> Tensor:
    """The sample as if it had been acquired with larger voxels.

    Args:
        sample: (channels, i, j, k).
        factor: Share of the voxels per axis that stays, in (0, 1].

    Returns:
        Same shape.
    """
    size = sample.shape[1:]
    small = [max(1, round(n * factor)) for n in size]
    coarse = F.interpolate(sample[None], size=small, mode="nearest-exact")
    return F.interpolate(coarse, size=list(size), mode="trilinear", align_corners=False)[0]


def change_gamma(sample: Tensor, exponent: float, *, invert: bool) -> Tensor:
    """Raise each channel, scaled to [0, 1], to a power; then restore its mean and standard deviation.

    Args:
        sample: (channels, i, j, k).
        exponent: Above zero.
        invert: Do it on the negative.

    Returns:
        Same shape.
    """
    sign = -1.0 if invert else 1.0
    values = sample * sign
    dims = (1, 2, 3)
    mean, std = values.mean(dims, keepdim=True), values.std(dims, keepdim=True)
    low = values.amin(dims, keepdim=True)
    span = (values.amax(dims, keepdim=True) - low).clamp_min(1e-7)
    changed = ((values - low) / span).clamp(0, 1) ** exponent
    changed = (changed - changed.mean(dims, keepdim=True)) / changed.std(dims, keepdim=True).clamp_min(1e-7)
    return sign * (changed * std + mean)


def _augment_sample(sample: Tensor, chance: IntensityAugmentation, draw: torch.Generator) -> Tensor:
    if _uniform(draw, 0, 1) < chance.noise:
        noise = torch.randn(sample.shape, generator=draw).to(sample)
        sample = sample + noise * sample.std() * _uniform(draw, 0, 0.1) ** 0.5
    if _uniform(draw, 0, 1) < chance.blur:
        sample = blur(sample, _uniform(draw, 0.5, 1.0))
    if _uniform(draw, 0, 1) < chance.brightness:
        sample = sample * _uniform(draw, 0.75, 1.25)
    if _uniform(draw, 0, 1) < chance.contrast:
        mean = sample.mean((1, 2, 3), keepdim=True)
        low, high = sample.amin((1, 2, 3), keepdim=True), sample.amax((1, 2, 3), keepdim=True)
        sample = ((sample - mean) * _uniform(draw, 0.75, 1.25) + mean).clamp(low, high)
    if _uniform(draw, 0, 1) < chance.low_resolution:
        sample = reduce_resolution(sample, _uniform(draw, 0.5, 1.0))
    if _uniform(draw, 0, 1) < chance.inverted_gamma:
        sample = change_gamma(sample, _uniform(draw, 0.7, 1.5), invert=True)
    if _uniform(draw, 0, 1) < chance.gamma:
        sample = change_gamma(sample, _uniform(draw, 0.7, 1.5), invert=False)
    return sample


def _uniform(draw: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))
