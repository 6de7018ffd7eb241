from __future__ import annotations

import numpy as np
import torch

from pipelines.cohort_contrast.embedding import coarse_pixels, embed, finish_network
from pipelines.cohort_contrast.network import TwoBranches, build_network
from tests.pipelines.cohort_contrast.conftest import two_groups


def network() -> TwoBranches:
    torch.manual_seed(0)
    return build_network(
        {
            "encoder": "convolutional", "spatial_shape": (16, 16), "in_channels": 1, "channels": (8, 8),
            "common_dimensions": 4, "salient_dimensions": 3, "norm": "batch",
        }
    )  # fmt: skip


def test_scans_are_embedded_in_order_in_small_batches() -> None:
    built, scans = network(), two_groups(130)
    found = embed(built, scans)
    assert found.common.shape == (130, 4)
    with torch.inference_mode():
        alone = built(scans.batch([129]))
    np.testing.assert_allclose(found.pixels, coarse_pixels(torch.from_numpy(scans.images)).numpy(), atol=1e-6)
    np.testing.assert_allclose(found.salient[129], alone.salient[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.score[129], float(alone.salient_head.norm()), atol=1e-5)


def test_healthy_training_scans_stand_about_the_null_point() -> None:
    built, scans = network(), two_groups(60)
    found = finish_network(built, scans, erase=False, seed=0)
    np.testing.assert_allclose(found.salient[~scans.is_diseased].mean(axis=0), 0, atol=1e-5)
    assert torch.equal(built.erasure, torch.eye(3))


def test_erasure_makes_what_varies_among_healthy_unpredictable() -> None:
    built, scans = network(), two_groups(400)
    images = scans.images.copy()
    images += np.linspace(-2, 2, 400)[np.random.default_rng(0).permutation(400)][:, None, None, None].astype(np.float32)
    bright = scans.__class__(images, scans.is_diseased, [str(i) for i in range(400)])
    level = images.mean(axis=(1, 2, 3))[scans.is_diseased]

    def known(rows: np.ndarray) -> float:
        design = np.c_[rows, np.ones(len(rows))]
        left = level - design @ np.linalg.lstsq(design, level, rcond=None)[0]
        return 1 - left.var() / level.var()

    before = finish_network(built, bright, erase=False, seed=0).salient[scans.is_diseased]
    built.forget_null()
    after = finish_network(built, bright, erase=True, seed=0).salient[scans.is_diseased]
    assert known(before) > 0.9
    assert known(after) < known(before) - 0.3


def test_sites_are_erased_within_both_groups() -> None:
    """One site is brighter; no linear model finds it in what is left, and what tells the kinds apart stays."""
    built, plain = network(), two_groups(400)
    sites = np.where(np.random.default_rng(1).random(400) < 0.5, "a", "b")
    images = plain.images + np.where(sites == "a", 1.0, 0.0)[:, None, None, None].astype(np.float32)
    scans = plain.__class__(images, plain.is_diseased, [str(i) for i in range(400)], list(sites))

    def known(rows: np.ndarray) -> float:
        """Share of the site's variance within the groups that a linear model of the rows explains."""
        level, design = (sites == "a").astype(float), rows.astype(float)
        for group in (False, True):
            here = scans.is_diseased == group
            level[here] -= level[here].mean()
            design[here] -= design[here].mean(axis=0)
        left = level - design @ np.linalg.lstsq(design, level, rcond=1e-6)[0]
        return float(1 - left.var() / level.var())

    before = finish_network(built, scans, erase=False, seed=0).salient
    built.forget_null()
    after = finish_network(built, scans, erase=False, erase_sites=True, seed=0).salient
    built.forget_null()
    both = finish_network(built, scans, erase=True, erase_sites=True, seed=0).salient
    assert known(before) > 0.5
    assert known(after) < 0.05
    assert known(both) < 0.05


def test_coarse_pixels_are_means_of_blocks() -> None:
    images = torch.randn(3, 1, 16, 4, 24, generator=torch.Generator().manual_seed(0))
    found = coarse_pixels(images)
    assert found.shape == (3, 8 * 4 * 8)
    torch.testing.assert_close(found[2, 0], images[2, 0, :2, 0, :3].mean())
    assert coarse_pixels(images[..., 0]).shape == (3, 8 * 4)
