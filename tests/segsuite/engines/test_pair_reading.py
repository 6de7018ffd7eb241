from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.pair_reading import probability_of, read_part, read_predicted, read_reference, structures_in
from segsuite.engines.pairs import NO_STRUCTURE, Pair
from segsuite.errors import GridError, VolumeError
from segsuite.volumes.grid import Grid

Write = Callable[..., Path]
MASK = (np.arange(24).reshape(2, 3, 4) % 4).astype(np.uint8)
GRID = Grid(MASK.shape, np.eye(4))


def pair(reference: Path, predicted: Path | None = None, **more: object) -> Pair:
    return Pair("c", "c", reference, predicted, **more)  # type: ignore[arg-type]


def test_labels_that_are_no_structures_are_counted_and_become_background(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", np.where(MASK == 3, 255, MASK).astype(np.uint8))
    found = read_reference(pair(path), {0, 1, 2})
    assert found.undeclared == {255: 6}
    np.testing.assert_array_equal(found.volume.labels, np.where(MASK == 3, 0, MASK))


def test_mappings_are_applied_at_once(tmp_path: Path, write_nifti: Write) -> None:
    """1 and 2 change places, 3 is none of ours although there is a 3."""
    path = write_nifti(tmp_path / "a.nii", MASK)
    found = read_predicted(pair(path, path, predicted_mapping={1: 2, 2: 1, 3: NO_STRUCTURE}), GRID, {0, 1, 2, 3})
    assert found.undeclared == {3: 6}
    np.testing.assert_array_equal(found.volume.labels, np.choose(MASK, [0, 2, 1, 0]))


def test_values_that_are_no_labels_can_be_mapped(tmp_path: Path, write_nifti: Write) -> None:
    """-1 and 70000 mean 1 and 2; without the mapping they are refused."""
    path = write_nifti(tmp_path / "a.nii", np.choose(MASK, [0, -1, 70000, 3]).astype(np.int32))
    found = read_reference(pair(path, mapping={-1: 1, 70000: 2}), {0, 1, 2, 3})
    np.testing.assert_array_equal(found.volume.labels, MASK)
    found = read_predicted(pair(path, path, predicted_mapping={-1: 1, 70000: NO_STRUCTURE, 3: 2}), GRID, {0, 1, 2})
    np.testing.assert_array_equal(found.volume.labels, np.choose(MASK, [0, 1, 0, 2]))
    with pytest.raises(VolumeError, match="must hold labels between 0 and 65535"):
        read_reference(pair(path), {0, 1, 2, 3})


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("turned", [(False, False, False), (True, False, True)])
def test_another_order_of_axes_is_the_same_mask(
    tmp_path: Path, write_nifti: Write, axes: tuple[int, int, int], turned: tuple[bool, bool, bool]
) -> None:
    """Stored with axes exchanged and turned round; the affine says so."""
    stored = np.transpose(MASK, axes)
    affine = np.eye(4)[:, [*axes, 3]]
    for axis in range(3):
        if turned[axis]:
            stored = np.flip(stored, axis)
            affine[:, 3] += affine[:, axis] * (stored.shape[axis] - 1)
            affine[:, axis] *= -1
    path = write_nifti(tmp_path / "a.nii", np.ascontiguousarray(stored), affine=affine)
    np.testing.assert_array_equal(read_predicted(pair(path, path), GRID, range(4)).volume.labels, MASK)


def test_another_grid_is_refused(tmp_path: Path, write_nifti: Write) -> None:
    short = write_nifti(tmp_path / "short.nii", MASK[:, :, :-1])
    with pytest.raises(GridError, match=r"shapes \(2, 3, 4\) and \(2, 3, 3\)"):
        read_predicted(pair(short, short), GRID, range(4))
    with pytest.raises(VolumeError, match="no prediction of this name"):
        read_predicted(pair(short), GRID, range(4))


def test_a_structure_s_file_may_hold_any_value_but_one_only(tmp_path: Path, write_nifti: Write) -> None:
    drawn = MASK == 1
    path = write_nifti(tmp_path / "liver.nii", drawn.astype(np.uint8) * 255)
    np.testing.assert_array_equal(read_part(path, 300, (GRID, path)).labels, drawn * 300)
    with pytest.raises(VolumeError, match=r"must hold one structure .*, got values \[1, 2, 3\]"):
        read_part(write_nifti(tmp_path / "all.nii", MASK), 1)


def test_files_of_structures_are_found_by_name(tmp_path: Path) -> None:
    files = {"Kidney left": tmp_path / "a", "liver": tmp_path / "b"}
    assert dict(structures_in(files, {1: "liver", 2: "kidney_left", 3: "aorta"})) == {
        1: tmp_path / "b",
        2: tmp_path / "a",
        3: None,
    }


def test_probabilities_follow_the_labels(tmp_path: Path, write_nifti: Write) -> None:
    """What the predictions call 5 and 6 is one structure here."""
    mask = write_nifti(tmp_path / "m.nii", MASK)
    for value, share in ((5, 0.25), (6, 0.5)):
        write_nifti(tmp_path / f"m_probability_{value}.nii", np.full(MASK.shape, share, dtype=np.float32))
    both = probability_of(pair(mask, mask, predicted_mapping={5: 1, 6: 1}), GRID, 1)
    np.testing.assert_allclose(both, 0.75)
    with pytest.raises(VolumeError, match=r"case c: the probability of label 2 must lie in .*m_probability_2.nii"):
        probability_of(pair(mask, mask), GRID, 2)
