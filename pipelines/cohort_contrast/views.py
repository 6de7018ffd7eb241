"""Random views of a batch of slices or volumes, on whatever device it is; healthy and diseased are treated alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Views", "aug_audit", "mixed_with_healthy", "random_views", "warped"]


@dataclass(frozen=True)
class Views:
    """How much a view may differ. A change is allowed only if nothing that one wants to read depends on it.

    Attributes:
        rotate_degrees: Largest angle about each axis.
        scale: Largest relative change of size.
        shift: Largest shift, as a share of the field.
        gain: Largest relative change of contrast.
        offset: Largest change of brightness, in the units of the prepared image.
        gamma: Largest logarithm of the exponent.
        bias: Largest relative brightness of a slowly varying field.
        noise: Largest standard deviation of added noise.
        blur: Probability of a halved resolution.
        cutout: Probability of one hidden block of a quarter of each edge.
        flip: Axes that may be mirrored; only those whose side is no question.
    """

    rotate_degrees: float = 10.0
    scale: float = 0.05
    shift: float = 0.05
    gain: float = 0.2
    offset: float = 0.1
    gamma: float = 0.3
    bias: float = 0.1
    noise: float = 0.05
    blur: float = 0.2
    cutout: float = 0.0
    flip: tuple[int, ...] = ()


def random_views(image: Tensor, views: Views, *, seed: int) -> Tensor:
    """One random view of each image.

    Args:
        image: (n, channels, ...) with two or three spatial axes.
        views: What may happen.
        seed: Of this batch and view; draws are made on the CPU, the same for every device.

    Returns:
        Same shape.
    """
    draw = torch.Generator().manual_seed(seed)
    matrices = _affines(len(image), image.ndim - 2, views, draw)
    if views.rotate_degrees or views.scale or views.shift or views.flip:
        image = warped(image, matrices.to(image))
    column = (-1, *[1] * (image.ndim - 1))

    def uniform(largest: float) -> Tensor:
        return ((2 * torch.rand(len(image), generator=draw) - 1) * largest).to(image).view(column)

    if views.gamma:
        low, high = _low(image), _high(image)
        share = ((image - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
        image = low + (high - low) * share ** uniform(views.gamma).exp()
    if views.bias:
        coarse = torch.randn((len(image), 1, *[3] * (image.ndim - 2)), generator=draw).to(image) * views.bias / 2
        mode = "bilinear" if image.ndim == 4 else "trilinear"
        image = image * F.interpolate(coarse, size=image.shape[2:], mode=mode, align_corners=True).exp()
    image = image * (1 + uniform(views.gain)) + uniform(views.offset)
    if views.blur:
        image = torch.where(
            (torch.rand(len(image), generator=draw) < views.blur).to(image.device).view(column), _blurred(image), image
        )
    if views.noise:
        size = torch.rand(len(image), generator=draw).to(image).view(column) * views.noise
        image = image + size * torch.randn(image.shape, generator=draw).to(image)
    return _cut_out(image, views.cutout, draw) if views.cutout else image


def warped(image: Tensor, matrices: Tensor) -> Tensor:
    """Images seen through affine maps; beyond the border they are mirrored.

    Args:
        image: (n, channels, ...).
        matrices: (n, axes, axes + 1), in units of half the field, x first as torch wants it.

    Returns:
        Same shape.
    """
    grid = F.affine_grid(matrices, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def mixed_with_healthy(image: Tensor, is_diseased: Tensor, *, largest: float, seed: int) -> Tensor:
    """Every image blended with a random healthy one: what healthy subjects vary in says less about who this is.

    Args:
        image: (n, channels, ...).
        is_diseased: (n,) booleans.
        largest: The healthy image's share is drawn from 0 to this.
        seed: Of the draw.

    Returns:
        Same shape.

    Source: our own, against salient codes that repeat what is common.
    """
    healthy = torch.nonzero(~is_diseased).flatten()
    if not largest or not len(healthy):
        return image
    draw = torch.Generator().manual_seed(seed)
    partner = healthy[torch.randint(len(healthy), (len(image),), generator=draw).to(healthy.device)]
    share = (torch.rand(len(image), generator=draw) * largest).to(image).view(-1, *[1] * (image.ndim - 1))
    return (1 - share) * image + share * image[partner]


def aug_audit(lesion: Tensor, views: Views, *, seed: int, repeats: int = 4) -> float:
    """How much of a lesion a view leaves, on average: below 0.9 the views are too strong for lesions of this size.

    Args:
        lesion: (n, 1, ...) masks, none empty.
        views: What may happen to an image; moves and hidden blocks count.
        seed: Of the draws.
        repeats: Views per mask.

    Returns:
        Share of the lesion's volume that stays in the field, each at most 1.
    """
    moves = replace(views, gain=0, offset=0, gamma=0, bias=0, noise=0, blur=0, cutout=0)
    before = lesion.flatten(1).sum(1)
    shares = []
    for number in range(repeats):
        # a border of zeros, so that what leaves the field is gone and does not come back mirrored
        seen = _without_reflection(lesion, moves, seed + number)
        if views.cutout:
            kept = _cut_out(torch.ones_like(seen), views.cutout, torch.Generator().manual_seed(seed + number), fill=0.0)
            seen = seen * kept
        shares.append((seen.flatten(1).sum(1) / before).clamp_max(1))
    return float(torch.stack(shares).mean())


def _without_reflection(mask: Tensor, views: Views, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    grid = F.affine_grid(_affines(len(mask), mask.ndim - 2, views, draw).to(mask), list(mask.shape), align_corners=False)
    return F.grid_sample(mask, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _affines(n: int, axes: int, views: Views, draw: torch.Generator) -> Tensor:
    def uniform(largest: float, *shape: int) -> Tensor:
        return (2 * torch.rand(n, *shape, generator=draw) - 1) * largest

    matrices = torch.eye(axes).repeat(n, 1, 1)
    pairs = ((0, 1),) if axes == 2 else ((0, 1), (0, 2), (1, 2))
    for first, second in pairs:
        angle = uniform(math.radians(views.rotate_degrees))
        turn = torch.eye(axes).repeat(n, 1, 1)
        turn[:, first, first] = turn[:, second, second] = angle.cos()
        turn[:, first, second], turn[:, second, first] = -angle.sin(), angle.sin()
        matrices = matrices @ turn
    matrices = matrices * (1 + uniform(views.scale)).view(-1, 1, 1)
    for axis in views.flip:
        mirrored = torch.rand(n, generator=draw) < 0.5
        matrices[mirrored, axes - 1 - axis] *= -1
    return torch.cat([matrices, uniform(2 * views.shift, axes, 1)], dim=2)


def _low(image: Tensor) -> Tensor:
    return image.flatten(1).amin(1).view(-1, *[1] * (image.ndim - 1))


def _high(image: Tensor) -> Tensor:
    return image.flatten(1).amax(1).view(-1, *[1] * (image.ndim - 1))


def _blurred(image: Tensor) -> Tensor:
    mode = "bilinear" if image.ndim == 4 else "trilinear"
    small = F.interpolate(image, scale_factor=0.5, mode=mode, align_corners=False)
    return F.interpolate(small, size=image.shape[2:], mode=mode, align_corners=False)


def _cut_out(image: Tensor, probability: float, draw: torch.Generator, *, fill: float | None = None) -> Tensor:
    image = image.clone()
    for sample in range(len(image)):
        if float(torch.rand((), generator=draw)) < probability:
            starts = [int(torch.randint(n - n // 4 + 1, (), generator=draw)) for n in image.shape[2:]]
            block = tuple(slice(at, at + n // 4) for at, n in zip(starts, image.shape[2:], strict=True))
            image[(sample, slice(None), *block)] = image[sample].mean() if fill is None else fill
    return image
