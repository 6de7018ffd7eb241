"""Both training stages: zones and auxiliary tasks; then, from its averaged weights, branches that are held to agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.prostate_zones.fusion import shared_zones
from pipelines.prostate_zones.losses import (
    LearnedWeights,
    branch_label,
    class_weights,
    co_training_loss,
    distance_map_loss,
    gland_loss,
    meyer_loss,
    presence_loss,
    ramp_up,
    reconstruction_loss,
    zone_loss,
)
from pipelines.prostate_zones.network import FusedZones, ZoneNetwork, ZoneOutput
from segsuite.data.augmentation import IntensityAugmentation, augment_batch
from segsuite.data.cache import PreparedCase
from segsuite.engines.averaged_training import AveragedTraining
from segsuite.engines.components import dice_of_prepared
from segsuite.losses.dice import NOT_SCORED
from segsuite.seeding import keyed_seed

__all__ = ["SecondStage", "ZoneModule"]

NOT_BEGUN = -1.0
LEAST_GUARD_DICE = 0.1


@dataclass(frozen=True)
class SecondStage:
    """When and how the branches are held to agree.

    Attributes:
        share: Of the budget, at its end; 0: never.
        kind: See ``co_training_loss``.
        weight: Of the loss after its warm-up.
        ramp: Share of the stage that the warm-up takes.
        learning_rate_factor: Of the base learning rate.
        teacher: See ``co_training_loss``.
    """

    share: float = 0.0
    kind: str = "squared"
    weight: float = 1.0
    ramp: float = 0.2
    learning_rate_factor: float = 0.1
    teacher: bool = False


class ZoneModule(AveragedTraining):
    """Trains a ``FusedZones``. A batch holds ``image``, ``label``, ``labelled``, ``index`` and, for sdm, ``distances``."""

    def __init__(
        self,
        network: FusedZones,
        *,
        shares: Sequence[float],
        auxiliary: Mapping[str, float],
        second_stage: SecondStage,
        loss: str,
        learned_weights: bool,
        augmentation: IntensityAugmentation,
        guard_cases: Sequence[PreparedCase],
        **training: Any,
    ) -> None:
        """Set up.

        Args:
            network: To train.
            shares: Share of the voxels per class, for the weights of the cross-entropy.
            auxiliary: Task to weight; 0 where it is not trained.
            second_stage: When and how the branches must agree.
            loss: ``zone`` or ``meyer``.
            learned_weights: Learn the weights of the tasks.
            augmentation: Of intensities, and mirroring.
            guard_cases: The second stage begins only when every zone of these is found somewhere in them.
            **training: See ``AveragedTraining``.
        """
        super().__init__(network, **training)
        self.auxiliary = {task: weight for task, weight in auxiliary.items() if weight > 0}
        self.second_stage, self.augmentation, self.guard_cases = second_stage, augmentation, list(guard_cases)
        self.branch_losses = [_branch_loss(loss, shares, branch) for branch in self.zone_network.branches]
        self.weights = LearnedWeights(("zones", *self.auxiliary)) if learned_weights else None
        self.register_buffer("stage_2_start", torch.tensor(NOT_BEGUN))

    @property
    def zone_network(self) -> ZoneNetwork:
        """What is trained, without the fusion."""
        return cast(FusedZones, self.network).network

    @property
    def stage(self) -> int:
        """1 or 2."""
        return 1 if float(self.stage_2_start) == NOT_BEGUN else 2

    def learning_rate_share(self, progress: float) -> float:
        """Stage 1 runs its whole schedule; what comes after it is lower, with a schedule of its own in stage 2."""
        first = 1 - self.second_stage.share
        if self.stage == 1:
            return self.schedule(progress / first) if progress < first else self.second_stage.learning_rate_factor
        start = float(self.stage_2_start)
        return self.second_stage.learning_rate_factor * self.schedule((progress - start) / max(1 - start, 1e-9))

    def agreement_weight(self, progress: float) -> float:
        """Weight of the co-training loss at some progress of the run: 0 in stage 1 and at the start of stage 2."""
        if self.stage == 1:
            return 0.0
        start = float(self.stage_2_start)
        done = (progress - start) / max(1 - start, 1e-9)
        return self.second_stage.weight * ramp_up(done / self.second_stage.ramp)

    def on_train_epoch_start(self) -> None:
        """Begin stage 2 when it is time, unless a zone is not found yet: agreeing on nothing would keep it so."""
        progress = self.clock.progress(self.global_step)
        due = self.second_stage.share > 0 and self.stage == 1 and progress >= 1 - self.second_stage.share
        if due and not self.lost_zones():
            self.network.load_state_dict(self.average.module.state_dict())
            self.stage_2_start.fill_(progress)

    def lost_zones(self) -> list[str]:
        """Zones that some guard case has and that the averaged network finds in none of them (Dice below 0.1)."""
        best: dict[str, float] = {}
        for case in self.guard_cases:
            for name, dice in dice_of_prepared(self.segment(case), case, self.structures).items():
                if dice == dice:
                    best[name] = max(dice, best.get(name, 0.0))
        return [name for name, dice in best.items() if dice < LEAST_GUARD_DICE]

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """The weighted losses of one batch."""
        seed = keyed_seed(self.seed, "batch", int(batch["index"][0]))
        batch = self._augmented(self._useful(batch), seed)
        output = self.zone_network(batch["image"], second_view=self._second_view(batch, seed))
        terms = self.loss_terms(output, batch)
        if self.weights is None:
            weighted = [terms[name] * self.auxiliary.get(name, 1.0) for name in terms]
            loss = torch.stack(weighted).sum()
        else:
            loss = self.weights(terms)
        agreement = self.agreement_weight(self.clock.progress(self.global_step))
        if agreement > 0:
            terms["co_training"] = self.disagreement(output)
            loss = loss + agreement * terms["co_training"]
        self.log_terms({"loss": loss, **terms, "stage": torch.tensor(float(self.stage))})
        return loss

    def loss_terms(self, output: ZoneOutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses by name, without weights.

        Args:
            output: Of the network.
            batch: Augmented.

        Returns:
            ``zones`` and the auxiliary tasks that are trained.
        """
        label, labelled = batch["label"], batch["labelled"]
        branches = self.zone_network.branches
        seen = [branch_label(label, branch) for branch in branches]
        known = [labelled[:, [0, *branch]] for branch in branches]
        zones = [
            loss(logits, own, labelled=flags)
            for loss, logits, own, flags in zip(self.branch_losses, output.logits, seen, known, strict=True)
        ]
        terms = {"zones": torch.stack(zones).sum()}
        # zones that a data set does not label may lie in any of its labels, so only whole cases teach surfaces and gland
        whole = labelled.all(dim=1)
        if "sdm" in self.auxiliary:
            scored = ((label != NOT_SCORED) & whole.view(-1, 1, 1, 1))[:, None]
            distances = [batch["distances"][:, [zone - 1 for zone in branch]] for branch in branches]
            terms["sdm"] = _mean(
                distance_map_loss(predicted, target, scored) for predicted, target in zip(output.sdm, distances, strict=True)
            )
        if "gland" in self.auxiliary:
            terms["gland"] = _mean(gland_loss(logits, _gland(label, whole, logits)) for logits in output.gland)
        if "recon" in self.auxiliary:
            terms["recon"] = _mean(reconstruction_loss(image, batch["image"]) for image in output.recon)
        if "presence" in self.auxiliary:
            terms["presence"] = _mean(
                presence_loss(logits, own, flags) for logits, own, flags in zip(output.presence, seen, known, strict=True)
            )
        return terms

    def disagreement(self, output: ZoneOutput) -> Tensor:
        """The co-training loss: of all samples, labelled or not.

        Args:
            output: Of the network.

        Returns:
            Scalar.
        """
        branches = self.zone_network.branches
        zones = shared_zones(branches)
        views = [
            logits.float().softmax(dim=1)[:, [1 + branch.index(zone) for zone in zones]]
            for logits, branch in zip(output.logits, branches, strict=True)
        ]
        return co_training_loss(views, kind=self.second_stage.kind, teacher=self.second_stage.teacher)

    def _useful(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Stage 1 learns nothing from unlabelled samples, unless it reconstructs them."""
        if self.stage == 2 or "recon" in self.auxiliary:
            return batch
        keep = (batch["label"] != NOT_SCORED).flatten(1).any(dim=1)
        return batch if keep.all() or not keep.any() else {name: tensor[keep] for name, tensor in batch.items()}

    def _augmented(self, batch: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        """Intensities and mirroring; label and distances are mirrored together."""
        targets = [batch["label"][:, None].float(), *([batch["distances"]] if "distances" in batch else [])]
        image, mirrored = augment_batch(batch["image"], torch.cat(targets, dim=1), self.augmentation, seed=seed)
        new = {"image": image.contiguous(memory_format=torch.channels_last_3d), "label": mirrored[:, 0].long()}
        if "distances" in batch:
            new["distances"] = mirrored[:, 1:]
        return {**batch, **new}

    def _second_view(self, batch: dict[str, Tensor], seed: int) -> Tensor | None:
        """For branches with encoders of their own, in stage 2: the same patch with other intensities."""
        if self.stage == 1 or self.zone_network.share_encoder:
            return None
        plain = self.augmentation.scaled(1.0, mirror_axes=())
        view, _ = augment_batch(batch["image"], batch["label"], plain, seed=keyed_seed(seed, "second view"))
        return view.contiguous(memory_format=torch.channels_last_3d)


def _branch_loss(name: str, shares: Sequence[float], branch: Sequence[int]) -> Callable[..., Tensor]:
    if name == "meyer":
        return lambda logits, label, *, labelled: meyer_loss(logits, label)
    own = [shares[zone] for zone in branch]
    return partial(zone_loss, weights=class_weights([1 - sum(own), *own]))


def _mean(losses: Any) -> Tensor:
    return torch.stack(list(losses)).mean()


def _gland(label: Tensor, whole: Tensor, logits: Tensor) -> Tensor:
    """Share of the gland in each coarse voxel; -1 where a voxel holds something unknown."""
    size = logits.shape[2:]
    known = (label != NOT_SCORED) & whole.view(-1, 1, 1, 1)
    share = F.adaptive_avg_pool3d((label > 0)[:, None].float(), size)
    return torch.where(F.adaptive_avg_pool3d(known[:, None].float(), size) > 0.999, share, torch.full_like(share, -1.0))
