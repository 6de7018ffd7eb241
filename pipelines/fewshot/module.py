"""The training step of base training: base classes and pseudo-anatomy from one set of features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipelines.fewshot.losses import base_label, base_loss, region_label, region_loss
from pipelines.fewshot.network import KernelNetwork, OpenNetwork, thinned
from segsuite.data.augmentation import IntensityAugmentation, augment_batch
from segsuite.engines.averaged_training import AveragedTraining
from segsuite.seeding import keyed_seed

__all__ = ["BaseTraining"]


class BaseTraining(AveragedTraining):
    """Trains an ``OpenNetwork`` without new structures. The label of a batch is its lesson; see ``lessons``."""

    def __init__(
        self,
        network: OpenNetwork,
        *,
        n_channels: int,
        region_weight: float,
        augmentation: IntensityAugmentation,
        **training: Any,
    ) -> None:
        """Set up.

        Args:
            network: To train.
            n_channels: Of intensities; more channels of an image say where its voxels lie.
            region_weight: Of the pseudo-anatomy's loss.
            augmentation: Of intensities, and mirroring.
            **training: See ``AveragedTraining``.
        """
        super().__init__(network, **training)
        self.n_channels, self.region_weight, self.augmentation = n_channels, region_weight, augmentation

    @property
    def kernel_network(self) -> KernelNetwork:
        """What is trained."""
        return self.network.network

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """The losses of one batch."""
        seed = keyed_seed(self.seed, "batch", int(batch["index"][0]))
        # what says where a voxel lies is mirrored with the label, but not made noisy
        still = torch.cat([batch["label"][:, None].float(), batch["image"][:, self.n_channels :]], dim=1)
        intensities, mirrored = augment_batch(batch["image"][:, : self.n_channels], still, self.augmentation, seed=seed)
        image, lesson = torch.cat([intensities, mirrored[:, 1:]], dim=1), mirrored[:, 0].long()
        base, regions = self.kernel_network(image.contiguous(memory_format=torch.channels_last_3d))
        terms = {"base": base_loss(base, base_label(lesson, self.kernel_network.n_base))}
        if self.kernel_network.n_regions:
            terms["regions"] = region_loss(regions, region_label(thinned(lesson)))
        loss = terms["base"] + self.region_weight * terms.get("regions", torch.zeros(()))
        self.log_terms({"loss": loss, **terms})
        return loss
