from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case
from segsuite.data.spatial import View
from segsuite.engines.averaged_training import AveragedTraining
from segsuite.engines.inference import WindowInference


def module() -> AveragedTraining:
    torch.manual_seed(0)
    return AveragedTraining(
        torch.nn.Conv3d(1, 2, 1),
        optimiser=lambda net: torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.5),
        schedule=lambda progress: 1 - progress,
        average_decay=0.9,
        windows=WindowInference(patch_size=(4, 4, 4), n_classes=2),
        structures={1: "x"},
        seed=0,
    )


def test_only_the_trained_network_is_optimised_and_the_average_follows() -> None:
    made = module()
    assert sum(p.numel() for group in made.configure_optimizers().param_groups for p in group["params"]) == 4
    before = made.average.module.weight.clone()
    with torch.no_grad():
        made.network.weight += 1
    made.on_train_batch_end(None, None, 0)
    assert (made.average.module.weight > before).all()


def test_learning_rate_follows_the_clock() -> None:
    made = module()
    optimiser = made.configure_optimizers()
    made.optimizers = lambda: optimiser
    made.clock = SimpleNamespace(progress=lambda step: 0.75)
    made.on_train_batch_start(None, 0)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.125)


def test_a_batch_comes_to_the_device_as_losses_want_it() -> None:
    made, device = module(), torch.device("cpu")
    image, label = torch.arange(64.0).view(1, 4, 4, 4), torch.ones(4, 4, 4, dtype=torch.int16)
    whole = {"image": image[None], "label": label[None], "index": torch.tensor([7]), "more": torch.ones(1)}
    found = made.transfer_batch_to_device(whole, device, 0)
    assert found.keys() == whole.keys()
    assert found["label"].dtype == torch.int64
    shifted = View((4, 4, 4), (4, 4, 4), (2, 0, 0), None, ())
    to_turn = {"image": [image[:, :2]], "label": [label[:2]], "view": [shifted], "index": torch.tensor([7])}
    turned = made.transfer_batch_to_device(to_turn, device, 0)
    assert turned.keys() == {"image", "label", "index"}
    assert torch.equal(turned["image"][0, :, 2:], image[:, :2])
    assert turned["label"][0, :, 0, 0].tolist() == [-1, -1, 1, 1]


def test_validation_scores_the_average_on_whole_cases(tmp_path: Path) -> None:
    image = np.zeros((1, 6, 4, 4), dtype=np.float32)
    image[0, 3:] = 1
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "label.npy", image[0].astype(np.int8))
    case = PreparedCase(Case(image="a.nii.gz", label="b.nii.gz"), tmp_path)
    made = module()
    with torch.no_grad():
        made.average.module.weight.copy_(torch.tensor([-9.0, 9.0]).view(2, 1, 1, 1, 1))
        made.average.module.bias.copy_(torch.tensor([4.0, -4.0]))
    logged: dict[str, float] = {}
    made.log = lambda name, value, **more: logged.update({name: value})
    made.validation_step(case, 0)
    assert logged == {"validation_dice": 1.0}
    assert made.transfer_batch_to_device(case, torch.device("cpu"), 0) is case
