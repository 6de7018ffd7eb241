"""How the learning rate falls, and the average that follows the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage", "learning_rate_factor", "make_optimiser"]


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


class WeightAverage(nn.Module):
    """An exponential moving average of a network's weights, updated with ``update_parameters``; starts at its weights.

    As ``torch.optim.swa_utils.AveragedModel``, with the same checkpoints, but it knows its number of updates without asking a
    GPU, which would make every step wait for the one before.

    Attributes:
        module: The average.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 1992, doi:10.1137/0330046.
    """

    n_averaged: Tensor

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        """Copy.

        Args:
            network: The network that is trained.
            decay: Share of the old average that stays per step, in [0, 1).
        """
        super().__init__()
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("n_averaged", torch.tensor(0))
        self.decay = decay
        self._n_known: int | None = 0
        self.register_load_state_dict_post_hook(_forget_count)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update_parameters(self, network: nn.Module) -> None:
        """Follow the network by one step.

        Args:
            network: The network that is trained.
        """
        n = int(self.n_averaged) if self._n_known is None else self._n_known
        averages = [parameter.data for parameter in self.module.parameters()]
        current = [parameter.detach() for parameter in network.parameters()]
        # early on the average follows faster: a fixed decay would remember the random start for 1 / (1 - decay) steps
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        torch._foreach_lerp_(averages, current, 1 - decay)
        for average, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
        self.n_averaged += 1
        self._n_known = n + 1


def _forget_count(average: WeightAverage, _: object) -> None:
    """It is another one after loading."""
    average._n_known = None
