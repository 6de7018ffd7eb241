"""The data of one training: opened, split, prepared, and turned into loaders; shared by all pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from segsuite.data.cache import PreparedCase, prepare_cases
from segsuite.data.checking import require_unleaked
from segsuite.data.datasets import PatchDataset, collate_views
from segsuite.data.locate import find_data_root
from segsuite.data.manifest import Case, Manifest, read_manifest
from segsuite.data.phantoms.cohort import PhantomCohort, write_phantom_cohort
from segsuite.data.samplers import EpochSampler
from segsuite.data.transforms import Preprocessing
from segsuite.engines.processes import (
    Tell,
    default_workers,
    let_training_end_first,
    rank,
    wait_for_first,
    workers_that_fit,
    world_size,
)
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.split_record import held_out_images, require_apart, require_same_cases, require_same_content
from segsuite.errors import SettingsError
from segsuite.shipped import find_manifest
from segsuite.volumes.regions import Regions

__all__ = ["Cohort", "open_cohort", "patch_loader", "whole_case_loader"]

MOST_LARGER = 3
"""Than another may be the part that a patch is turned from."""


@dataclass(frozen=True)
class Cohort:
    """Cases of one training.

    Attributes:
        manifest: Declares labels and channels.
        data_root: Where paths start.
        fold: Held out; ``None``: nothing is.
        training: Labelled cases to train on.
        held_out: Labelled cases to judge by.
        cache_dir: Where prepared cases are.
        workers: Processes or threads beside the main one.
        cache_bytes: That prepared images may take on disk; ``None``: all that there is.
        record: The run's ``split.json``, where the content of the cases is kept; ``None``: nowhere.
    """

    manifest: Manifest
    data_root: Path
    fold: int | None
    training: list[Case]
    held_out: list[Case]
    cache_dir: Path
    workers: int
    cache_bytes: int | None = None
    record: Path | None = None

    @property
    def class_labels(self) -> tuple[int, ...]:
        """The integer that each class index stands for; index 0 is background."""
        return (0, *self.manifest.structures)

    @property
    def class_names(self) -> dict[int, str]:
        """Class index to name, without background."""
        return dict(enumerate(self.manifest.structures.values(), start=1))

    @property
    def class_regions(self) -> Regions | None:
        """The regions as unions of class indices, where regions are what is trained."""
        regions = self.manifest.region_set
        return None if regions is None else regions.of_classes(self.class_labels)

    @property
    def unlabelled(self) -> list[Case]:
        """Cases without a mask, for methods that learn from them; none of them belongs to a held-out patient."""
        held_out = {case.patient_id for case in self.held_out}
        return [case for case in self.manifest.unlabelled if case.patient_id not in held_out]

    def prepare_unlabelled(self, preprocessing: Preprocessing) -> list[PreparedCase]:
        """The cases without a mask in the cache.

        Args:
            preprocessing: What is done to each image.

        Returns:
            Prepared cases whose ``label`` is ``None``; copies of held-out images are not among them.
        """
        prepared = self._prepare(self.unlabelled, preprocessing) if self.unlabelled else []
        if self.record is not None:
            held_out = held_out_images(self.record)
            prepared = [item for item in prepared if item.content["image"] not in held_out]
            require_same_content(self.record, {"unlabelled": prepared})
        return prepared

    def prepare(self, preprocessing: Preprocessing, *, tell: Tell) -> tuple[list[PreparedCase], list[PreparedCase]]:
        """Training and held-out cases in the cache.

        Args:
            preprocessing: What is done to each image.
            tell: Told how far it is.

        Returns:
            Training and held-out cases.

        Raises:
            ManifestError: The same image on both sides.
            OutputError: The run began with other images or masks.
        """
        tell(f"preparing {len(self.training) + len(self.held_out)} cases", 0.0)
        both = self._prepare([*self.training, *self.held_out], preprocessing)
        training, held_out = both[: len(self.training)], both[len(self.training) :]
        require_apart(training, held_out)
        if self.record is not None:
            meaning = {"labels": self.manifest.labels, "channels": list(self.manifest.channels.values())}
            require_same_content(self.record, {"training": training, "held_out": held_out}, declared=meaning)
        return training, held_out

    def _prepare(self, cases: list[Case], preprocessing: Preprocessing) -> list[PreparedCase]:
        return prepare_cases(
            cases,
            self.manifest,
            data_root=self.data_root,
            cache_dir=self.cache_dir,
            preprocessing=preprocessing,
            workers=self.workers + 1,
            most_bytes=self.cache_bytes,
        )


def open_cohort(
    data: dict[str, Any],
    run: RunFolder,
    *,
    workers: int | None,
    tell: Tell,
    labelled: bool = True,
    with_regions: bool = False,
) -> Cohort:
    """The cases that the settings name, split and checked for leakage.

    Args:
        data: ``manifest``, ``data_root``, ``fold``, ``cache_dir``, ``cache_gb``, ``phantom``: the settings' group, plain values.
        run: Where a phantom cohort and the default cache go.
        workers: ``None``: chosen from the cores.
        tell: Told how far it is.
        labelled: Only cases with a mask; methods that need none take all.
        with_regions: The manifest's regions are what is trained, where it declares some; else, said so, its single labels.

    Returns:
        The cohort.

    Raises:
        SettingsError: Neither a manifest nor a phantom.
        ManifestError: No such fold, or a patient on both sides.
        OutputError: The run began with another split.
    """
    if data["phantom"] is not None:
        path = run.root / "cohort" / "manifest.json"
        wait_for_first(path)
        if not path.is_file():
            tell("making the phantom cohort", 0.0)
            write_phantom_cohort(path.parent, PhantomCohort(**data["phantom"]), workers=(workers or 1) + 1)
    elif data["manifest"] is not None:
        path = find_manifest(data["manifest"])
    else:
        raise SettingsError("The settings must name cases: give --manifest M.json, or `data.phantom` for a trial.")
    manifest = read_manifest(path)
    if manifest.regions and not with_regions:
        tell(f"{manifest.name}: training the single labels, not the regions {', '.join(manifest.regions)}", 0.0)
        manifest = manifest.without_regions()
    root = find_data_root(manifest, path, None if data["data_root"] is None else Path(data["data_root"]))
    training, held_out = manifest.split(data["fold"], labelled=labelled)
    require_unleaked(training, held_out)
    require_same_cases(run.split, training, held_out)
    cache_dir = run.root / "cache" if data["cache_dir"] is None else Path(data["cache_dir"])
    chosen = default_workers() if workers is None else workers
    cache_bytes = None if data.get("cache_gb") is None else int(data["cache_gb"] * 1e9)
    return Cohort(manifest, root, data["fold"], training, held_out, cache_dir, chosen, cache_bytes, run.split)


def patch_loader(dataset: PatchDataset, *, batch_size: int, steps_per_epoch: int, workers: int) -> DataLoader[Any]:
    """Batches of patches without end, an epoch at a time.

    Args:
        dataset: The patches.
        batch_size: Per step and device.
        steps_per_epoch: Batches per epoch.
        workers: Loader processes.

    Returns:
        A loader whose epoch n is the same whenever it is drawn.
    """
    if workers:
        tensors = [value for value in dataset[0].values() if isinstance(value, torch.Tensor)]
        batch_bytes = batch_size * sum(tensor.nbytes for tensor in tensors)
        workers = workers_that_fit(workers, batch_bytes=batch_bytes * (MOST_LARGER if dataset.turn_on_gpu else 1))
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(batch_size * steps_per_epoch * world_size(), rank=rank(), world_size=world_size()),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate_views if dataset.turn_on_gpu else None,
        drop_last=True,
        worker_init_fn=let_training_end_first,
    )


def whole_case_loader(cases: Sequence[PreparedCase]) -> DataLoader[Any]:
    """Prepared cases one by one, for validation.

    Args:
        cases: Labelled cases.

    Returns:
        A loader that yields ``PreparedCase``.
    """
    return DataLoader(list(cases), batch_size=1, collate_fn=_only)  # type: ignore[arg-type]


def _only(batch: list[PreparedCase]) -> PreparedCase:
    return batch[0]
