"""The Dice of registered structures on scans that no support came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.fewshot.bank import Structure
from pipelines.fewshot.predictor import FewshotPredictor
from pipelines.fewshot.registration import digest_of, hash_of_voxels
from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import read_manifest
from segsuite.engines.segmentation import Request
from segsuite.errors import ManifestError, closest_hint
from segsuite.metrics.overlap import dice_score
from segsuite.volumes.image_files import hash_of_image
from segsuite.volumes.orders import reordered
from segsuite.volumes.reading import read_channels, read_grid, read_labels

__all__ = ["measured_dice"]

MOST_SLICES = 50
"""A support may have been given with so many annotated slices; its hash depends on them."""


def measured_dice(
    predictor: FewshotPredictor,
    path: Path,
    *,
    data_root: Path | None,
    fold: int | None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[str, object]]:
    """Segment labelled cases and compare every registered structure with its reference.

    Args:
        predictor: A model with registered structures.
        path: A manifest that names the structures as the model does.
        data_root: Where its paths start.
        fold: Only this fold's cases; ``None``: all labelled ones.
        tell: Told of each case.

    Yields:
        ``case``, ``structure`` and ``dice``; ``nan`` where neither mask has the structure, ``None`` where the case is one of
        the structure's own supports.

    Raises:
        ManifestError: No labelled case, or a structure that the manifest does not name.
        GridError: A mask lies on another grid than its image.
    """
    manifest = read_manifest(path)
    root = find_data_root(manifest, path, data_root)
    structures = predictor.bank.structures
    for structure in structures:
        if structure.name not in manifest.labels:
            raise ManifestError(f"{path} must name `{structure.name}`. {closest_hint(structure.name, manifest.labels)}")
    cases = [case for case in manifest.training if case.label and (fold is None or case.fold == fold)]
    if not cases:
        raise ManifestError(f"{path} must have labelled cases{'' if fold is None else f' of fold {fold}'}, got none.")
    for case in cases:
        images = image_paths(case, root)
        mask = label_path(case, root)
        stored = read_labels(mask, mapping=manifest.label_mapping)
        reference = reordered(stored, read_grid(images[0]), names=(str(images[0]), str(mask))).labels
        drawn = {s.name: reference == manifest.labels[s.name] for s in structures}
        hashes = [hash_of_image(path) for path in images]
        own = {s.name for s in structures if _is_support(s, hashes, drawn[s.name])}
        found = None
        if len(own) < len(structures):
            tell(case.case_id)
            found = predictor.segment(read_channels(images, n_channels=predictor.n_channels), Request(case.case_id)).mask
        for structure in structures:
            score = (
                None if structure.name in own or found is None else dice_score(found == structure.label, drawn[structure.name])
            )
            yield {"case": case.case_id, "structure": structure.name, "dice": score}


def _is_support(structure: Structure, images: list[str], drawn: NDArray[np.bool_]) -> bool:
    known, voxels = {support.digest for support in structure.supports}, hash_of_voxels(drawn)
    return any(digest_of(images, voxels, slices) in known for slices in (None, *range(1, MOST_SLICES)))
