from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.phantoms.anatomy import AFS, DPU, PZ, TZ
from segsuite.data.phantoms.appearance import draw_scanner
from segsuite.data.phantoms.cohort import PhantomCohort, write_phantom_cohort
from segsuite.data.phantoms.drawn import find_masks, read_drawn_prostate
from segsuite.data.phantoms.prostate import make_phantom
from segsuite.errors import VolumeError
from segsuite.volumes.reading import read_labels

SCANNER = draw_scanner(np.random.default_rng(0))
LPS = np.diag([-1.0, -1.0, 3.0, 1.0])


@pytest.fixture
def mask(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    """A gland of 40 x 30 x 36 mm, stored to the left, back and up; TZ in front and above, PZ behind."""
    zones = np.zeros((60, 50, 20), dtype=np.uint8)
    zones[10:50, 10:40, 4:16] = PZ
    zones[16:44, 10:28, 8:16] = TZ
    return write_nifti(tmp_path / "masks" / "a.nii.gz", zones, LPS)


def test_phantom_has_the_masks_shape(mask: Path) -> None:
    drawn = read_drawn_prostate(mask)
    phantom = make_phantom(3, shape=(48, 48, 18), spacing_mm=(2.0, 2.0, 3.0), scanner=SCANNER, drawn=drawn)
    ml = (phantom.zones > 0).sum() * phantom.grid.voxel_ml
    assert ml == pytest.approx(40 * 30 * 36 / 1000, rel=0.15)
    assert set(np.unique(phantom.zones)) == {0, PZ, TZ, DPU, AFS}
    at = {label: np.argwhere(phantom.zones == label).mean(axis=0) for label in (PZ, TZ, DPU, AFS)}
    assert at[PZ][1] > at[TZ][1] > at[AFS][1]  # j runs to the back
    assert at[DPU][2] < at[TZ][2]


def test_storage_does_not_matter(mask: Path, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    zones = read_labels(mask).labels
    turned = LPS @ np.array([[-1, 0, 0, 59], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    other = write_nifti(tmp_path / "b.nii.gz", zones[::-1].copy(), turned)
    assert np.array_equal(read_drawn_prostate(mask).zones, read_drawn_prostate(other).zones)


def test_drawn_small_zones_are_kept(mask: Path, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    zones = read_labels(mask).labels.copy()
    zones[26:34, 30:36, 4:8] = DPU
    zones[20:40, 10:14, 6:15] = AFS
    drawn = read_drawn_prostate(write_nifti(tmp_path / "c.nii.gz", zones, LPS))
    phantom = make_phantom(3, shape=(48, 48, 18), spacing_mm=(2.0, 2.0, 3.0), scanner=SCANNER, drawn=drawn)
    for label in (DPU, AFS):
        expected = (zones == label).sum() * 3.0 / 1000
        assert (phantom.zones == label).sum() * phantom.grid.voxel_ml == pytest.approx(expected, rel=0.4)


def test_cohort_goes_through_the_masks(mask: Path, tmp_path: Path) -> None:
    cohort = PhantomCohort(n_cases=2, n_folds=0, shape=(32, 32, 12), spacing_mm=(3.0, 3.0, 4.0), masks=str(mask.parent))
    manifest = write_phantom_cohort(tmp_path / "out", cohort)
    volumes = [case.attributes["gland_ml"] for case in manifest.training]
    assert max(volumes) / min(volumes) < 1.3  # one shape, warped


@pytest.mark.parametrize(("value", "said"), [(7, r"got labels \[0, 7\]"), (0, "at least 5 ml, got 0.00 ml")])
def test_masks_that_are_none(tmp_path: Path, write_nifti: Callable[..., Path], value: int, said: str) -> None:
    zones = np.zeros((30, 30, 10), dtype=np.uint8)
    zones[5:25, 5:25, 2:8] = value
    with pytest.raises(VolumeError, match=said):
        read_drawn_prostate(write_nifti(tmp_path / "x.nii.gz", zones, LPS))
    (tmp_path / "empty").mkdir()
    with pytest.raises(VolumeError, match="must hold zone masks, got none"):
        find_masks(tmp_path / "empty")


@pytest.mark.slow
@pytest.mark.data
def test_real_masks_become_phantoms(real_data: Path) -> None:
    for path in find_masks(real_data / "picai_zone_masks" / "zones_Yuan23")[:3]:
        drawn = read_drawn_prostate(path)
        phantom = make_phantom(0, shape=(56, 56, 24), spacing_mm=(2.0, 2.0, 3.0), scanner=SCANNER, drawn=drawn)
        expected = (drawn.zones > 0).sum() * np.prod(drawn.spacing_mm) / 1000
        assert (phantom.zones > 0).sum() * phantom.grid.voxel_ml == pytest.approx(expected, rel=0.15)
