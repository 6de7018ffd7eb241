from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.cohort_contrast.maps import cohort_map, integrated_gradients, occlusion, salient_energy, salient_region
from pipelines.cohort_contrast.network import TwoBranches, build_network


def network() -> TwoBranches:
    torch.manual_seed(0)
    built = build_network(
        {
            "encoder": "convolutional", "spatial_shape": (8, 8, 8), "in_channels": 1, "channels": (8, 8),
            "common_dimensions": 2, "salient_dimensions": 3, "norm": "group",
        }
    )  # fmt: skip
    return built.eval().requires_grad_(False)


def test_21_integrated_gradients_add_up_to_the_difference_of_the_score() -> None:
    built = network()
    image, baseline = (torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    found = integrated_gradients(built, image, baseline, steps=128)
    with torch.inference_mode():
        difference = float(salient_energy(built, image[None])[0] - salient_energy(built, baseline[None])[0])
    assert found.shape == (8, 8, 8)
    assert float(found.sum()) == pytest.approx(difference, rel=0.02)


def test_occlusion_is_the_fall_of_the_score_spread_over_the_block() -> None:
    built = network()
    image, baseline = torch.rand(1, 8, 8, 8), torch.zeros(1, 8, 8, 8)
    found = occlusion(built, image, baseline, blocks=2)
    hidden = image.clone()
    hidden[:, :4, 4:, :4] = 0
    with torch.inference_mode():
        fall = float(salient_energy(built, image[None])[0] - salient_energy(built, hidden[None])[0])
    torch.testing.assert_close(found[:4, 4:, :4], torch.full((4, 4, 4), fall / 64), atol=1e-5, rtol=1e-4)


def test_maps_of_other_weights_are_other_maps() -> None:
    image, baseline = (torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    one, other = network(), network()
    for parameter in other.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())) * 0.3)
    pair = [integrated_gradients(net, image, baseline, steps=8).flatten().numpy() for net in (one, other)]
    assert abs(np.corrcoef(*pair)[0, 1]) < 0.5


def test_the_region_is_the_part_with_most_of_the_score() -> None:
    saliency = np.zeros((12, 12, 12))
    saliency[2:5, 2:5, 2:5], saliency[9, 9, 9] = 1.0, 1.5
    region = salient_region(saliency, share=0.03)
    assert region[3, 3, 3]
    assert not region[9, 9, 9]
    assert not salient_region(np.zeros((4, 4, 4)), share=0.1).any()


def test_a_cohort_map_finds_where_groups_differ_and_nothing_where_they_do_not() -> None:
    draw = np.random.default_rng(0)
    maps = draw.normal(size=(24, 6, 6, 6)).astype(np.float32)
    diseased = np.arange(24) >= 12
    subjects = [f"s{row}" for row in range(24)]
    nothing = cohort_map(maps, diseased, subjects, n=99)
    assert nothing.p > 0.05
    maps[12:, 2, 2, 2] += 4
    found = cohort_map(maps, diseased, subjects, n=99)
    assert np.unravel_index(found.t.argmax(), found.t.shape) == (2, 2, 2)
    assert found.t.max() > found.threshold
    assert found.p == pytest.approx(1 / 100)
    a, b = maps[12:, 2, 2, 2].astype(float), maps[:12, 2, 2, 2].astype(float)
    welch = (a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / 12 + b.var(ddof=1) / 12)
    assert found.t[2, 2, 2] == pytest.approx(welch, rel=1e-5)
