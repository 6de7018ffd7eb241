from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.importing.content import holds_labels

Write = Callable[..., Path]


def drawn(*values: float, dtype: type = np.uint8) -> np.ndarray:
    mask = np.zeros((6, 6, 6), dtype)
    for number, value in enumerate(values):
        mask[number] = value
    return mask


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (drawn(1), True),
        (drawn(1, 2, 7), True),
        (drawn(255), True),
        (drawn(1, dtype=np.float32), True),
        (drawn(0.5, dtype=np.float32), False),
        (drawn(-1000, dtype=np.int16), False),
        (drawn(1, 2, 3, 4, 5), False),  # little background: an image of few grey values
        (drawn(), False),
        (drawn(3000, dtype=np.int16), False),
        (np.arange(216, dtype=np.uint8).reshape(6, 6, 6), False),
    ],
)
def test_few_whole_numbers_mostly_zero_are_labels(tmp_path: Path, write_nifti: Write, array: np.ndarray, expected: bool) -> None:
    assert holds_labels(write_nifti(tmp_path / "a.nii.gz", array)) is expected


def test_what_cannot_be_read_is_no_mask(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"x")
    assert not holds_labels(tmp_path / "a.nii.gz")
    assert not holds_labels(tmp_path)
