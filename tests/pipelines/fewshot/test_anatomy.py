from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from pipelines.fewshot.anatomy import describe_supervoxels, fit_regions, supervoxels
from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case

SPACING = (3.0, 3.0, 3.0)


def image(seed: int, gain: float = 1.0) -> np.ndarray:
    """A body with two organs of one brightness on different sides, in air."""
    draw = np.random.default_rng(seed)
    volume = np.zeros((24, 20, 16))
    volume[2:22, 2:18, 2:14] = 1.0
    volume[4:9, 6:13, 5:11] = volume[15:20, 6:13, 5:11] = 3.0
    return (gain * (volume + 0.05 * draw.normal(size=volume.shape)))[None].astype(np.float32)


def cases(tmp_path: Path) -> list[PreparedCase]:
    made = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        np.save(folder / "image.npy", image(seed))
        made.append(PreparedCase(Case(image="a.nii.gz"), folder))
    return made


def test_regions_tell_apart_what_looks_alike_in_different_places(tmp_path: Path) -> None:
    regions = fit_regions(cases(tmp_path), n_regions=8, n_channels=1, spacing_mm=SPACING, seed=0)
    found = regions.assign(image(9), SPACING)
    assert found.shape == (24, 20, 16)
    assert found[0, 0, 0] == 0  # air
    left, right, between = found[6, 9, 8], found[17, 9, 8], found[12, 9, 8]
    assert len({int(left), int(right), int(between)}) == 3


def test_same_seed_same_regions_and_gain_does_not_matter(tmp_path: Path) -> None:
    made = cases(tmp_path)
    first, again = (fit_regions(made, n_regions=6, n_channels=1, spacing_mm=SPACING, seed=3) for _ in range(2))
    assert np.array_equal(first.centres, again.centres)
    assert np.array_equal(first.assign(image(1), SPACING), first.assign(image(1, gain=40.0), SPACING))


def test_supervoxels_are_connected_parts_of_the_body_of_one_brightness() -> None:
    found = supervoxels(image(0), SPACING)
    assert found[0, 0, 0] == 0
    assert sorted(np.unique(found)) == list(range(int(found.max()) + 1))
    bright = found[5:8, 7:12, 6:10]
    inside = np.isin(found, bright)
    assert image(0)[0][inside].mean() > 2.5
    for number in np.unique(bright)[:5]:
        assert ndimage.label(found == number)[1] == 1


def test_supervoxels_are_described_by_intensity_spread_and_place() -> None:
    described, members = describe_supervoxels(image(0), SPACING)
    assert described.shape == (members.max(), 5)
    number = int(members[6, 9, 8])
    body = members > 0
    grey = (image(0)[0] - image(0)[0][body].mean()) / image(0)[0][body].std()
    np.testing.assert_allclose(described[number - 1, 0], grey[members == number].mean(), rtol=1e-4)
    across = np.argwhere(members == number)[:, 0].mean()
    np.testing.assert_allclose(described[number - 1, 2], 2 * (2 * (across - 2) / 19 - 1), atol=1e-5)
