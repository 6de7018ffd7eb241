from __future__ import annotations

import pytest
import torch

from pipelines.prostate_zones.fusion import fuse_branches
from pipelines.prostate_zones.network import AUXILIARY, FusedZones, ZoneNetwork, build_network
from segsuite.engines.inference import WindowInference, predict_rows
from segsuite.errors import SettingsError
from segsuite.networks.unet import count_parameters

DUAL = [[1, 2, 3], [1, 2, 4]]
SINGLE = [[1, 2, 3, 4]]
MEYER = {"in_channels": 1, "channels": (32, 64, 128, 256), "strides": [(2, 2, 1), (2, 2, 1), (2, 2, 2)], "dropout": 0.5}
SMALL = {"in_channels": 1, "channels": (4, 8, 16), "strides": [(2, 2, 1), (2, 2, 2)], "dropout": 0.0}


def small(branches: list[list[int]], norm: str = "instance", **more: object) -> ZoneNetwork:
    torch.manual_seed(0)
    return ZoneNetwork(branches=branches, norm=norm, **{**SMALL, **more})


@pytest.mark.parametrize(
    ("branches", "share", "count"), [(SINGLE, True, 6_098_245), (DUAL, True, 9_110_696), (DUAL, False, 12_196_424)]
)
def test_full_size_has_the_published_number_of_parameters(branches: list[list[int]], share: bool, count: int) -> None:
    """Invariant 20. 6 098 245 is stated by Meyer et al.; the others follow from the same table with more decoders."""
    assert count_parameters(ZoneNetwork(branches=branches, norm="batch", share_encoder=share, **MEYER)) == count


def test_every_head_has_its_shape() -> None:
    output = small(DUAL, auxiliary=AUXILIARY)(torch.randn(2, 1, 16, 12, 6))
    assert [tuple(t.shape) for t in output.logits] == [(2, 4, 16, 12, 6)] * 2
    assert [tuple(t.shape) for t in output.sdm] == [(2, 3, 16, 12, 6)] * 2
    assert all(t.abs().max() < 1 for t in output.sdm)
    assert [tuple(t.shape) for t in output.gland] == [(2, 1, 8, 6, 6)] * 2
    assert [tuple(t.shape) for t in output.presence] == [(2, 3, 6)] * 2
    assert [tuple(t.shape) for t in output.recon] == [(2, 1, 16, 12, 6)]
    assert len(small(DUAL, auxiliary=["recon"], share_encoder=False)(torch.randn(1, 1, 8, 8, 4)).recon) == 2


@pytest.mark.parametrize("wrong", [{"norm": "layer"}, {"auxiliary": ["depth"]}, {"strides": [(2, 2, 1)]}])
def test_unknown_parts_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        small(SINGLE, **wrong)


def test_prior_bias_gives_each_zone_its_share() -> None:
    network = small(DUAL)
    shares = {0: 0.9, 1: 0.05, 2: 0.04, 3: 0.002, 4: 0.008}
    network.start_from_prior(shares)
    for head in network.heads:
        torch.nn.init.zeros_(head.weight)
    fused = fuse_branches([p.softmax(1) for p in network(torch.randn(1, 1, 8, 8, 4)).logits], DUAL)
    torch.testing.assert_close(fused[0, :, 0, 0, 0], torch.tensor(list(shares.values())), atol=1e-4, rtol=0)


def test_evaluation_is_deterministic_and_seeded() -> None:
    """Invariant 24."""
    image = torch.randn(1, 1, 16, 16, 4)
    networks = [FusedZones(small(DUAL, dropout=0.5)).eval() for _ in range(2)]
    first = networks[0](image)
    assert torch.equal(first, networks[0](image))
    assert torch.equal(first, networks[1](image))


def test_more_slices_change_nothing_far_from_the_border() -> None:
    """Invariant 25: within the receptive field along k, here 14 slices; batch norm in evaluation mode does not mix places."""
    network = small(DUAL, norm="batch").eval()
    whole = torch.randn(1, 1, 8, 8, 48)
    padded = torch.nn.functional.pad(whole, (8, 8))
    with torch.no_grad():
        direct, longer = (network(image).logits[0] for image in (whole, padded))
    torch.testing.assert_close(direct[..., 16:32], longer[..., 24:40], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(direct[..., :4], longer[..., 8:12], atol=1e-5)


def test_flip_averaging_makes_left_right_equivariance_exact() -> None:
    """Invariant 8, of the model."""
    image = torch.randn(1, 16, 16, 4).numpy()
    windows = WindowInference(patch_size=(16, 16, 4), n_classes=5, mirror_axes=(0,), gives_probabilities=True, n_extra=1)
    network = FusedZones(small(DUAL)).eval()
    plain, flipped = (torch.cat(list(predict_rows(network, view.copy(), windows)), dim=1) for view in (image, image[:, ::-1]))
    torch.testing.assert_close(flipped.flip(1), plain, atol=1e-6, rtol=1e-5)


def test_second_view_reaches_the_second_branch_only() -> None:
    network = small(DUAL, share_encoder=False).eval()
    image, other = torch.randn(1, 1, 8, 8, 4), torch.randn(1, 1, 8, 8, 4)
    plain, mixed = network(image), network(image, second_view=other)
    assert torch.equal(plain.logits[0], mixed.logits[0])
    assert not torch.equal(plain.logits[1], mixed.logits[1])


def test_uncertainty_of_one_branch_is_its_relative_entropy() -> None:
    fused = build_network({**SMALL, "branches": SINGLE, "norm": "instance"}).eval()
    torch.nn.init.zeros_(fused.network.heads[0].weight)
    torch.nn.init.zeros_(fused.network.heads[0].bias)
    torch.testing.assert_close(fused(torch.randn(1, 1, 8, 8, 4))[:, -1], torch.ones(1, 8, 8, 4))
