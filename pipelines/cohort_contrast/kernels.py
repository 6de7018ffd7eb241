"""Gaussian kernels between rows, in float32 or better, through logarithms: nothing underflows."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor
from torch.distributed.nn import functional as across

__all__ = [
    "gathered",
    "log_kernel",
    "mean_of",
    "on_sphere",
    "positive",
    "precise",
    "require_rows",
    "require_same_rows",
    "squared_distances",
    "without_self",
]


def squared_distances(rows: Tensor) -> Tensor:
    """Squared Euclidean distances of all pairs, without cancellation on far-away clouds and without a root.

    Args:
        rows: (n, d).

    Returns:
        (n, n), at least 0; exactly 0 on the diagonal.
    """
    with torch.autocast(rows.device.type, enabled=False):
        values = precise(rows)
        centred = values - values.detach().mean(dim=0, keepdim=True)
        sizes = centred.square().sum(1)
        found = (sizes[:, None] + sizes[None] - 2 * centred @ centred.T).clamp_min(0)
        return found * (1 - torch.eye(len(found), dtype=found.dtype, device=found.device))


def log_kernel(rows: Tensor, bandwidth: float) -> Tensor:
    """Logarithm of the Gaussian kernel of all pairs.

    Args:
        rows: (n, d).
        bandwidth: tau in exp(-distance^2 / (2 tau)).

    Returns:
        (n, n), 0 on the diagonal.
    """
    return -squared_distances(rows) / (2 * positive(bandwidth))


def without_self(logits: Tensor) -> Tensor:
    """The same with minus infinity on the diagonal: a row is not its own neighbour.

    Args:
        logits: (n, n).

    Returns:
        (n, n).
    """
    return logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -math.inf)


def on_sphere(rows: Tensor) -> Tensor:
    """Rows of length one.

    Args:
        rows: (n, d).

    Returns:
        (n, d), float32 or better; a row of zeros stays.
    """
    return torch.nn.functional.normalize(precise(rows), dim=1)


def precise(rows: Tensor) -> Tensor:
    """The rows in float32, or float64 if they are so already.

    Args:
        rows: Any shape.

    Returns:
        Same shape.
    """
    return rows if rows.dtype == torch.float64 else rows.float()


def positive(bandwidth: float) -> float:
    """A bandwidth, checked.

    Args:
        bandwidth: tau.

    Returns:
        The same.

    Raises:
        ValueError: It is not above 0.
    """
    if bandwidth <= 0:
        raise ValueError(f"`bandwidth` must be above 0, got {bandwidth}.")
    return bandwidth


def require_rows(rows: Tensor, *, least: int, name: str) -> None:
    """Check that there are enough rows.

    Args:
        rows: To check.
        least: So many.
        name: For the message.

    Raises:
        ValueError: There are not, or they are no rows.
    """
    if rows.ndim != 2 or len(rows) < least:
        raise ValueError(f"`{name}` must be (n, d) with n >= {least}, got {tuple(rows.shape)}.")


def require_same_rows(common: Tensor, salient: Tensor) -> None:
    """Check that two spaces hold the same subjects, at least two.

    Args:
        common: (n, d_c).
        salient: (n, d_s).

    Raises:
        ValueError: They do not.
    """
    require_rows(common, least=2, name="common")
    if salient.ndim != 2 or len(common) != len(salient):
        raise ValueError(f"`common` and `salient` must have the same rows, got {tuple(common.shape)} and {tuple(salient.shape)}.")


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, with gradients to each of them; the rows themselves where there is one process.

    Args:
        rows: (n, ...), the same n everywhere.

    Returns:
        (n * processes, ...).
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()) or torch.distributed.get_world_size() == 1:
        return rows
    return torch.cat(across.all_gather(rows))


def mean_of(terms: Iterable[Tensor]) -> Tensor:
    """The mean of several scalars.

    Args:
        terms: Scalars.

    Returns:
        Scalar.
    """
    return torch.stack(list(terms)).mean()
