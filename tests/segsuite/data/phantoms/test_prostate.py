from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segsuite.data.phantoms.anatomy import DPU, PZ, SURROUNDINGS, ZONES
from segsuite.data.phantoms.appearance import Scanner
from segsuite.data.phantoms.prostate import Phantom, make_phantom, perturb_as_rater
from segsuite.metrics.overlap import dice_score

SCANNER = Scanner(gain=100, bias=0.1, noise=0.15, slice_jitter=0.02)


def phantom(seed: int, **more: object) -> Phantom:
    return make_phantom(seed, shape=(64, 64, 24), spacing_mm=(1.5, 1.5, 3.0), scanner=SCANNER, **more)


@pytest.mark.slow
def test_same_seed_same_phantom() -> None:
    assert np.array_equal(phantom(1).image, phantom(1).image)
    assert not np.array_equal(phantom(1).image, phantom(2).image)


def test_repeat_scan_has_the_same_anatomy_and_another_image() -> None:
    first, second = phantom(1), phantom(1, scan=1)
    assert first.anatomy == second.anatomy
    volumes = [(part.zones > 0).sum() for part in (first, second)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)
    assert not np.array_equal(first.image, second.image)


@pytest.mark.slow
def test_every_zone_is_one_component_on_the_final_grid() -> None:
    for seed in range(8):
        zones = phantom(seed).zones
        for name, label in ZONES.items():
            count = ndimage.label(zones == label, structure=np.ones((3, 3, 3)))[1]
            assert count == 1, f"{name} of seed {seed} has {count} components"


def test_axial_series_is_oblique_and_runs_left_back_up() -> None:
    grid = phantom(0).grid
    assert grid.orientation == "LPS"
    assert grid.spacing_mm == pytest.approx((1.5, 1.5, 3.0))
    assert 4 < np.degrees(np.arccos(grid.affine[2, 2] / 3.0)) < 19


def test_surroundings_are_labelled_on_demand() -> None:
    assert phantom(0).zones.max() == 4
    assert set(np.unique(phantom(0, with_surroundings=True).zones)) >= set(SURROUNDINGS.values()) - {8}


def test_lesion_is_dark_and_in_the_gland() -> None:
    case = phantom(5, with_lesion=True)
    assert case.lesion.any()
    assert (case.zones[case.lesion] > 0).mean() > 0.9
    healthy = (case.zones == PZ) & ~case.lesion
    assert case.image[case.lesion].mean() < 0.75 * case.image[healthy].mean()


@pytest.mark.slow
def test_two_raters_agree_about_as_published_raters_do() -> None:
    """Expert against expert on PROSTATEx (Meyer et al., ISBI 2019): TZ .88, PZ .82, DPU .61, AFS .51."""
    scores: dict[str, list[float]] = {name: [] for name in ZONES}
    for seed in range(6):
        zones = phantom(seed).zones
        raters = [perturb_as_rater(zones, np.random.default_rng(100 * seed + n), spacing_mm=(1.5, 1.5, 3.0)) for n in range(2)]
        for name, label in ZONES.items():
            scores[name].append(dice_score(raters[0] == label, raters[1] == label))
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    assert 0.78 < means["transition_zone"] < 0.95
    assert 0.68 < means["peripheral_zone"] < 0.92
    assert 0.40 < means["distal_prostatic_urethra"] < 0.80
    assert 0.35 < means["anterior_fibromuscular_stroma"] < 0.72


@pytest.mark.slow
def test_rater_never_invents_a_zone() -> None:
    zones = np.where(phantom(0).zones == DPU, PZ, phantom(0).zones).astype(np.uint8)
    assert DPU not in perturb_as_rater(zones, np.random.default_rng(0), spacing_mm=(1.5, 1.5, 3.0))
