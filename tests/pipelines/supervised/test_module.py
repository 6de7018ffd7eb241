from __future__ import annotations

from functools import partial

import torch

from pipelines.supervised.losses import supervised_loss
from pipelines.supervised.module import SupervisedModule
from segsuite.data.augmentation import IntensityAugmentation
from segsuite.engines.inference import WindowInference
from segsuite.networks.unet import UNet


def test_overfits_one_patch() -> None:
    """Smoke: loss of one batch falls to near zero, and the average follows."""
    torch.manual_seed(0)
    network = UNet(in_channels=1, out_channels=3, channels=[8, 16], kernels=[[3] * 3] * 2, strides=[[1] * 3, [2] * 3])
    module = SupervisedModule(
        network,
        loss=partial(supervised_loss, label_smoothing=0.0),
        optimiser=lambda net: torch.optim.AdamW(net.parameters(), 1e-2),
        schedule=lambda progress: 1.0,
        average_decay=0.9,
        augmentation=IntensityAugmentation().scaled(0, mirror_axes=()),
        windows=WindowInference(patch_size=(16, 16, 16), n_classes=3),
        structures={1: "a", 2: "b"},
        seed=0,
    )
    module.log = lambda *args, **more: None  # no trainer here
    image = torch.zeros(1, 1, 16, 16, 16)
    image[..., 4:9, 4:9, 4:9], image[..., 10:14, 3:9, 3:9] = 1, 2
    label = image[:, 0].round().long()
    batch = {"image": image + 0.1 * torch.randn_like(image), "label": label, "index": torch.tensor([0])}
    optimiser = module.configure_optimizers()
    losses = []
    for _ in range(60):
        loss = module.training_step(batch, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.on_train_batch_end(None, batch, 0)
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    predicted = module.average.module.eval()(batch["image"]).argmax(1)
    assert ((predicted == label) | (label == 0)).float().mean() > 0.99
