"""Keep new structures from being swallowed by background: a bias where an object is seen that no base class took (CBBI).

Source: the aim is in the abstract of Huang et al. 2023, arXiv:2308.04952; formula, threshold and size are our own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segsuite.errors import SettingsError

__all__ = ["BIASES", "conditional_bias"]

BIASES = ("off", "hard", "soft", "unconditional")
LARGEST = 3.0
"""A soft bias never exceeds this, in logits."""


def conditional_bias(base: Tensor, foreground: Tensor, *, kind: str, threshold: float, size: float) -> Tensor:
    r"""What is added to the margin of every new structure.

    .. math:: \mathrm{hard}: \beta\, c(x), \quad
        \mathrm{soft}: \min(\beta\, c(x)\,(\mathrm{logit}\,G(x) - \mathrm{logit}\,\tau),\, 3), \qquad
        c(x) = [\arg\max z(x) = \mathrm{background}] \, [G(x) > \tau]

    ``unconditional`` is calibrated stacking: beta everywhere.

    Args:
        base: Logits or probabilities of background and base classes (batch, 1 + base, *space).
        foreground: Log-odds of an object (batch, 1, *space); not looked at where unconditional.
        kind: ``off``, ``hard``, ``soft`` or ``unconditional``.
        threshold: tau in (0, 1]; 1: never.
        size: beta >= 0, in logits.

    Returns:
        (batch, 1, *space), >= 0. The same for all new structures, so that it never changes their order.

    Raises:
        SettingsError: Unknown kind.

    Source: our own; the weak variant: Chao et al. 2016, arXiv:1605.04253 (calibrated stacking).
    """
    if kind not in BIASES:
        raise SettingsError(f"--set bias must be one of {BIASES}, got `{kind}`.")
    empty = torch.zeros_like(base[:, :1])
    if kind == "off" or size == 0:
        return empty
    if kind == "unconditional":
        return empty + size
    limit = torch.logit(torch.tensor(threshold, dtype=torch.float32)).to(base.device)
    condition = (base.argmax(dim=1, keepdim=True) == 0) & (foreground > limit)
    amount = torch.full_like(empty, size) if kind == "hard" else (size * (foreground - limit)).clamp(max=LARGEST)
    return torch.where(condition, amount, empty)
