from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from segsuite.engines.components import dice_of_prepared, labels_to_reduce
from segsuite.engines.inference import WindowInference

WINDOWS = WindowInference(patch_size=(16, 16, 16), n_classes=3)


def case_with(label: np.ndarray) -> SimpleNamespace:
    """The image holds what the "network" will say."""
    image = label.astype(np.float32)
    image[0, 0, 0] = 1  # a speck of structure 1
    image[15, 15, 14:] = 2  # and the second, true part of structure 2
    return SimpleNamespace(image=image[None], label=label, folder=Path())


def says_the_image(batch: torch.Tensor) -> torch.Tensor:
    return torch.cat([50.0 * (batch.round() == value) for value in range(3)], dim=1)


def test_speck_is_removed_and_true_second_part_is_kept() -> None:
    label = np.zeros((16, 16, 16), dtype=np.int8)
    label[4:8, 4:8, 4:8] = 1
    label[10:13, 4:8, 4:8] = 2
    label[15, 15, 14:] = 2
    chosen, dice = labels_to_reduce(says_the_image, [case_with(label)], WINDOWS, {1: "one", 2: "two"})
    assert chosen == (1,)
    assert dice == {"one": 1.0, "two": 1.0}


def test_voxels_that_are_not_scored_do_not_count() -> None:
    label = np.array([[[1, -1, 0]]], dtype=np.int8)
    predicted = np.array([[[1, 1, 0]]], dtype=np.uint8)
    assert dice_of_prepared(predicted, SimpleNamespace(label=label), {1: "one"}) == {"one": 1.0}
