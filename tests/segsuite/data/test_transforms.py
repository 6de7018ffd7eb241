from __future__ import annotations

import json

import numpy as np
import pytest

from segsuite.data.transforms import (
    Normalisation,
    Preprocessing,
    body_of,
    normalise,
    place_in_body,
    prepare_image,
    prepare_labels,
    prepared_grid,
    region_box,
)
from segsuite.errors import SettingsError
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

IMAGE = np.random.default_rng(0).normal(300, 50, size=(8, 6, 5)).astype(np.float32)


def test_zscore_has_zero_mean_and_unit_spread() -> None:
    scaled = normalise(IMAGE, Normalisation("zscore"))
    assert (scaled.mean(), scaled.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize("scheme", ["zscore", "percentile", "zscore_nonzero", "robust"])
def test_gain_of_the_scanner_does_not_matter(scheme: str) -> None:
    entry = Normalisation(scheme)
    np.testing.assert_allclose(normalise(IMAGE * 70, entry), normalise(IMAGE, entry), atol=1e-3)


def test_nonzero_ignores_the_outside_and_keeps_it_zero() -> None:
    padded = np.pad(IMAGE, 6)
    inside = (slice(6, -6),) * 3
    scaled = normalise(padded, Normalisation("zscore_nonzero"))
    np.testing.assert_allclose(scaled[inside], normalise(IMAGE, Normalisation("zscore")), atol=1e-4)
    assert not scaled[:6].any()


def test_a_bright_cyst_does_not_darken_the_rest() -> None:
    """Dark noise around a body of known median and quartiles; a cyst of a tenth of the body, thirty times as bright."""
    draw = np.random.default_rng(0)
    field = np.abs(draw.normal(0, 2, size=(40, 40, 10))).astype(np.float32)
    body = np.zeros(field.shape, dtype=bool)
    body[10:30, 10:30] = True
    field[body] = draw.normal(300, 40, size=body.sum())
    cyst = field.copy()
    cyst[10:14, 20:30] = 9000
    kept = body & (cyst < 9000)
    plain, changed = (normalise(image, Normalisation("robust"))[kept] for image in (field, cyst))
    assert abs(float(np.median(plain))) < 0.02
    assert float(np.percentile(np.sinh(plain), 75)) == pytest.approx(0.6745, abs=0.05)
    assert np.abs(changed - plain).mean() < 0.25
    zscores = [normalise(image, Normalisation("zscore"))[kept].mean() for image in (field, cyst)]
    assert zscores[0] - zscores[1] > 1
    assert normalise(np.full((3, 3, 3), 5.0), Normalisation("robust")).tolist() == np.zeros((3, 3, 3)).tolist()


def test_percentile_clips_to_unit_range() -> None:
    scaled = normalise(IMAGE, Normalisation("percentile", low=5, high=95))
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    assert (scaled == 0).mean() == pytest.approx(0.05, abs=0.01)


def test_window_is_the_data_sets() -> None:
    scaled = normalise(np.array([[[-2000.0, 0.0, 500.0]]]), Normalisation("window", -100, 300, 100, 50))
    assert scaled.tolist() == [[[-4.0, -2.0, 4.0]]]


def test_image_and_labels_land_on_one_grid() -> None:
    native = Grid(IMAGE.shape, np.diag([-1.0, -1.0, 2.0, 1.0]))
    image, grid = prepare_image(Volume(IMAGE[None], native), Preprocessing((1.5, 1.5, 1.5), (Normalisation(),)))
    labels = prepare_labels(Volume((IMAGE > 300).astype(np.uint8)[None], native), grid)
    assert image.shape[1:] == grid.shape == labels.shape
    assert image.dtype == np.float32
    inside, outside = image[0][labels == 1].mean(), image[0][labels == 0].mean()
    assert inside > outside + 0.5


def test_json_round_trip() -> None:
    preprocessing = Preprocessing((1.0, 2.0, 3.0), (Normalisation("window", 0, 1, 2, 3),))
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing


def test_refusals() -> None:
    with pytest.raises(SettingsError, match="Did you mean `zscore`"):
        Normalisation("z-score")
    with pytest.raises(SettingsError, match="low < high"):
        Normalisation("window", 3, 1)
    with pytest.raises(SettingsError, match="must have 2 channels as in training, got 1"):
        prepare_image(Volume(IMAGE[None], Grid(IMAGE.shape, np.eye(4))), Preprocessing(None, (Normalisation(),) * 2))


def test_region_is_cut_around_the_centre_and_leaves_out_what_pads() -> None:
    """Stored with permuted axes: the region is given along the body's axes."""
    affine = np.array([[0, 0, 2.0, 0], [1.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1.0]])
    grid = Grid((20, 8, 10), affine)
    array = np.random.default_rng(0).normal(size=(1, 20, 8, 10)).astype(np.float32)
    array[:, :, :2] = 7.0
    volume = Volume(array, grid)
    box = region_box(volume, (10.0, 6.0, None))
    assert box == (slice(7, 13), slice(2, 8), slice(3, 8))
    assert region_box(volume, None) == tuple(slice(0, n) for n in grid.shape)
    assert region_box(volume, (999.0, None, None)) == (slice(0, 20), slice(2, 8), slice(0, 10))
    preprocessing = Preprocessing((2.0, 1.0, 3.0), (Normalisation(),), (10.0, 6.0, None))
    assert prepare_image(volume, preprocessing)[1].shape == (5, 6, 6)
    assert prepared_grid(grid, preprocessing).shape == (5, 6, 8)
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


def test_padding_does_not_change_what_the_network_sees_of_a_region() -> None:
    grid = Grid((10, 10, 6), np.diag([1.0, 1.0, 3.0, 1.0]))
    array = np.random.default_rng(1).normal(size=(1, 10, 10, 6)).astype(np.float32)
    longer = Grid((10, 10, 14), grid.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -4], [0, 0, 0, 1.0]]))
    preprocessing = Preprocessing(None, (Normalisation("percentile", low=1, high=99),), (None, None, None))
    plain, its_grid = prepare_image(Volume(array, grid), preprocessing)
    padded, other = prepare_image(Volume(np.pad(array, ((0, 0), (0, 0), (0, 0), (4, 4))), longer), preprocessing)
    assert np.array_equal(plain, padded)
    np.testing.assert_allclose(its_grid.affine, other.affine)


def test_place_runs_over_the_body_and_not_over_air() -> None:
    image = np.zeros((1, 12, 10, 6), dtype=np.float32)
    image[:, 2:11, 1:8, :] = 5 + np.random.default_rng(0).normal(size=(9, 7, 6))
    assert body_of(image).sum() == 9 * 7 * 6
    place = place_in_body(image)
    assert place.shape == (3, 12, 10, 6)
    np.testing.assert_allclose(place[0, [2, 6, 10], 0, 0], [-1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(place[1, 0, [1, 7], 0], [-1, 1])
    assert place[0, 11, 0, 0] > 1
    grid = Grid((12, 10, 6), np.diag([1.0, 1.0, 1.0, 1.0]))
    preprocessing = Preprocessing(None, (Normalisation(),), with_place=True)
    prepared = prepare_image(Volume(image, grid), preprocessing)[0]
    assert prepared.shape == (4, 12, 10, 6)
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing
