from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.fewshot.kernels import Kernel
from pipelines.fewshot.network import (
    Bias,
    KernelNetwork,
    OpenNetwork,
    build_network,
    cosine_logits,
    enlarged,
    reduced,
    thinned,
    updated_kernels,
)
from segsuite.errors import ModelError

UNET = {
    "kind": "unet", "in_channels": 1, "out_channels": 1, "channels": [4, 8], "kernels": [[3] * 3] * 2,
    "strides": [[1] * 3, [2] * 3], "n_supervised": 1,
}  # fmt: skip
DEEP = {**UNET, "channels": [4, 8, 16], "kernels": [[3] * 3] * 3, "strides": [[1] * 3, [2, 2, 1], [2] * 3]}
SLICES = {"kind": "slice_network", "in_channels": 1, "out_channels": 1, "architecture": "unet", "encoder": "resnet18"}


HALF = {"kind": "slice_features", "in_channels": 1, "encoder": "resnet18"}


def network(extractor: dict[str, object] = UNET, regions: int = 3, **more: int) -> OpenNetwork:
    torch.manual_seed(0)
    arguments = {"extractor": extractor, "n_base": 2, "n_regions": regions, "feature_channels": 6, **more}
    return build_network(arguments)


@pytest.mark.parametrize(
    ("extractor", "first"), [(UNET, 0), (SLICES, 0), (DEEP, 1), (HALF, 0)], ids=["3-D", "2-D", "3-D half", "2-D half"]
)
def test_features_have_unit_length(extractor: dict[str, object], first: int) -> None:
    image = torch.randn(2, 1, 32, 32, 4)
    features = network(extractor, first_level=first).network.features(image)
    assert features.shape == (2, 6, 32, 32, 4)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2, 32, 32, 4))
    assert features.min() < 0  # no activation at the end


@pytest.mark.parametrize(("extractor", "first"), [(DEEP, 1), (HALF, 0)])
def test_half_resolution_is_enlarged_for_prediction_only(extractor: dict[str, object], first: int) -> None:
    """I18: what a support is described by and what a prediction decides by are enlarged alike."""
    made = network(extractor, first_level=first, foreground=True).eval()
    image = torch.randn(1, 1, 32, 32, 4)
    with torch.no_grad():
        levels = made.network.levels(image)
        assert levels.shape[2:] == (16, 16, 4)
        assert made(image).shape == (1, 4, 32, 32, 4)
        features = made.network.features(image)
        expected = torch.nn.functional.normalize(enlarged(made.network.unit(levels), image), dim=1)
    torch.testing.assert_close(features, expected)
    kernel = Kernel(np.random.default_rng(0).normal(size=(1, 6)), 0.1, 5.0)
    made.register_kernels([kernel])
    margin = kernel.gain * (kernel.score(features[0].flatten(1).T.numpy()) - kernel.threshold)
    with torch.no_grad():
        torch.testing.assert_close(made(image)[0, 3].flatten(), torch.from_numpy(margin).sigmoid().float(), atol=1e-5, rtol=1e-4)


