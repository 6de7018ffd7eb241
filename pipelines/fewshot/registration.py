"""From a support, an image and a mask, to what it leaves behind; and from a model to one that knows a structure more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.fewshot.bank import Bank, is_novel
from pipelines.fewshot.features import feature_rows
from pipelines.fewshot.kernels import SupportStatistics, collect_statistics
from pipelines.fewshot.predictor import FewshotPredictor
from segsuite.data.transforms import prepare_image
from segsuite.engines.model_card import model_card
from segsuite.engines.model_folder import ModelFolder, write_model_folder
from segsuite.engines.seen_scans import mark_of_scan, with_later_scans
from segsuite.engines.sides import names_a_side
from segsuite.errors import OutputError, SettingsError, VolumeError
from segsuite.files import hash_of_json
from segsuite.volumes.grid import Grid, resample
from segsuite.volumes.image_files import hash_of_image
from segsuite.volumes.orders import reordered, upright
from segsuite.volumes.reading import read_channels, read_labels
from segsuite.volumes.volume import Volume, require_varied
from segsuite.volumes.voxel_hash import voxel_hash

__all__ = [
    "Support",
    "changed_model",
    "described_supports",
    "digest_of",
    "forget",
    "hash_of_voxels",
    "label_for",
    "register",
    "support_statistics",
]

LARGEST_SPACING_RATIO = 3.0
MOST_LABELS = 255
"""Integers that a structure is given unasked are below it."""


@dataclass(frozen=True)
class Support:
    """One annotated scan.

    Attributes:
        images: One file per channel, or one for all.
        mask: Label map on the same grid.
        value: Integer of the structure in the mask, after the mapping.
        mapping: Integer in the file to integer of the manifest that it is from.
    """

    images: tuple[Path, ...]
    mask: Path
    value: int
    mapping: Mapping[int, int] = field(default_factory=dict, hash=False)


def register(
    predictor: FewshotPredictor,
    name: str,
    supports: Sequence[Support],
    out: Path,
    *,
    value: int | None = None,
    slices: int | None = None,
    force: bool = False,
) -> ModelFolder:
    """Write a model that knows one structure more, or one it knows from more scans.

    Args:
        predictor: The model.
        name: Of the structure.
        supports: Annotated scans; one patient each.
        out: Folder of the new model.
        value: Integer in its masks; ``None``: the one it has, else the next free.
        slices: Use only so many slices of each scan, evenly spread over the structure; ``None``: all.
        force: Take scans whose voxels are far from what the model was trained on.

    Returns:
        The new model folder; nothing is written if anything is wrong.

    Raises:
        VolumeError: A support that cannot be used; the message names it.
        SettingsError: A name or value that is taken, or a side in a model whose training flipped patients.
    """
    _require_sides(predictor, name, force=force)
    found = [
        support_statistics(predictor, support, slices=slices, force=force, where=f"{name}, shot {number}, {support.mask}")
        for number, support in enumerate(supports, start=1)
    ]
    bank, labels = predictor.bank, predictor.model.labels
    known = {structure.name: structure.label for structure in bank.structures}
    chosen = value if value is not None else label_for(predictor, name, wanted=None)
    base = {other: label for other, label in labels.items() if other not in known}
    return changed_model(predictor.model, bank.add(name, chosen, found, taken=base), out)


def label_for(predictor: FewshotPredictor, name: str, *, wanted: int | None) -> int:
    """The integer that a structure gets unasked.

    Args:
        predictor: The model.
        name: Of the structure.
        wanted: The integer that its data set gives it, so that masks and references agree; taken where it is free.

    Returns:
        The one that the structure has already, else the wanted one, else the next free.
    """
    taken = predictor.model.labels
    if any(structure.name == name for structure in predictor.bank.structures):
        return predictor.bank[name].label
    if wanted is not None and 0 < wanted < MOST_LABELS and wanted not in taken.values():
        return wanted
    return next(number for number in range(1, MOST_LABELS) if number not in taken.values())


def forget(predictor: FewshotPredictor, name: str, out: Path) -> ModelFolder:
    """Write a model that never knew a structure: the same bytes as before it was registered, if it came last.

    Args:
        predictor: The model.
        name: Of the structure.
        out: Folder of the new model.

    Returns:
        The new model folder.
    """
    return changed_model(predictor.model, predictor.bank.without(name), out)


def changed_model(model: ModelFolder, bank: Bank, out: Path) -> ModelFolder:
    """The model with another bank; network and base kernels are copied as they are.

    Args:
        model: The old one.
        bank: The new bank.
        out: Folder of the new model.

    Returns:
        The new model folder.

    Raises:
        OutputError: There is something in it.
    """
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out} must be a new or empty folder, got one with files. Choose another --out.")
    weights = {name: tensor for name, tensor in model.weights().items() if not is_novel(name)}
    before = {entry["name"] for entry in model.description["kernels"]}
    labels = {name: value for name, value in model.labels.items() if name not in before}
    labels |= {structure.name: structure.label for structure in bank.structures}
    plain = {key: value for key, value in model.description.items() if key not in ("format", "weights")}
    marks = [support.scan for structure in bank.structures for support in structure.supports]
    description = with_later_scans({**plain, "labels": labels, "kernels": bank.describe()}, marks)
    card = model_card(description, remarks=_remarks(bank))
    return write_model_folder(out, weights={**weights, **bank.tensors()}, description=description, card=card)


def support_statistics(
    predictor: FewshotPredictor, support: Support, *, slices: int | None, force: bool, where: str
) -> SupportStatistics:
    """What one support leaves behind.

    Args:
        predictor: The model.
        support: Image and mask.
        slices: Annotated slices to use; ``None``: all.
        force: Take scans whose voxels are far from what the model was trained on.
        where: For messages.

    Returns:
        The statistics.

    Raises:
        VolumeError: No voxel of the structure, no whole numbers, another grid, other voxels.
    """
    volume = read_channels(support.images, n_channels=predictor.n_channels)
    require_varied(volume, case=where)
    mask = reordered(
        read_labels(support.mask, mapping=dict(support.mapping)), volume.grid, names=(str(support.images[0]), str(support.mask))
    )
    drawn = mask.labels == support.value
    if not drawn.any():
        found = [int(value) for value in np.unique(mask.labels)]
        raise VolumeError(
            f"{where}: the mask must have voxels of value {support.value}, got labels {found} in {mask.labels.shape} voxels. "
            "Give the right --value-in-mask."
        )
    _require_near(volume, predictor, where, force=force)
    mark = mark_of_scan(predictor.model.description, voxel_hash(volume))
    scan, order = upright(volume)
    image, grid = prepare_image(scan, predictor.preprocessing)
    inside = _on_network(order.applied(drawn), scan.grid, grid)
    known = np.ones(inside.shape, dtype=bool)
    if slices is not None:
        chosen = _annotated(inside, slices)
        known[:] = False
        known[:, :, chosen] = True
        inside = inside & known
    digest = digest_of([hash_of_image(path) for path in support.images], hash_of_voxels(drawn), slices)
    directions = predictor.base.directions.astype(np.float32)

    def called(features: NDArray[np.float32], at: slice) -> NDArray[np.int64]:
        # where the base model finds a structure of its own, nothing new will be drawn: it teaches nothing either
        return np.where(known[at], np.tensordot(directions, features, axes=1).argmax(axis=0), -1)

    rows = feature_rows(predictor.network.network, image, predictor.windows(predictor.model))
    found = collect_statistics(rows, inside, called, n_base=len(directions) - 1, digest=digest, where=where)
    return replace(found, scan=mark)


def hash_of_voxels(drawn: NDArray[np.bool_]) -> str:
    """Of the voxels of a structure, on the image's own grid."""
    return hashlib.sha256(drawn).hexdigest()


