"""Scans of two groups with what is known about them, and the batches that are drawn from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from segsuite.engines.processes import let_training_end_first, workers_that_fit
from segsuite.errors import ManifestError
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = ["MatchedBatches", "ScanDataset", "Scans", "scan_loader"]


@dataclass(frozen=True)
class Scans:
    """Images in memory, or read when asked for.

    Attributes:
        images: Item i is (channels, ...) float32; all of one shape.
        is_diseased: (n,) booleans.
        subjects: The subject of each scan.
        sites: The site of each scan; empty text where unknown.
        attributes: Name to (n,) values: floats with ``nan``, or texts with the empty text, where unknown.
        names: Case ids.
    """

    images: Sequence[Any]
    is_diseased: FloatArray
    subjects: Sequence[str]
    sites: Sequence[str] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.is_diseased)

    def batch(self, rows: Sequence[int]) -> Tensor:
        """Some of the images.

        Args:
            rows: Which.

        Returns:
            (n, channels, ...) float32.
        """
        if isinstance(self.images, np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(self.images[list(rows)], dtype=np.float32))
        return torch.from_numpy(np.stack([np.asarray(self.images[row], dtype=np.float32) for row in rows]))

    def part(self, keep: Any) -> Scans:
        """Some of the scans.

        Args:
            keep: (n,) booleans.

        Returns:
            Those.
        """
        rows = np.flatnonzero(keep)
        images = self.images[rows] if isinstance(self.images, np.ndarray) else [self.images[row] for row in rows]
        return Scans(
            images,
            self.is_diseased[rows],
            [self.subjects[row] for row in rows],
            [self.sites[row] for row in rows] if self.sites else (),
            {name: np.asarray(values)[rows] for name, values in self.attributes.items()},
            [self.names[row] for row in rows] if self.names else (),
        )


class MatchedBatches(Sampler[tuple[int, list[int]]]):
    """Batches of as many healthy as diseased scans, one scan per subject; on request as many of each group from each site.

    Batch number b of a run is a function of the seed and b, so that a restart goes on exactly.
    """

    def __init__(self, scans: Scans, *, batch_size: int, steps_per_epoch: int, seed: int, match_sites: bool) -> None:
        """Set up.

        Args:
            scans: To draw from.
            batch_size: Rows per batch; even, at least 4.
            steps_per_epoch: Batches per epoch.
            seed: The run's seed.
            match_sites: Draw both groups from the same sites.

        Raises:
            ManifestError: Fewer than two subjects of a group, or no site with both groups.
        """
        self.batch_size, self.steps, self.seed, self.epoch = batch_size, steps_per_epoch, seed, 0
        self.begun = (0, 0)
        sites = list(scans.sites) if match_sites and scans.sites else [""] * len(scans)
        self.scans_of: dict[tuple[str, bool], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row, (site, group, subject) in enumerate(zip(sites, scans.is_diseased, scans.subjects, strict=True)):
            self.scans_of[site, bool(group)][subject].append(row)
        counts = [
            len({s for s, g in zip(scans.subjects, scans.is_diseased, strict=True) if bool(g) == group}) for group in (0, 1)
        ]
        if min(counts) < 2:
            raise ManifestError(
                f"Training must have at least two healthy and two diseased subjects, got {counts[0]} and {counts[1]}. "
                "Check `group` in the manifest (healthy or diseased)."
            )
        self.sites = sorted(site for site in set(sites) if self.scans_of[site, False] and self.scans_of[site, True])
        if not self.sites:
            raise ManifestError(
                f"`sampling.match_sites` must find a site with both groups, got none among {sorted(set(sites))}. Group and site "
                "cannot be told apart in these data."
            )
        share = np.array([min(len(self.scans_of[site, group]) for group in (False, True)) for site in self.sites], dtype=float)
        self.share = share / share.sum()

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch; the trainer calls it before each one."""
        self.epoch = epoch

    def go_on_at(self, epoch: int, n_over: int) -> None:
        """Begin within an epoch; the ones after it are whole.

        Args:
            epoch: Which.
            n_over: Batches of it that are over.
        """
        self.epoch, self.begun = epoch, (epoch, n_over)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        """Number of the batch and its rows, healthy first."""
        n_over = self.begun[1] if self.epoch == self.begun[0] else 0
        for step in range(self.epoch * self.steps + n_over, (self.epoch + 1) * self.steps):
            yield step, self.rows(step)

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.steps

    def rows(self, step: int) -> list[int]:
        """The rows of one batch.

        Args:
            step: Its number in the whole run.

        Returns:
            ``batch_size`` rows, healthy ones first.
        """
        draw = keyed_generator(self.seed, "cohort batch", step)
        n_of_site = draw.multinomial(self.batch_size // 2, self.share)
        healthy: list[int] = []
        diseased: list[int] = []
        for site, n in zip(self.sites, n_of_site, strict=True):
            for group, rows in ((False, healthy), (True, diseased)):
                subjects = sorted(self.scans_of[site, group])
                chosen = draw.choice(len(subjects), n, replace=n > len(subjects))
                for at in chosen:
                    scans = self.scans_of[site, group][subjects[int(at)]]
                    rows.append(scans[int(draw.integers(len(scans)))])
        return healthy + diseased


class ScanDataset(Dataset[dict[str, Tensor]]):
    """Whole batches by number and rows, as ``MatchedBatches`` draws them."""

    def __init__(self, scans: Scans, attributes: FloatArray | None = None) -> None:
        """Set up.

        Args:
            scans: To read from.
            attributes: (n, K) of the supervised extension, scaled to [0, 1], ``nan`` where unknown.
        """
        self.scans, self.attributes = scans, attributes
        order = {subject: number for number, subject in enumerate(sorted(set(scans.subjects)))}
        self.subject_number = np.array([order[subject] for subject in scans.subjects])

    def __getitem__(self, asked: tuple[int, list[int]]) -> dict[str, Tensor]:
        """``image``, ``is_diseased``, ``subject``, ``step`` and, if there are some, ``attributes``."""
        step, rows = asked
        batch = {
            "image": self.scans.batch(rows),
            "is_diseased": torch.from_numpy(np.asarray(self.scans.is_diseased)[rows].astype(bool)),
            "subject": torch.from_numpy(self.subject_number[rows]),
            "step": torch.tensor(step),
        }
        if self.attributes is not None:
            batch["attributes"] = torch.from_numpy(self.attributes[rows].astype(np.float32))
        return batch


def scan_loader(dataset: ScanDataset, batches: MatchedBatches, *, workers: int) -> DataLoader[Any]:
    """Batches without end, an epoch at a time.

    Args:
        dataset: Reads them.
        batches: Draws them.
        workers: Loader processes.

    Returns:
        The loader.
    """
    if workers:
        workers = workers_that_fit(workers, batch_bytes=batches.batch_size * dataset.scans.batch([0]).nbytes)
    return DataLoader(
        dataset,
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=let_training_end_first,
    )
