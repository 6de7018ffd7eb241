from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.cohort_contrast.baselines import (
    ContrastiveAutoencoder,
    best_alpha,
    contrastive_components,
    maximum_mean_discrepancy,
    train_autoencoder,
)
from pipelines.cohort_contrast.network import build_network
from tests.pipelines.cohort_contrast.conftest import two_groups


def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Both groups vary most along axis 0; the diseased also along axis 1."""
    draw = np.random.default_rng(0)
    healthy = draw.normal(size=(500, 3)) * (5, 0.5, 0.5)
    diseased = draw.normal(size=(500, 3)) * (5, 2.0, 0.5)
    return diseased, healthy


def test_contrast_turns_from_what_both_have_to_what_only_the_diseased_have() -> None:
    diseased, healthy = clouds()
    assert np.abs(contrastive_components(diseased, healthy, alpha=0, n=1)[:, 0]).argmax() == 0
    found = contrastive_components(diseased, healthy, alpha=2, n=2)
    assert np.abs(found[:, 0]).argmax() == 1
    np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-9)
    assert (found[np.argmax(np.abs(found) > 1e-12, axis=0), [0, 1]] > 0).all()


def test_alpha_is_chosen_by_the_groups() -> None:
    diseased, healthy = clouds()
    assert best_alpha(diseased + np.array([0, 6, 0]), healthy, n=1) > 0


def test_discrepancy_is_zero_of_equal_clouds_and_grows_with_distance() -> None:
    a = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    assert float(maximum_mean_discrepancy(a, a)) == pytest.approx(0, abs=1e-6)
    assert float(maximum_mean_discrepancy(a, a + 3)) > float(maximum_mean_discrepancy(a, a + 1)) > 0


def test_an_autoencoder_learns_to_rebuild() -> None:
    torch.manual_seed(0)
    scans = two_groups(40)
    network = build_network(
        {
            "encoder": "convolutional", "spatial_shape": (16, 16), "in_channels": 1, "channels": (8, 8),
            "common_dimensions": 2, "salient_dimensions": 2, "norm": "batch",
        }
    )  # fmt: skip
    model = ContrastiveAutoencoder(network.common, network.salient, d_common=2, d_salient=2, n_pixels=256)
    image, diseased = scans.batch(range(40)), torch.from_numpy(scans.is_diseased)

    def loss() -> float:
        with torch.inference_mode():
            return model.loss(image, diseased, torch.Generator().manual_seed(0)).item()

    before = loss()
    train_autoencoder(model, scans, steps=60, batch_size=16, seed=0)
    assert loss() < 0.7 * before
