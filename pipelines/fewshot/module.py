"""The training step of base training: base classes and pseudo-anatomy from one set of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.fewshot.foreground import context_classes, foreground_loss, foreground_target, surest_background
from pipelines.fewshot.losses import base_label, base_loss, region_label, region_loss, updated_loss
from pipelines.fewshot.network import KernelNetwork, OpenNetwork, cosine_logits, reduced, thinned, updated_kernels
from segsuite.data.augmentation import IntensityAugmentation, augment_batch
from segsuite.engines.averaged_training import AveragedTraining
from segsuite.seeding import keyed_seed

__all__ = ["BaseTraining", "Foreground"]

SELF_PACED_FROM = 0.2
"""Share of the training before which every background voxel teaches the foreground branch."""


@dataclass(frozen=True)
class Foreground:
    """How the foreground branch is taught.

    Attributes:
        weight: Of its loss.
        leave_class_out: Hold classes out of its context and call them objects all the same.
        ignore_background: Share of background voxels, those most like objects, that teach nothing.
        regions: Also let random pseudo-anatomical regions be objects.
    """

    weight: float = 1.0
    leave_class_out: bool = True
    ignore_background: float = 0.05
    regions: bool = False


class BaseTraining(AveragedTraining):
    """Trains an ``OpenNetwork`` without new structures. The label of a batch is its lesson; see ``lessons``."""

    def __init__(
        self,
        network: OpenNetwork,
        *,
        n_channels: int,
        region_weight: float,
        update_regions: bool = False,
        foreground: Foreground | None = None,
        augmentation: IntensityAugmentation,
        **training: Any,
    ) -> None:
        """Set up.

        Args:
            network: To train.
            n_channels: Of intensities; more channels of an image say where its voxels lie.
            region_weight: Of the pseudo-anatomy's loss.
            update_regions: Regions play new classes too, where the network has a gate.
            foreground: How the foreground branch is taught, where the network has one.
            augmentation: Of intensities, and mirroring.
            **training: See ``AveragedTraining``.
        """
        super().__init__(network, **training)
        self.n_channels, self.region_weight, self.augmentation = n_channels, region_weight, augmentation
        self.update_regions, self.foreground = update_regions, foreground or Foreground()

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
        levels = self.kernel_network.levels(image.contiguous(memory_format=torch.channels_last_3d))
        features, lesson = self.kernel_network.unit(levels), reduced(lesson, levels)
        terms = {"base": self._base_loss(features, lesson)}
        loss = terms["base"]
        if self.kernel_network.n_regions:
            is_full = levels.shape[2:] == image.shape[2:]
            seen, taught = (thinned(features), thinned(lesson)) if is_full else (features, lesson)
            terms["regions"] = self._region_loss(seen, region_label(taught))
            loss = loss + self.region_weight * terms["regions"]
        if self.kernel_network.foreground is not None:
            terms["foreground"] = self._foreground_loss(levels, lesson)
            loss = loss + self.foreground.weight * terms["foreground"]
        self.log_terms({"loss": loss, **terms})
        return loss

    def _base_loss(self, features: Tensor, lesson: Tensor) -> Tensor:
        net = self.kernel_network
        label = base_label(lesson, net.n_base)
        raw = cosine_logits(features, net.kernels)
        if net.update is None:
            return base_loss(raw, label)
        kernels = updated_kernels(net.update, net.kernels, features, label, first=1)
        return updated_loss(raw, cosine_logits(features, kernels), label)

    def _region_loss(self, features: Tensor, label: Tensor) -> Tensor:
        net = self.kernel_network
        kernels = torch.cat([net.kernels[1:], net.regions])
        if net.update is not None and self.update_regions:
            kernels = updated_kernels(net.update, kernels, features, label, first=0)
        return region_loss(cosine_logits(features, kernels), label)

    def _foreground_loss(self, levels: Tensor, lesson: Tensor) -> Tensor:
        net, how = self.kernel_network, self.foreground
        assert net.foreground is not None  # noqa: S101 - only called with a branch
        label = lesson if how.regions else base_label(lesson, net.n_base)
        if how.regions:  # a random half of the regions of this batch are objects, the others background
            drawn = torch.rand(net.n_base + 1 + net.n_regions, device=label.device) < 0.5
            drawn[: net.n_base + 1] = True
            label = torch.where((label >= 0) & ~drawn[label.clamp_min(0)], torch.zeros_like(label), label)
        known = torch.unique(label)
        known = context_classes(known[known > 0], leave_out=how.leave_class_out)
        context = torch.cat([net.kernels[1:], net.regions])[known - 1]
        logits = net.foreground(levels, context)
        target = foreground_target(label)
        if how.ignore_background and self.clock.progress(self.global_step) > SELF_PACED_FROM:
            target = surest_background(logits, target, how.ignore_background)
        return foreground_loss(logits, target)
