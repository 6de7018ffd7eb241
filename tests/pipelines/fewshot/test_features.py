from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from pipelines.fewshot.features import base_prototypes, deploy, feature_rows
from pipelines.fewshot.network import build_network
from segsuite.engines.inference import WindowInference
from tests.pipelines.fewshot.test_network import SLICES, UNET

WINDOWS = WindowInference(patch_size=(8, 8, 4), n_classes=3, gives_probabilities=True)


def network():
    torch.manual_seed(0)
    arguments = {"extractor": UNET, "n_base": 2, "n_regions": 0, "feature_channels": 6, "update": True}
    return build_network(arguments).eval().network


def case(seed: int) -> SimpleNamespace:
    draw = np.random.default_rng(seed)
    label = np.zeros((8, 8, 4), dtype=np.int16)
    label[2:5] = 1
    return SimpleNamespace(image=draw.normal(size=(1, 8, 8, 4)).astype(np.float32), label=label)


def test_features_of_one_window_are_those_of_the_network() -> None:
    made, one = network(), case(0)
    rows = np.concatenate(list(feature_rows(made, one.image, WINDOWS)), axis=1)
    with torch.no_grad():
        expected = made.features(torch.from_numpy(one.image)[None])[0].numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_a_network_in_training_is_looked_at_without_a_trace() -> None:
    """I15: batch norm's running statistics stay, features are those of ``eval``, and training goes on."""
    made = build_network({"extractor": SLICES, "n_base": 2, "n_regions": 0, "feature_channels": 6}).network
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype(np.float32)
    windows = WindowInference(patch_size=(32, 32, 1), n_classes=3, gives_probabilities=True)
    expected = np.concatenate(list(feature_rows(made.eval(), image, windows)), axis=1)
    before = {name: value.clone() for name, value in made.train().state_dict().items()}
    assert any("running_mean" in name for name in before)
    found = np.concatenate(list(feature_rows(made, image, windows)), axis=1)
    np.testing.assert_array_equal(found, expected)
    assert made.training
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_prototypes_of_training_cases_have_one_vote_each() -> None:
    made, cases = network(), [case(0), case(1)]
    found = base_prototypes(made, cases, WINDOWS)
    with torch.no_grad():
        means = [made.features(torch.from_numpy(c.image)[None])[0][:, torch.from_numpy(c.label == 1)].sum(1) for c in cases]
    expected = sum(mean / mean.norm() for mean in means)
    np.testing.assert_allclose(found[1], expected.numpy(), atol=1e-4)
    assert not found[[0, 2]].any()


def test_deployed_kernels_are_those_of_the_gate() -> None:
    made = network()
    before = made.kernels.detach().clone()
    prototypes = np.zeros((3, 6))
    prototypes[1] = np.arange(6)
    deploy(made, prototypes)
    with torch.no_grad():
        unit = torch.nn.functional.normalize(before, dim=1)
        second = unit.clone()
        second[1] = torch.arange(6.0)
        expected = made.update(unit, second)
    torch.testing.assert_close(made.kernels.detach(), expected)