def digest_of(images: Sequence[str], drawn: str, slices: int | None) -> str:
    """What a support is known by, wherever its files lie and whatever they are called.

    Args:
        images: Hashes of its files.
        drawn: Hash of the structure's voxels.
        slices: Annotated slices that were used; ``None``: all.

    Returns:
        A content hash.
    """
    return hash_of_json([list(images), drawn, slices])


def _require_sides(predictor: FewshotPredictor, name: str, *, force: bool) -> None:
    flipped = 0 in predictor.model.description["flipped_axes"] and not predictor.preprocessing.with_place
    if flipped and names_a_side(name) and not force:
        raise SettingsError(
            f"`{name}` must be registered into a model that tells left from right, got one whose training flipped patients. "
            "Train with `features.place=true` or `plan.mirror_axes=[]`, or --force."
        )


def _on_network(drawn: NDArray[np.bool_], native: Grid, grid: Grid) -> NDArray[np.bool_]:
    """A mask on the network's grid; one that is smaller than a voxel keeps the voxel it fills most."""
    occupancy = resample(drawn.astype(np.float32), native, grid, interpolation="linear")
    return occupancy >= min(0.5, float(occupancy.max()))


def _annotated(inside: NDArray[np.bool_], n: int) -> list[int]:
    """So many slices along foot to head, evenly spread over the structure: of three, at 1/6, 1/2 and 5/6."""
    used = np.flatnonzero(inside.any(axis=(0, 1)))
    places = [(2 * number + 1) / (2 * n) for number in range(n)]
    return sorted({int(used[min(len(used) - 1, int(place * len(used)))]) for place in places})


def _require_near(volume: Volume, predictor: FewshotPredictor, where: str, *, force: bool) -> None:
    wanted = predictor.preprocessing.spacing_mm
    if wanted is None or force:
        return
    own = [volume.spacing_mm[volume.grid.body_axes.index(axis)] for axis in range(3)]
    ratio = max(max(a / b, b / a) for a, b in zip(own, wanted, strict=True))
    if ratio > LARGEST_SPACING_RATIO:
        raise VolumeError(
            f"{where}: the scan's voxels must be like those of the model's training, about {_mm(wanted)} mm, got {_mm(own)}. "
            "Give scans of the same protocol, or --force."
        )


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{mm:.3g}" for mm in spacing)


def _remarks(bank: Bank) -> str:
    if not bank.structures:
        return ""
    rows: list[str] = []
    for structure in bank.structures:
        rows.append(f"| {structure.name} | {structure.label} | {len(structure.supports)} |")
    table = "\n".join(rows)
    return f"\nRegistered without retraining:\n\n| structure | value | shots |\n| --- | --- | --- |\n{table}\n"


def described_supports(predictor: FewshotPredictor) -> list[dict[str, Any]]:
    """For people: every structure with its shots and the Dice to expect, leaving one support out.

    Args:
        predictor: The model, with the rule that it is opened with.

    Returns:
        One entry per structure.
    """
    entries = []
    for structure in predictor.bank.structures:
        scores = structure.leave_one_out(predictor.rule, predictor.base)
        entries.append(
            {
                "name": structure.name,
                "label": structure.label,
                "session": structure.session,
                "shots": len(structure.supports),
                "voxels": int(sum(support.counts[0] for support in structure.supports)),
                "supports": [support.digest[:12] for support in structure.supports],
                "expected_dice": round(float(np.mean(scores)), 4) if scores else None,
                "least_dice": round(min(scores), 4) if scores else None,
            }
        )
    return entries
