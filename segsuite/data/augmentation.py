"""Random intensity changes and flips of a whole batch at once, on whatever device the batch is.

The list follows nnU-Net's (Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z, supplement): noise,
blur, brightness, contrast, low resolution, gamma, inverted gamma, mirroring. Each change draws per sample whether it
happens and how much, from one CPU generator, so that CPU and GPU runs see the same augmentation (but for the noise itself,
which is drawn where the batch is); the samples that it happens to are then changed together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

__all__ = ["IntensityAugmentation", "augment_batch", "blur", "change_gamma", "mirror", "reduce_resolution"]

Change = Callable[[Tensor, Tensor], Tensor]
"""Samples (n, channels, i, j, k) and one amount for each to the changed samples."""
SPACE = (2, 3, 4)
BLUR_REACH = 4
"""Voxels to each side that a blurred voxel is made of."""


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
    """A batch with each sample changed at random; in single precision also where the training step is not.

    Args:
        image: (batch, channels, i, j, k).
        label: (batch, ..., i, j, k); only mirrored.
        augmentation: What may happen.
        seed: Of this batch.

    Returns:
        New image and label.
    """
    draw = torch.Generator().manual_seed(seed)
    amounts = [_drawn_amounts(augmentation, draw) for _ in range(len(image))]
    with torch.autocast(image.device.type, enabled=False):
        changed = image.float().clone()
        for name, change in _changes(draw, image.device).items():
            which = [sample for sample, drawn in enumerate(amounts) if name in drawn]
            for at, samples in _taken_together(which, image.device):
                changed[at] = change(changed[at], torch.tensor([amounts[sample][name] for sample in samples]))
        return _mirrored(changed, label.clone(), augmentation.mirror_axes, draw)


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
    return _mirrored(image.clone(), label.clone(), axes, draw)


def _mirrored(image: Tensor, label: Tensor, axes: tuple[int, ...], draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """In place."""
    together: dict[tuple[int, ...], list[int]] = {}
    for sample in range(len(image)):
        flipped = tuple(axis for axis in axes if _uniform(draw, 0, 1) < 0.5)
        together.setdefault(flipped, []).append(sample)
    for flipped, samples in together.items():
        dims = [axis - 3 for axis in flipped]
        for at, _ in _taken_together(samples if flipped else [], image.device):
            image[at], label[at] = image[at].flip(dims), label[at].flip(dims)
    return image, label


def _taken_together(samples: list[int], device: torch.device) -> Iterator[tuple[Any, list[int]]]:
    """An index into the batch, and the samples there: on a CPU one after the other, which stay in its cache."""
    if device.type == "cpu":
        yield from ((slice(sample, sample + 1), [sample]) for sample in samples)
    elif samples:
        yield samples, samples


def blur(samples: Tensor, sigmas: Tensor) -> Tensor:
    """Gaussian blur, axis by axis, edge values repeated.

    Args:
        samples: (n, channels, i, j, k).
        sigmas: (n,), widths in voxels, at most 1.33 (the kernel has 9 taps).

    Returns:
        Same shape.
    """
    taps = torch.arange(-BLUR_REACH, BLUR_REACH + 1)
    kernels = torch.exp(-0.5 * (taps / sigmas[:, None]) ** 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)
    for axis in SPACE:
        size = samples.shape[axis]
        if size < 2:
            continue
        sources = (torch.arange(size)[:, None] + taps).clamp(0, size - 1)
        matrices = torch.zeros(len(samples), size, size)
        matrices.scatter_add_(2, sources.expand(len(samples), -1, -1), kernels[:, None].expand(-1, size, -1).contiguous())
        samples = _along(samples, matrices, axis)
    return samples


def reduce_resolution(samples: Tensor, factors: Tensor) -> Tensor:
    """Samples as if they had been acquired with larger voxels: the nearest voxel of each, then linear interpolation back.

    Args:
        samples: (n, channels, i, j, k).
        factors: (n,), share of the voxels per axis that stays, in (0, 1].

    Returns:
        Same shape.
    """
    for axis in SPACE:
        size = samples.shape[axis]
        matrices = torch.stack([_down_and_up(size, max(1, round(size * factor))) for factor in factors.tolist()])
        samples = _along(samples, matrices, axis)
    return samples


def change_gamma(samples: Tensor, exponents: Tensor, *, invert: bool) -> Tensor:
    """Raise each channel, scaled to [0, 1], to a power; then restore its mean and standard deviation.

    Args:
        samples: (n, channels, i, j, k).
        exponents: (n,), above zero.
        invert: Do it on the negative.

    Returns:
        Same shape.
    """
    sign = -1.0 if invert else 1.0
    values = samples * sign
    mean, std = values.mean(SPACE, keepdim=True), values.std(SPACE, keepdim=True)
    low = values.amin(SPACE, keepdim=True)
    span = (values.amax(SPACE, keepdim=True) - low).clamp_min(1e-7)
    changed = ((values - low) / span).clamp(0, 1) ** _per_sample(exponents, samples)
    changed = (changed - changed.mean(SPACE, keepdim=True)) / changed.std(SPACE, keepdim=True).clamp_min(1e-7)
    return sign * (changed * std + mean)


def _drawn_amounts(chance: IntensityAugmentation, draw: torch.Generator) -> dict[str, float]:
    """What happens to one sample, and how much."""
    ranges = {
        "noise": (0, 0.1), "blur": (0.5, 1.0), "brightness": (0.75, 1.25), "contrast": (0.75, 1.25),
        "low_resolution": (0.5, 1.0), "inverted_gamma": (0.7, 1.5), "gamma": (0.7, 1.5),
    }  # fmt: skip
    happens = [name for name in ranges if _uniform(draw, 0, 1) < getattr(chance, name)]
    return {name: _uniform(draw, *ranges[name]) for name in happens}


def _changes(draw: torch.Generator, device: torch.device) -> dict[str, Change]:
    """What each change does, in the order in which they happen."""
    seed = int(torch.randint(2**62, (), generator=draw))
    return {
        "noise": partial(_add_noise, generator=torch.Generator(device).manual_seed(seed)),
        "blur": blur,
        "brightness": lambda samples, factors: samples * _per_sample(factors, samples),
        "contrast": _change_contrast,
        "low_resolution": reduce_resolution,
        "inverted_gamma": partial(change_gamma, invert=True),
        "gamma": partial(change_gamma, invert=False),
    }


def _add_noise(samples: Tensor, variances: Tensor, *, generator: torch.Generator) -> Tensor:
    noise = torch.randn(samples.shape, generator=generator, device=samples.device)
    return samples + noise * samples.std((1, *SPACE), keepdim=True) * _per_sample(variances.sqrt(), samples)


def _change_contrast(samples: Tensor, factors: Tensor) -> Tensor:
    mean = samples.mean(SPACE, keepdim=True)
    low, high = samples.amin(SPACE, keepdim=True), samples.amax(SPACE, keepdim=True)
    return ((samples - mean) * _per_sample(factors, samples) + mean).clamp(low, high)


def _down_and_up(size: int, n_kept: int) -> Tensor:
    """(size, size): each voxel from the nearest voxels of a grid with fewer, linearly."""
    nearest = ((torch.arange(n_kept) + 0.5) * size / n_kept).long()
    at = ((torch.arange(size) + 0.5) * n_kept / size - 0.5).clamp_min(0)
    before = at.long()
    after = (before + 1).clamp_max(n_kept - 1)
    matrix = torch.zeros(size, size)
    rows = torch.arange(size)
    matrix.index_put_((rows, nearest[before]), 1 - (at - before), accumulate=True)
    matrix.index_put_((rows, nearest[after]), at - before, accumulate=True)
    return matrix


def _along(samples: Tensor, matrices: Tensor, axis: int) -> Tensor:
    """Every line of samples along an axis times the sample's matrix (n, size, size)."""
    first = matrices.to(samples.device)[:, None]
    if axis == 2:
        return (first @ samples.flatten(3)).view(samples.shape)
    if axis == 3:
        return first[:, None] @ samples
    return (samples.flatten(1, 3) @ first[:, 0].transpose(1, 2)).view(samples.shape)


def _per_sample(amounts: Tensor, samples: Tensor) -> Tensor:
    return amounts.to(samples.device).view(-1, 1, 1, 1, 1)


def _uniform(draw: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))
