from __future__ import annotations

import numpy as np

from segsuite.data.slice_transforms import slice_augmentation


def test_image_and_mask_move_together_and_labels_are_not_mixed() -> None:
    label = np.zeros((40, 36), dtype=np.int16)
    label[10:30, 8:28] = 1
    label[15:25, 12:22] = 3
    image = np.stack([label, 10 - label]).astype(np.float32)
    augment = slice_augmentation(rotate_degrees=30, scale_range=(0.8, 1.2), flip=True)
    agreement = []
    for seed in range(12):
        moved, mask = augment(image, label, seed)
        assert moved.shape == image.shape
        assert set(np.unique(mask)) <= {-1, 0, 1, 3}
        scored = mask >= 0
        agreement.append((np.abs(moved[0] - mask) < 0.6)[scored].mean())
    assert min(agreement) > 0.9
    assert any((augment(image, label, seed)[1] == -1).any() for seed in range(12))


def test_same_seed_same_slice() -> None:
    image, label = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32), np.zeros((32, 32), dtype=np.int16)
    augment = slice_augmentation(rotate_degrees=30, scale_range=(0.8, 1.2), flip=True)
    results = [augment(image, label, seed)[0] for seed in (3, 3, 4, 5)]
    assert np.array_equal(results[0], results[1])
    assert not all(np.array_equal(results[0], other) for other in results[2:])
