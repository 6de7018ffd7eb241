"""The predictor around a network that knows where the phantom's gland is by its brightness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipelines.prostate_zones.predictor import ZonePredictor
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.model_folder import write_model_folder
from segsuite.engines.model_predictor import model_of_pipeline
from segsuite.engines.segmentation import Request
from segsuite.errors import SettingsError, VolumeError
from segsuite.volumes.grid import Grid, network_grid, resample
from segsuite.volumes.volume import Volume

SPACING = (1.5, 1.5, 3.0)
SHAPE = (80, 72, 20)
LABELS = {
    "background": 0,
    "peripheral_zone": 1,
    "transition_zone": 2,
    "distal_prostatic_urethra": 3,
    "anterior_fibromuscular_stroma": 4,
}
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
AFFINE = np.array([[-1.5, 0, 0, 60], [0, -1.5, 0, 50], [0, 0, 3.0, -30], [0, 0, 0, 1.0]])


class Levels(nn.Module):
    """Zone n where the normalised image is about n / 4; the uncertainty is how far from it."""

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.tensor(0.05))

    def forward(self, image: Tensor) -> Tensor:
        apart = torch.stack([(image[:, 0] - level).abs() for level in LEVELS], dim=1)
        return torch.cat([(-apart / self.width).softmax(1), apart.amin(1, keepdim=True)], dim=1)


def truth() -> np.ndarray:
    """Stored as LPS: axis 1 runs from front to back."""
    zones = np.zeros(SHAPE, dtype=np.uint8)
    zones[28:52, 24:48, 4:16] = 1
    zones[32:48, 26:40, 8:16] = 2
    zones[38:42, 36:40, 4:8] = 3
    zones[32:48, 24:26, 8:16] = 4
    return zones


def volume(zones: np.ndarray | None = None, affine: np.ndarray = AFFINE) -> Volume:
    zones = truth() if zones is None else zones
    image = 400.0 * zones / 4 + np.random.default_rng(0).uniform(0, 15, size=zones.shape)
    return Volume(image[None].astype(np.float32), Grid(zones.shape, affine))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("model")
    # percentiles 0 and 100: the levels stay where they are
    preprocessing = Preprocessing(SPACING, (Normalisation("percentile", low=0, high=100),), (90.0, 90.0, None))
    description: dict[str, Any] = {
        "pipeline": "prostate_zones",
        "labels": LABELS,
        "class_labels": [0, 1, 2, 3, 4],
        "channels": {"0": "T2w"},
        "preprocessing": preprocessing.to_json(),
        "network": {},
        "inference": {
            "patch_size": [32, 32, 16],
            "overlap": 0.5,
            "mirror_axes": [0],
            "precision": "float32",
            "largest_component": [],
            "region": "centre",
            "post_processing": True,
            "uncertainty": True,
        },
    }
    write_model_folder(target, weights=Levels().state_dict(), description=description, card="")
    return target


def predictor(folder: Path, **overrides: Any) -> ZonePredictor:
    model = model_of_pipeline(folder, pipeline="prostate_zones")
    return ZonePredictor(model, lambda _: Levels(), device="cpu", overrides=overrides)


def test_zones_lie_on_the_image_and_are_what_the_network_says(folder: Path) -> None:
    """Invariants 1 and 5: same grid, uint8, each voxel one of 0 to 4."""
    found = predictor(folder).segment(volume(), Request())
    assert found.labels.shape == SHAPE
    assert found.labels.dtype == np.uint8
    assert np.array_equal(found.labels, truth())
    assert found.volumes["uncertainty"].shape == SHAPE
    assert found.report["region"]["mode"] == "centre"
    assert found.report["region"]["box"][0] == [10, 70]
    assert found.notes == ()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_storage_and_oblique_planes_change_nothing(folder: Path, order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    """Invariants 1 and 2: permuted axes, flipped axes, a tilt of 16 degrees."""
    c, s = np.cos(np.radians(16)), np.sin(np.radians(16))
    tilt = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
    zones, affine = truth(), tilt @ AFFINE
    for axis in flips:
        change = np.eye(4)
        change[axis, axis], change[axis, 3] = -1, zones.shape[axis] - 1
        zones, affine = np.flip(zones, axis), affine @ change
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for new, old in enumerate(order):
        change[old, new] = 1
    stored = np.ascontiguousarray(zones.transpose(order))
    found = predictor(folder).segment(volume(stored, affine @ change), Request())
    assert np.array_equal(found.labels, stored)


def test_other_spacing_is_resampled_and_back(folder: Path) -> None:
    """Invariant 4, 0.75 x 0.75 x 4 mm."""
    fine = Grid((160, 144, 15), AFFINE @ np.diag([0.5, 0.5, 4 / 3, 1.0]))
    zones = resample(truth(), Grid(SHAPE, AFFINE), fine, interpolation="label")
    found = predictor(folder).segment(volume(zones, fine.affine), Request())
    for label in (1, 2):
        a, b = found.labels == label, zones == label
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.9


def test_region_is_cut_and_put_back_exactly(folder: Path) -> None:
    """Invariant 3: a bright thing outside the region is background, and the gland is untouched."""
    zones = truth()
    zones[:6, :6] = 2
    found = predictor(folder, post_processing=False).segment(volume(zones), Request())
    assert np.array_equal(found.labels, truth())
    everywhere = predictor(folder, post_processing=False, region="whole").segment(volume(zones), Request())
    assert np.array_equal(everywhere.labels, zones)
    assert np.array_equal(predictor(folder, region="whole").segment(volume(zones), Request()).labels, truth())


def test_search_finds_a_gland_that_lies_aside(folder: Path) -> None:
    aside = np.roll(truth(), (-22, -20), axis=(0, 1))
    centred = predictor(folder).segment(volume(aside), Request())
    assert "try --set region=search" in "; ".join(centred.notes)
    searched = predictor(folder, region="search").segment(volume(aside), Request())
    assert np.array_equal(searched.labels, aside)
    assert not [note for note in searched.notes if "border" in note]


@pytest.mark.parametrize("region", ["centre", "search", "whole"])
def test_voxels_of_a_large_series_are_given_up_once_they_are_prepared(folder: Path, region: str) -> None:
    opened = predictor(folder, region=region)
    kept, given_up = volume(), volume()
    expected = opened.segment(kept, Request("c"))
    found = opened.segment(given_up, Request("c", release=True))
    assert np.array_equal(found.labels, expected.labels)
    assert found.report == expected.report
    assert given_up.array.nbytes < kept.array.nbytes


def test_users_box(folder: Path) -> None:
    request = Request(attributes={"box": "20:60,20:56,2:18"})
    found = predictor(folder).segment(volume(), request)
    assert found.report["region"]["box"] == [[20, 60], [20, 56], [2, 18]]
    assert np.array_equal(found.labels, truth())
    for wrong in ("20:60", "20:10,0:5,0:5", "0:81,0:10,0:10", "a:b,c:d,e:f"):
        with pytest.raises(VolumeError, match="`box` must be i0:i1,j0:j1,k0:k1"):
            predictor(folder).segment(volume(), Request(attributes={"box": wrong}))


def test_empty_slices_that_pad_the_series_change_nothing(folder: Path) -> None:
    """Invariant 27: eight empty slices more, same labels; so does a change of gain and offset."""
    padded = np.pad(truth(), ((0, 0), (0, 0), (4, 4)))
    shifted = AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -4], [0, 0, 0, 1.0]])
    other = volume()
    longer = Volume(np.pad(other.array, ((0, 0), (0, 0), (0, 0), (4, 4))), Grid(padded.shape, shifted))
    found = predictor(folder).segment(longer, Request())
    assert np.array_equal(found.labels, padded)
    scaled = Volume(3.7 * other.array + 55, other.grid)
    assert np.array_equal(predictor(folder).segment(scaled, Request()).labels, truth())


def test_image_without_gland_is_refused_unless_forced(folder: Path) -> None:
    flat = np.zeros(SHAPE, dtype=np.uint8)
    flat[38:41, 34:37, 9:12] = 4  # 27 voxels of 6.75 mm3
    with pytest.raises(VolumeError, match=r"case 7: this does not look like.*a gland of 8 to 400 ml must be found, got 0.2 ml"):
        predictor(folder).segment(volume(flat), Request(case_id="7"))
    forced = predictor(folder).segment(volume(flat), Request(force=True))
    assert forced.notes[0].startswith("forced although a gland")
    assert forced.report["forced"]


def test_coronal_series_is_refused_unless_forced(folder: Path) -> None:
    coronal = volume(affine=AFFINE[[0, 2, 1, 3]])
    with pytest.raises(VolumeError, match="must be axial, got a coronal one"):
        predictor(folder).segment(coronal, Request())
    assert predictor(folder).segment(coronal, Request(force=True)).labels.shape == SHAPE


@pytest.mark.parametrize(
    ("overrides", "message"), [({"region": "left"}, "region must be one of"), ({"regoin": "whole"}, "got `regoin`")]
)
def test_wrong_overrides(folder: Path, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        predictor(folder, **overrides).segment(volume(), Request())


def test_report_and_uncertainty_can_be_left_out(folder: Path) -> None:
    assert predictor(folder, uncertainty=False).segment(volume(), Request()).volumes == {}


def test_flipped_image_gives_flipped_zones(folder: Path) -> None:
    """Invariant 8, of the whole road."""
    flipped = predictor(folder).segment(volume(truth()[::-1].copy()), Request()).labels
    assert np.array_equal(flipped[::-1], predictor(folder).segment(volume(), Request()).labels)


def test_network_grid_is_the_regions(folder: Path) -> None:
    """The region is 90 mm at 1.5 mm, all slices."""
    part = volume().grid.cropped((slice(10, 70), slice(6, 66), slice(0, 20)))
    assert network_grid(part, spacing_mm=SPACING).shape == (60, 60, 20)