def test_finest_level_is_left_out_exactly() -> None:
    whole, half = network(DEEP).network, network(DEEP, first_level=1).network
    half.extractor.load_state_dict(whole.extractor.state_dict(), strict=False)
    half.levels(torch.randn(1, 1, 16, 16, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in half.extractor.parameters()), "several devices need all gradients"
    image = torch.randn(1, 1, 16, 16, 4)
    torch.testing.assert_close(half.levels(image), whole.extractor.features(image)[1])
    with pytest.raises(ModelError, match="more than 2 stages"):
        network(UNET, first_level=1)


def test_labels_at_coarser_features_are_the_nearest() -> None:
    label = torch.tensor([[[[-1, 5], [2, 3]], [[4, 9], [7, 300]]]])
    assert torch.equal(reduced(label, torch.zeros(1, 1, 1, 1, 2)), torch.tensor([[[[7, 300]]]]))
    assert reduced(label, torch.zeros(1, 1, 2, 2, 2)) is label
    volume = torch.randn(1, 1, 2, 2, 2)
    assert enlarged(volume, volume) is volume


def test_length_of_kernels_does_not_matter() -> None:
    """I7."""
    features = torch.nn.functional.normalize(torch.randn(1, 6, 2, 2, 2), dim=1)
    kernels = torch.randn(3, 6)
    torch.testing.assert_close(cosine_logits(features, kernels), cosine_logits(features, 3 * kernels))
    by_hand = 10 * float(features[0, :, 0, 0, 0] @ kernels[1]) / float(kernels[1].norm())
    assert float(cosine_logits(features, kernels)[0, 1, 0, 0, 0]) == pytest.approx(by_hand, rel=1e-5)


def test_thinned_is_every_second_voxel_of_two_axes() -> None:
    volume = torch.arange(2 * 4 * 4 * 3).view(2, 4, 4, 3)
    assert torch.equal(thinned(volume), volume[:, [0, 2]][:, :, [0, 2]])


def test_registration_leaves_base_probabilities_bit_identical() -> None:
    """I1, I2."""
    made = network().eval()
    image = torch.randn(1, 1, 8, 8, 4)
    with torch.no_grad():
        before = made(image)
        made.register_kernels([])
        assert torch.equal(made(image), before)
        first, second = (Kernel(np.random.default_rng(seed).normal(size=(1, 6)), 0.1, 5.0) for seed in range(2))
        made.register_kernels([first])
        one = made(image)
        made.register_kernels([first, second])
        two = made(image)
    assert torch.equal(one[:, :3], before)
    assert torch.equal(two[:, :4], one)
    assert two.shape[1] == 5
    features = made.network.features(image).detach()
    logits = first.gain * (first.score(features[0].flatten(1).T.numpy()) - first.threshold)
    torch.testing.assert_close(one[0, 3].flatten(), torch.from_numpy(logits).sigmoid().float(), atol=1e-5, rtol=1e-4)


def test_kernels_of_another_model_are_refused() -> None:
    with pytest.raises(ModelError, match="must have kernels of 6 features, got 4"):
        network().register_kernels([Kernel(np.zeros((1, 4)), 0, 1)])
    with pytest.raises(ModelError, match="extractor's kind"):
        KernelNetwork(extractor={"kind": "vit"}, n_base=1, n_regions=0, feature_channels=4)


def test_gradient_reaches_features_and_all_kernels() -> None:
    """I19 for what is trained here."""
    made = network().network
    features = made.features(torch.randn(1, 1, 8, 8, 4))
    base, regions = cosine_logits(features, made.kernels), cosine_logits(features, made.regions)
    (base.square().mean() + regions.square().mean()).backward()
    for parameter in (made.kernels, made.regions, made.project.weight):
        assert parameter.grad.abs().sum() > 0


def test_bias_and_foreground_leave_base_probabilities_alone() -> None:
    """I1, I5, I12: with and without new structures and bias, base probabilities and the objects' map are the same bits."""
    made = network(foreground=True).eval()
    image = torch.randn(1, 1, 8, 8, 4)
    kernel = Kernel(np.random.default_rng(0).normal(size=(2, 6)), 0.1, 5.0)
    with torch.no_grad():
        before = made(image)
        made.register_kernels([kernel])
        plain = made(image)
        made.register_kernels([kernel], bias=Bias("unconditional", size=2.0))
        biased = made(image)
        made.register_kernels([kernel], bias=Bias("hard", threshold=1.0))
        never = made(image)
    assert before.shape[1] == 4
    for after in (plain, biased):
        assert torch.equal(after[:, :3], before[:, :3])
        assert torch.equal(after[:, -1], before[:, -1])
    assert (biased[:, 3] > plain[:, 3]).all()
    assert torch.equal(never, plain)
    with pytest.raises(ModelError, match="must have a model with a foreground branch"):
        network().register_kernels([kernel], bias=Bias("hard"))


def test_peer_may_move_base_kernels() -> None:
    made = network().eval()
    image = torch.randn(1, 1, 8, 8, 4)
    with torch.no_grad():
        before = made(image)
        made.register_kernels([], base=made.network.kernels * 2)
        torch.testing.assert_close(made(image), before)
        made.register_kernels([], base=made.network.kernels.flip(0))
        torch.testing.assert_close(made(image), before.flip(1))


def test_episode_updates_what_it_shows() -> None:
    """Background and absent classes become U(k, k); a class that plays a new one forgets its own kernel."""
    torch.manual_seed(0)
    made = network(update=True).network
    features = made.features(torch.randn(2, 1, 8, 8, 4))
    label = torch.zeros(2, 8, 8, 4, dtype=torch.long)
    label[0, :4], label[1] = 1, 2  # the second half of the batch is no support: class 2 counts as absent
    kernels = torch.nn.Parameter(made.kernels.detach().clone())
    same = made.update(kernels, kernels)
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        found = updated_kernels(made.update, kernels, features, label, first=1)
        torch.testing.assert_close(found[[0, 2]], same[[0, 2]])
        assert not torch.allclose(found[1], same[1])
        own = torch.autograd.grad(found[1].square().sum(), kernels, retain_graph=True)[0]
        seen.add(bool(own[1].abs().sum() > 0))
    assert seen == {True, False}
