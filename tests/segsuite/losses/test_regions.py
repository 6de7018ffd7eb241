from __future__ import annotations

import torch

from segsuite.losses.regions import region_targets


def test_each_region_is_the_union_of_its_classes_and_ignored_voxels_are_in_none() -> None:
    label = torch.tensor([[[[0, 1, 2, 3, -1]]]])
    membership = torch.tensor([[False, True, True, True], [False, False, True, True]])
    targets = region_targets(label, membership)
    assert targets.shape == (1, 2, 1, 1, 5)
    assert targets[0, 0, 0, 0].tolist() == [0, 1, 1, 1, -1]
    assert targets[0, 1, 0, 0].tolist() == [0, 0, 1, 1, -1]
