"""One training step: two views of every subject, two branches, the terms of the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pipelines.cohort_contrast.attributes import attribute_terms
from pipelines.cohort_contrast.independence import distance_correlation, hsic
from pipelines.cohort_contrast.kernels import gathered, on_sphere
from pipelines.cohort_contrast.losses import separation_terms
from pipelines.cohort_contrast.network import Embedding, TwoBranches
from pipelines.cohort_contrast.views import Views, mixed_with_healthy, random_views
from pipelines.cohort_contrast.weights import Weights
from segsuite.engines.budget import TrainingClock
from segsuite.errors import ModelError
from segsuite.seeding import keyed_seed

__all__ = ["PENALTIES", "Independence", "SeparationModule"]

PENALTIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"hsic": hsic, "distance_correlation": distance_correlation}
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Independence:
    """What more than the joint entropy keeps the salient space from repeating the common one.

    Attributes:
        penalty: ``hsic`` or ``distance_correlation`` between the common and the salient representation of diseased subjects;
            empty: none. The common branch is not moved by it.
        weight: Of the penalty, times the weight of the salient term.
        mixing: Largest share of a healthy image that salient views are blended with.
        on_representations: The joint entropy also of the representations, not of the heads alone.
    """

    penalty: str = ""
    weight: float = 0.0
    mixing: float = 0.0
    on_representations: bool = False


class SeparationModule(pl.LightningModule):
    """Trains ``TwoBranches``. A batch holds ``image``, ``is_diseased``, ``subject``, ``step``, maybe ``attributes``."""

    clock: TrainingClock

    def __init__(
        self,
        network: TwoBranches,
        *,
        weights: Weights,
        independence: Independence,
        views: Views,
        memory_rows: int,
        attribute_is_class: Sequence[bool],
        optimiser: Callable[[nn.Module], torch.optim.Optimizer],
        schedule: Callable[[float], float],
        seed: int,
    ) -> None:
        """Set up.

        Args:
            network: To train.
            weights: Of the terms.
            independence: See there.
            views: Random changes of a view.
            memory_rows: So many rows of earlier batches stand among the neighbours; 0: none.
            attribute_is_class: Kinds of the attributes that the salient dimensions carry; empty: views decide.
            optimiser: Makes the optimiser.
            schedule: Progress of the budget to the share of the learning rate.
            seed: The run's seed.
        """
        super().__init__()
        self.network, self.weights, self.independence, self.views = network, weights, independence, views
        self.attribute_is_class = tuple(attribute_is_class)
        self.optimiser, self.schedule, self.seed = optimiser, schedule, seed
        d_c, d_s = (branch.bottleneck.out_features for branch in (network.common, network.salient))
        self.register_buffer("memory_common", torch.zeros(memory_rows, d_c))
        self.register_buffer("memory_salient", torch.zeros(memory_rows, d_s))
        self.register_buffer("memory_is_diseased", torch.zeros(memory_rows, dtype=torch.bool))
        self.register_buffer("memory_subject", torch.full((memory_rows,), -1, dtype=torch.long))

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Set the learning rate of this step."""
        share = self.schedule(self.clock.progress(self.global_step))
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = group["initial_lr"] * share

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of one batch."""
        first, second = self.embedded(batch)
        with torch.autocast(self.device.type, enabled=False):
            terms = self.loss_terms(first, second, batch)
        if not torch.isfinite(terms["loss"]):
            wrong = [name for name, value in terms.items() if not torch.isfinite(value)]
            raise ModelError(
                f"The loss must stay finite, got {', '.join(wrong)} = nan or infinite at step {self.global_step}. The last good "
                "state is in the run's checkpoints; lower training.learning_rate, or look at the images of this batch."
            )
        for name, value in terms.items():
            self.log(name, value.detach(), on_step=True, on_epoch=False)
        self._remember(first, batch)
        return terms["loss"]

    def embedded(self, batch: Batch) -> tuple[Embedding, Embedding]:
        """Two random views of every subject, embedded.

        Args:
            batch: As the loader gives it.

        Returns:
            One embedding per view.
        """
        image, diseased, step = batch["image"], batch["is_diseased"], int(batch["step"])
        both = [random_views(image, self.views, seed=keyed_seed(self.seed, "view", v, step)) for v in (0, 1)]
        mixed = [
            mixed_with_healthy(view, diseased, largest=self.independence.mixing, seed=keyed_seed(self.seed, "mix", v, step))
            for v, view in enumerate(both)
        ]
        if self.attribute_is_class:
            mixed = [image, image]  # attributes replace views: a view could move what the attribute says
        found = self.network(torch.cat(both), torch.cat(mixed))
        n = len(image)
        halves = [tuple(part[at : at + n] for part in vars(found).values()) for at in (0, n)]
        return Embedding(*halves[0]), Embedding(*halves[1])

    def loss_terms(self, first: Embedding, second: Embedding, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; ``loss`` is their weighted sum.

        Args:
            first: View 1.
            second: View 2.
            batch: As the loader gives it.

        Returns:
            Scalars.
        """
        diseased = gathered(batch["is_diseased"].float()) > 0.5
        common = gathered(first.common_head), gathered(second.common_head)
        salient = gathered(first.salient_head), gathered(second.salient_head)
        terms = separation_terms(common, salient, diseased, self.weights, remembered=self._remembered(batch))
        loss = terms["loss"]
        if self.attribute_is_class:
            terms["attributes"] = attribute_terms(
                salient[0], gathered(batch["attributes"]), diseased, is_class=self.attribute_is_class
            )
            loss = loss + self.weights.salient * terms["attributes"]
        if self.independence.on_representations:
            pairs = [(view.common, self.network.erased(view.salient)) for view in (first, second)]
            again = separation_terms(
                (gathered(pairs[0][0]), gathered(pairs[1][0])),
                (gathered(pairs[0][1]), gathered(pairs[1][1])),
                diseased,
                self.weights,
            )
            terms["joint_of_representations"] = again["joint"]
            loss = loss + self.weights.joint * again["joint"]
        if self.independence.penalty:
            penalty = PENALTIES[self.independence.penalty]
            pairs = [(gathered(view.common).detach()[diseased], gathered(view.salient)[diseased]) for view in (first, second)]
            terms["dependence"] = torch.stack([penalty(c.float(), s.float()) for c, s in pairs]).mean()
            loss = loss + self.weights.salient * self.independence.weight * terms["dependence"]
        return {**terms, "loss": loss}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser for both branches."""
        optimiser = self.optimiser(self.network)
        for group in optimiser.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return optimiser

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each branch by itself: weights of the salient terms must not shrink the common branch's steps."""
        for branch in (self.network.common, self.network.salient):
            nn.utils.clip_grad_norm_(branch.parameters(), float(gradient_clip_val or 1.0))

    def _remembered(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor] | None:
        """Rows of earlier batches, without subjects of this one: a subject is not its own opponent."""
        if not len(self.memory_subject):
            return None
        subjects = gathered(batch["subject"])
        keep = (self.memory_subject >= 0) & ~torch.isin(self.memory_subject, subjects)
        return self.memory_common[keep], self.memory_salient[keep], self.memory_is_diseased[keep]

    @torch.no_grad()
    def _remember(self, view: Embedding, batch: Batch) -> None:
        rows = len(self.memory_subject)
        if not rows:
            return
        new = (
            on_sphere(gathered(view.common_head)),
            gathered(view.salient_head).float(),
            gathered(batch["is_diseased"].float()) > 0.5,
            gathered(batch["subject"]),
        )
        names = ("memory_common", "memory_salient", "memory_is_diseased", "memory_subject")
        for name, values in zip(names, new, strict=True):
            buffer = getattr(self, name)
            buffer.copy_(torch.cat([values.to(buffer), buffer])[:rows])
