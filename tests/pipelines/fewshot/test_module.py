from __future__ import annotations

import pytest
import torch

from pipelines.fewshot.module import BaseTraining
from pipelines.fewshot.network import build_network
from segsuite.data.augmentation import IntensityAugmentation
from segsuite.engines.inference import WindowInference


def module(regions: int, weight: float, stages: int = 2, **more: int) -> BaseTraining:
    torch.manual_seed(0)
    extractor = {"kind": "unet", "in_channels": 1, "out_channels": 1, "channels": [8, 16, 32][:stages], "n_supervised": 1}
    extractor |= {"strides": [[1] * 3, [2] * 3, [2] * 3][:stages], "kernels": [[3] * 3] * stages}
    made = BaseTraining(
        build_network({"extractor": extractor, "n_base": 1, "n_regions": regions, "feature_channels": 8, **more}),
        n_channels=1,
        region_weight=weight,
        augmentation=IntensityAugmentation().scaled(0, mirror_axes=()),
        optimiser=lambda net: torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-2),
        schedule=lambda progress: 1.0,
        average_decay=0.5,
        windows=WindowInference(patch_size=(16, 16, 8), n_classes=2, gives_probabilities=True),
        structures={1: "a"},
        seed=0,
    )
    made.log = lambda *args, **more: None  # no trainer here
    return made


def batch() -> dict[str, torch.Tensor]:
    lesson = torch.zeros(1, 16, 16, 8, dtype=torch.long)
    lesson[:, 2:14, 2:14] = 2
    lesson[:, 8:14, 2:14] = 3
    lesson[:, 4:7, 4:9, 2:6] = 1
    image = lesson.float()[:, None] + 0.05 * torch.randn(1, 1, 16, 16, 8, generator=torch.Generator().manual_seed(1))
    return {"image": image, "label": lesson, "index": torch.tensor([0])}


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "first", "least"), [(2, 0, 0.99), (3, 1, 0.97)], ids=["full", "half"])
def test_learns_base_class_and_regions_of_one_patch(stages: int, first: int, least: float) -> None:
    made = module(2, 1.0, stages, first_level=first)
    optimiser = made.configure_optimizers()
    for _ in range(80):
        loss = made.training_step(batch(), 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        made.on_train_batch_end(None, None, 0)
    found = made.average.module.eval()(batch()["image"]).argmax(1)
    assert ((found == 1) == (batch()["label"] == 1)).float().mean() > least


def test_without_regions_only_the_base_class_teaches() -> None:
    torch.testing.assert_close(module(0, 1.0).training_step(batch(), 0), module(0, 0.0).training_step(batch(), 0))
    with_regions, without = (module(2, weight).training_step(batch(), 0).detach() for weight in (1.0, 0.0))
    assert with_regions > without


def test_place_is_not_made_noisy() -> None:
    made = module(0, 0.0)
    made.augmentation = IntensityAugmentation(noise=1.0, brightness=1.0).scaled(1.0, mirror_axes=())
    seen: list[torch.Tensor] = []
    look = made.network.network.levels
    made.network.network.levels = lambda image: (seen.append(image), look(image[:, :1]))[1]
    data = batch()
    data["image"] = torch.cat([data["image"], data["image"], data["image"]], dim=1)
    made.training_step(data, 0)
    assert not torch.equal(seen[0][:, :1], data["image"][:, :1])
    assert torch.equal(seen[0][:, 1:], data["image"][:, 1:])


@pytest.mark.slow
def test_gate_and_foreground_learn_in_episodes() -> None:
    """I19: gradient reaches gate, prototypes' side and kernels; what is learned finds the object and the class."""
    made = module(2, 1.0, update=True, foreground=True)
    made.update_regions = True
    made.clock = type("Clock", (), {"progress": lambda self, step: 0.5})()
    optimiser = made.configure_optimizers()
    for step in range(60):
        torch.manual_seed(step)
        loss = made.training_step(batch(), 0)
        optimiser.zero_grad()
        loss.backward()
        if not step:
            net = made.kernel_network
            for part in (net.update.gate, net.update.of_prototype[0], net.update.of_kernel[0], net.update.residual):
                assert part.weight.grad.abs().sum() > 0
            assert net.kernels.grad.abs().sum() > 0
            assert net.foreground.queries.grad.abs().sum() > 0
        optimiser.step()
        made.on_train_batch_end(None, None, 0)
    found = made.average.module.eval()(batch()["image"])
    inside = batch()["label"] == 1
    objects = made.average.module.network.foreground(
        made.average.module.network.levels(batch()["image"]), made.average.module.network.kernels[1:]
    )[:, 0]
    assert objects[inside].mean() > objects[~inside].mean() + 1
    assert ((found[:, :2].argmax(1) == 1) == inside).float().mean() > 0.97
