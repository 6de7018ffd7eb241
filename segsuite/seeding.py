"""One seed for everything random: every draw is keyed by the run's seed and by what it is drawn for.

Keys instead of one running stream: the n-th training patch is the same whether it is drawn first or after a
restart, in the main process or in a worker. That is what makes a killed run resume to the same weights.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np

__all__ = ["keyed_generator", "keyed_seed", "seed_libraries"]


def keyed_seed(seed: int, *keys: object) -> int:
    """A 63-bit seed that depends on the run's seed and on every key.

    Args:
        seed: The run's seed.
        keys: What the draw is for, for example ``"patch", 17``; compared by their text.

    Returns:
        Integer in [0, 2**63).
    """
    text = "\x1f".join(str(part) for part in (seed, *keys))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def keyed_generator(seed: int, *keys: object) -> np.random.Generator:
    """A numpy generator for one purpose; see ``keyed_seed``.

    Args:
        seed: The run's seed.
        keys: What the draw is for.

    Returns:
        A fresh generator, the same for the same seed and keys.
    """
    return np.random.default_rng(keyed_seed(seed, *keys))


def seed_libraries(seed: int) -> None:
    """Seed python, numpy and torch, for the parts of libraries that draw from global state.

    Args:
        seed: The run's seed.
    """
    import torch  # here, not above: `segsuite --help` must answer without loading torch

    random.seed(keyed_seed(seed, "python"))
    np.random.seed(keyed_seed(seed, "numpy") % 2**32)
    torch.manual_seed(keyed_seed(seed, "torch"))
