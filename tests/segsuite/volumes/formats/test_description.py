from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.formats.description import in_millimetres, require_plausible, require_real, require_shape

HERE = Path("a.nii")


@pytest.mark.parametrize(
    ("unit_mm", "word"), [(1000.0, "metres"), (10.0, "centimetres"), (1e-3, "micrometres"), (1e-6, "nanometres")]
)
def test_units_scale_sizes_and_origin(unit_mm: float, word: str) -> None:
    affine = np.array([[2.0, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    scaled, notes = in_millimetres(affine, unit_mm)
    np.testing.assert_allclose(scaled[:3], affine[:3] * unit_mm)
    assert scaled[3].tolist() == [0, 0, 0, 1]
    assert word in notes[0]


def test_millimetres_are_not_touched() -> None:
    affine = np.eye(4)
    assert in_millimetres(affine, 1.0) == (affine, ())


@pytest.mark.parametrize(
    ("spacing", "unit", "reason"),
    [
        (0.001, "", "names no unit"),
        (50.0, "", "names no unit"),
        (0.001, "micrometres", None),
        (50.0, "mm", None),
        (1.0, "", None),
        (0.0, "", None),  # the grid says what zero means
        (2000.0, "mm", "size of a scan"),
        (1e-9, "mm", "size of a scan"),
        (np.nan, "mm", "numbers that are none"),
    ],
)
def test_sizes_are_judged_by_the_unit_that_is_named(spacing: float, unit: str, reason: str | None) -> None:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    if reason is None:
        require_plausible((10, 10, 10), affine, HERE, unit=unit)
        return
    with pytest.raises(GridError, match=reason):
        require_plausible((10, 10, 10), affine, HERE, unit=unit)


def test_axes_without_voxels_are_refused() -> None:
    assert require_shape([3, 4], HERE) == (3, 4)
    for shape in ([3, 0, 4], [-1, 2, 2], []):
        with pytest.raises(VolumeError, match="at least one voxel along each axis"):
            require_shape(shape, HERE)


def test_a_voxel_is_one_real_number() -> None:
    require_real(np.dtype("i2"), HERE)
    with pytest.raises(VolumeError, match="complex64"):
        require_real(np.dtype("c8"), HERE)
    with pytest.raises(VolumeError, match="colour"):
        require_real(np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), HERE)
