from __future__ import annotations

import numpy as np

from segsuite.data.phantoms.fields import centred_coordinates, smooth_field


def test_coordinates_are_centred_mm() -> None:
    x, y, z = centred_coordinates((3, 2, 1), (2.0, 1.0, 5.0), shift_mm=(0.5, 0, 0))
    assert x.ravel().tolist() == [-2.5, -0.5, 1.5]
    assert y.ravel().tolist() == [-0.5, 0.5]
    assert z.ravel().tolist() == [0.0]


def test_more_cells_are_rougher_and_the_seed_decides() -> None:
    def field(seed: int, cells: int) -> np.ndarray:
        return smooth_field((40, 40, 40), np.random.default_rng(seed), cells=cells)

    assert np.array_equal(field(0, 5), field(0, 5))
    assert np.abs(np.diff(field(0, 20), axis=0)).mean() > 2 * np.abs(np.diff(field(0, 4), axis=0)).mean()
