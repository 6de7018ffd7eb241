from __future__ import annotations

import random

import numpy as np
import torch

from segsuite.seeding import keyed_generator, keyed_seed, seed_libraries


def test_same_keys_same_numbers() -> None:
    assert keyed_generator(1, "patch", 2).random() == keyed_generator(1, "patch", 2).random()


def test_each_key_and_the_seed_matter() -> None:
    seeds = {keyed_seed(1, "a"), keyed_seed(2, "a"), keyed_seed(1, "b"), keyed_seed(1, "a", 0), keyed_seed(1, "a0")}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_libraries_repeat() -> None:
    def draws() -> tuple[float, float, float]:
        seed_libraries(5)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert draws() == draws()
