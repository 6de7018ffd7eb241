"""Volumes inside a page: cropped, turned into display grey levels, and shown by NiiVue, which is part of the page too."""

from __future__ import annotations

import base64
import gzip
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from segsuite.reports.overlays import COLOURS
from segsuite.reports.rendering import render, write_page
from segsuite.volumes.cropping import bounding_box, enlarged_box
from segsuite.volumes.labels import labels_present
from segsuite.volumes.orders import reordered
from segsuite.volumes.reading import read_labels, read_volume
from segsuite.volumes.volume import Volume

__all__ = ["LayeredCase", "viewer_of", "viewer_script", "write_view"]

MOST_VOXELS = 8_000_000
"""Of one volume in a page; larger ones are thinned out."""
MARGIN_MM = 15.0
"""Kept around the masks where a case is cropped."""
DISPLAY_PERCENTILES = (0.5, 99.5)
COMPRESSION = 6


@dataclass(frozen=True)
class LayeredCase:
    """An image and the masks on it.

    Attributes:
        name: Of the case.
        image: Its file.
        masks: Title and file, on the image's grid.
        crop: Show only the neighbourhood of the masks.
    """

    name: str
    image: Path
    masks: Sequence[tuple[str, Path]] = ()
    crop: bool = False


def viewer_of(cases: Sequence[LayeredCase], names: Mapping[int, str], *, most_bytes: int) -> dict[str, Any] | None:
    """What the viewer's template needs.

    Args:
        cases: In the order in which they are offered.
        names: Label to name; others are called by their integers.
        most_bytes: Cases that would make the page larger are left out, and a note says so.

    Returns:
        ``cases`` (none if none fits), ``data`` (JSON), ``notes``; ``None`` if there is no case.

    Raises:
        GridError: A mask lies on another grid than its image.
        VolumeError: A file is unreadable.
    """
    kept: list[dict[str, Any]] = []
    notes, left_out, size = [], [], 0
    for case in cases:
        entry, note = _entry(case, names)
        n_bytes = len(entry["image"]) + sum(len(mask["data"]) for mask in entry["masks"])
        if size + n_bytes > most_bytes:
            left_out.append(case.name)
            continue
        kept.append(entry)
        notes += [f"{case.name}: {note}"] if note else []
        size += n_bytes
    if left_out:
        reason = f"the volumes of the page would be larger than {most_bytes / 1e6:.0f} MB"
        notes.append(f"Left out, because {reason}: {', '.join(left_out)}. `segsuite view` shows them.")
    if not cases:
        return None
    # a closing tag inside the data would end the script
    return {"cases": kept, "data": json.dumps(kept).replace("<", "\\u003c"), "notes": notes}


def viewer_script() -> str:
    """NiiVue's text, for the page."""
    return (resources.files("segsuite.reports") / "vendor" / "niivue.umd.js").read_text(encoding="utf-8")


def write_view(case: LayeredCase, names: Mapping[int, str], out: Path) -> Path:
    """A page with the viewer of one case and nothing else.

    Args:
        case: What is shown.
        names: Label to name.
        out: The page.

    Returns:
        The page.

    Raises:
        GridError: A mask lies on another grid than the image.
        VolumeError: A file is unreadable.
        OutputError: The page cannot be written.
    """
    viewer = viewer_of([case], names, most_bytes=sys.maxsize)
    assert viewer is not None  # noqa: S101 - everything fits
    legend = {name: colour for mask in viewer["cases"][0]["masks"] for _, name, colour in mask["labels"]}
    page = render("view.html", name=case.name, viewer=viewer, niivue=viewer_script(), legend=list(legend.items()))
    write_page(out, page)
    return out


def _entry(case: LayeredCase, names: Mapping[int, str]) -> tuple[dict[str, Any], str]:
    """One case as the template needs it, and what was changed for the page."""
    image = read_volume(case.image)
    masks = [(title, reordered(read_labels(path), image.grid, names=(str(case.image), str(path)))) for title, path in case.masks]
    present = [mask.labels != 0 for _, mask in masks if mask.labels.any()]
    box = tuple(slice(0, size) for size in image.grid.shape)
    inner = bounding_box(np.logical_or.reduce(present)) if present else box
    if case.crop and present:
        box = enlarged_box(inner, MARGIN_MM, image.spacing_mm, image.grid.shape)
    part = image.cropped(box)
    step = math.ceil((math.prod(part.grid.shape) / MOST_VOXELS) ** (1 / 3))
    values = sorted({value for _, mask in masks for value in labels_present(mask.labels)} - {0})
    index_of = {value: number for number, value in enumerate(values, start=1)}
    centre = image.grid.affine @ [*((part.start + part.stop - 1) / 2 for part in inner), 1.0]
    entry = {
        "name": case.name,
        "image": _packed(_display(part.array[0][::step, ::step, ::step]), part, step),
        "masks": [
            {
                "title": title,
                "data": _packed(_indexed(mask.cropped(box).labels[::step, ::step, ::step], index_of), part, step),
                "labels": [
                    (number, names.get(value, f"label {value}"), COLOURS[(value - 1) % len(COLOURS)])
                    for value, number in index_of.items()
                ],
            }
            for title, mask in masks
        ],
        "centre_mm": [float(value) for value in centre[:3]],
    }
    return entry, f"every {step}th voxel along each axis is shown" if step > 1 else ""


def _display(values: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = np.percentile(values, DISPLAY_PERCENTILES)
    return (np.clip((values - low) / max(float(high - low), 1e-6), 0, 1) * 255).astype(np.uint8)


def _indexed(labels: NDArray[Any], index_of: Mapping[int, int]) -> NDArray[np.uint8]:
    table = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint8)
    for value, number in index_of.items():
        if value < len(table):
            table[value] = min(number, 255)
    found: NDArray[np.uint8] = table[labels]
    return found


def _packed(array: NDArray[np.uint8], volume: Volume, step: int) -> str:
    """A NIfTI file as base64."""
    affine = volume.grid.affine.copy()
    affine[:3, :3] *= step
    image = nib.Nifti1Image(array, affine)
    return base64.b64encode(gzip.compress(image.to_bytes(), COMPRESSION, mtime=0)).decode()
