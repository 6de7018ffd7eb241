from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from segsuite.engines.components import dice_of_prepared, labels_to_reduce
from segsuite.engines.inference import WindowInference
from segsuite.volumes.regions import Regions

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


def says_the_regions(batch: torch.Tensor) -> torch.Tensor:
    """Logits of the whole (1 and 2) and of the core (2)."""
    return torch.cat([50.0 * (batch.round() >= 1) - 25, 50.0 * (batch.round() == 2) - 25], dim=1)


def test_of_regions_each_is_scored_as_a_union_and_reduced_by_itself() -> None:
    label = np.zeros((16, 16, 16), dtype=np.int8)
    label[4:12, 4:12, 4:12] = 1
    label[6:9, 6:9, 6:9] = 2
    label[15, 15, 14:] = 2  # a true second part of the core, and so of the whole
    case = case_with(label)  # its image has a speck of 1 besides
    regions = Regions({"whole": (1, 2), "core": (2,)}, (1, 2))
    windows = WindowInference(patch_size=(16, 16, 16), n_classes=2, sigmoid=True)
    chosen, dice = labels_to_reduce(says_the_regions, [case], windows, regions)
    assert chosen == ("whole",)  # a speck less, and what is cut off is still written by the core
    assert dice == {"whole": 1.0, "core": 1.0}
