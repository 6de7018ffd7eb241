from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.fewshot.kernels import Kernel
from pipelines.fewshot.network import KernelNetwork, OpenNetwork, build_network, cosine_logits, thinned
from segsuite.errors import ModelError

UNET = {
    "kind": "unet", "in_channels": 1, "out_channels": 1, "channels": [4, 8], "kernels": [[3] * 3] * 2,
    "strides": [[1] * 3, [2] * 3], "n_supervised": 1,
}  # fmt: skip
SLICES = {"kind": "slice_network", "in_channels": 1, "out_channels": 1, "architecture": "unet", "encoder": "resnet18"}


def network(extractor: dict[str, object] = UNET, regions: int = 3) -> OpenNetwork:
    torch.manual_seed(0)
    return build_network({"extractor": extractor, "n_base": 2, "n_regions": regions, "feature_channels": 6})


@pytest.mark.parametrize("extractor", [UNET, SLICES], ids=["3-D", "2-D"])
def test_features_have_unit_length(extractor: dict[str, object]) -> None:
    image = torch.randn(2, 1, 32, 32, 4)
    features = network(extractor).network.features(image)
    assert features.shape == (2, 6, 32, 32, 4)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2, 32, 32, 4))
    assert features.min() < 0  # no activation at the end


def test_length_of_kernels_does_not_matter() -> None:
    """I7."""
    features = torch.nn.functional.normalize(torch.randn(1, 6, 2, 2, 2), dim=1)
    kernels = torch.randn(3, 6)
    torch.testing.assert_close(cosine_logits(features, kernels), cosine_logits(features, 3 * kernels))
    by_hand = 10 * float(features[0, :, 0, 0, 0] @ kernels[1]) / float(kernels[1].norm())
    assert float(cosine_logits(features, kernels)[0, 1, 0, 0, 0]) == pytest.approx(by_hand, rel=1e-5)


def test_training_gives_base_classes_and_thinned_regions() -> None:
    made = network().network
    base, regions = made(torch.randn(1, 1, 8, 8, 4))
    assert base.shape == (1, 3, 8, 8, 4)
    assert regions.shape == (1, 5, 4, 4, 4)
    torch.testing.assert_close(regions[:, :2], thinned(base[:, 1:]))


def test_registration_leaves_base_probabilities_bit_identical() -> None:
    """I1, I2."""
    made = network().eval()
    image = torch.randn(1, 1, 8, 8, 4)
    with torch.no_grad():
        before = made(image)
        made.register_kernels([])
        assert torch.equal(made(image), before)
        first, second = (Kernel(np.random.default_rng(seed).normal(size=6), 0.1, 5.0) for seed in range(2))
        made.register_kernels([first])
        one = made(image)
        made.register_kernels([first, second])
        two = made(image)
    assert torch.equal(one[:, :3], before)
    assert torch.equal(two[:, :4], one)
    assert two.shape[1] == 5
    features = made.network.features(image).detach()
    logits = first.logit(features[0].flatten(1).T.numpy())
    torch.testing.assert_close(one[0, 3].flatten(), torch.from_numpy(logits).sigmoid().float(), atol=1e-5, rtol=1e-4)


def test_kernels_of_another_model_are_refused() -> None:
    with pytest.raises(ModelError, match="must have kernels of 6 features, got 4"):
        network().register_kernels([Kernel(np.zeros(4), 0, 1)])
    with pytest.raises(ModelError, match="extractor's kind"):
        KernelNetwork(extractor={"kind": "vit"}, n_base=1, n_regions=0, feature_channels=4)


def test_gradient_reaches_features_and_all_kernels() -> None:
    """I19 for what is trained here."""
    made = network().network
    base, regions = made(torch.randn(1, 1, 8, 8, 4))
    (base.square().mean() + regions.square().mean()).backward()
    for parameter in (made.kernels, made.regions, made.project.weight):
        assert parameter.grad.abs().sum() > 0
