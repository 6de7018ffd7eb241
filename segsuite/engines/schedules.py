"""How the learning rate falls, and the average that follows the weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["averaged_copy", "learning_rate_factor", "make_optimiser"]


def learning_rate_factor(progress: float, *, schedule: str, warmup: float = 0.0) -> float:
    r"""Share of the base learning rate at some progress.

    .. math:: (1 - t)^{0.9} \quad\text{(poly)}, \qquad (1 + \cos \pi t) / 2 \quad\text{(cosine)}

    Args:
        progress: t in [0, 1].
        schedule: ``poly``, ``cosine`` or ``constant``.
        warmup: Share of the budget over which the rate first rises from zero.

    Returns:
        In [0, 1].

    Source: poly: Chen et al., IEEE PAMI 2018, arXiv:1606.00915; cosine: Loshchilov and Hutter, ICLR 2017,
        arXiv:1608.03983.
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    if schedule == "constant":
        return 1.0
    rest = (progress - warmup) / (1 - warmup)
    if schedule == "poly":
        return float((1 - rest) ** 0.9)
    return float((1 + torch.cos(torch.tensor(rest * torch.pi))) / 2)


def make_optimiser(
    parameters: Iterable[nn.Parameter], *, kind: str, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimiser of the parameters that have gradients.

    Args:
        parameters: Of a module; those that are held fixed are left out.
        kind: ``adamw``, ``adam`` or ``sgd`` (Nesterov momentum 0.99).
        learning_rate: At the start.
        weight_decay: Of the weights.

    Returns:
        The optimiser.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if kind == "sgd":
        return torch.optim.SGD(trained, learning_rate, momentum=0.99, nesterov=True, weight_decay=weight_decay)
    family = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return family(trained, learning_rate, weight_decay=weight_decay)


def averaged_copy(network: nn.Module, *, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights, updated with ``update_parameters``.

    Args:
        network: The network that is trained.
        decay: Share of the old average that stays per step, in [0, 1).

    Returns:
        The average, starting at the network's weights.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 1992, doi:10.1137/0330046.
    """

    def update(average: list[Tensor], current: list[Tensor], n_averaged: Tensor | int) -> None:
        # early on the average follows faster: a fixed decay would remember the random start for 1 / (1 - decay) steps
        n = float(n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(average, current, n_averaged)  # type: ignore[arg-type]

    average = AveragedModel(network, multi_avg_fn=update)  # type: ignore[arg-type]
    return average.requires_grad_(False)
