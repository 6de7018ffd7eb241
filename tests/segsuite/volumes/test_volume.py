from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume, require_varied

GRID = Grid((2, 2, 2), np.diag([1.0, 2.0, 3.0, 1.0]))


def volume(first: float, rest: float) -> Volume:
    array = np.full((1, 2, 2, 2), rest, dtype=np.float32)
    array[0, 0, 0, 0] = first
    return Volume(array, GRID, Path("t2w.nii.gz"))


def test_spacing_comes_from_the_grid() -> None:
    assert volume(0, 1).spacing_mm == (1.0, 2.0, 3.0)


def test_varied_image_passes() -> None:
    require_varied(volume(0, 1), case="c1")


def test_nan_is_counted() -> None:
    with pytest.raises(VolumeError, match=r"case c1: t2w.nii.gz must have finite voxels, got 1 NaN or infinite of 8"):
        require_varied(volume(np.nan, 1), case="c1")


def test_constant_image_shows_its_value() -> None:
    with pytest.raises(VolumeError, match=r"got the single value 1 in all 8 voxels"):
        require_varied(volume(1, 1), case="c1")


@pytest.mark.parametrize("value", [1e30, -1e38])
def test_a_number_whose_square_is_none_does_not_drown_the_image(value: float) -> None:
    with pytest.raises(VolumeError, match=r"must have voxels of a size that scans have, got 1 beyond 1e\+18"):
        require_varied(volume(value, 1), case="c1")
