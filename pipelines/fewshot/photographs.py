"""PASCAL VOC and COCO folders as manifests: a photograph is a volume of one slice, a file per colour. Nothing is downloaded."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import polygon2mask

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.errors import ManifestError, SettingsError
from segsuite.files import make_folder
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_image, write_mask

__all__ = ["LAYOUTS", "VOC_CLASSES", "import_photographs", "novel_classes"]

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
IGNORED = 255
TRAINING, VALIDATION = 1, 0
"""Folds: the validation images are held out by ``data.fold=0``."""
VOC_LISTS = {TRAINING: ("trainaug", "train"), VALIDATION: ("val",)}
VOC_MASKS = ("SegmentationClassAug", "SegmentationClass")
GRID_AFFINE = np.diag([1.0, -1.0, 1.0, 1.0])
"""Pixels count right and down; upright in a viewer."""

Photograph = tuple[str, Path, Callable[[], NDArray[np.uint8]]]
"""Name, file, and what gives its label map, (rows, columns) with 255 where nothing is scored."""


def novel_classes(names: Sequence[str], fold: int, *, n_folds: int = 4, interleaved: bool = False) -> tuple[str, ...]:
    """The new classes of a fold: 5i+1..5i+5 of 20 for PASCAL-5i; i+1, i+5, ... of 80 for COCO-20i.

    Args:
        names: All classes in the set's order.
        fold: From 0.
        n_folds: How many there are.
        interleaved: Every ``n_folds``-th class, not a run of them.

    Returns:
        Their names.

    Source: Shaban et al., BMVC 2017, arXiv:1709.03410; Nguyen and Todorovic, ICCV 2019, arXiv:1909.13140.
    """
    size = len(names) // n_folds
    return tuple(names[fold::n_folds] if interleaved else names[fold * size : (fold + 1) * size])


def import_photographs(folder: Path, out: Path, *, layout: str) -> Manifest:
    """Write every photograph and its label map as NIfTI, and a manifest whose fold 0 are the validation images.

    A photograph's files are named as nnU-Net names channels (`_0000`, `_0001`, `_0002`: red, green, blue). What is there
    already is not written again.

    Args:
        folder: ``voc``: holds ``JPEGImages``, ``SegmentationClassAug`` or ``SegmentationClass``, ``ImageSets/Segmentation``;
            ``coco``: holds ``train2014``, ``val2014`` and ``annotations/instances_*.json``.
        out: Gets ``images``, ``labels`` and ``manifest.json``.
        layout: One of ``LAYOUTS``.

    Returns:
        The manifest.

    Raises:
        SettingsError: Another layout.
        ManifestError: Something of the layout is missing.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"--layout must be one of {sorted(LAYOUTS)}, got `{layout}`.")
    names, parts = LAYOUTS[layout](folder)
    for name in ("images", "labels"):
        make_folder(out / name)
    rows = []
    for fold, photographs in parts.items():
        for name, image, draw in photographs:
            colours = [f"images/{name}_{channel:04d}.nii.gz" for channel in range(3)]
            case = Case(image=colours, label=f"labels/{name}.nii.gz", case_id=name, patient_id=name, fold=fold)
            if not (out / str(case.label)).is_file():
                _write(out, case, image, draw())
            rows.append(case)
    manifest = Manifest(
        name=layout,
        channels={"0": "red", "1": "green", "2": "blue"},
        labels={"background": 0, **{name: number for number, name in enumerate(names, start=1)}},
        ignore_label=IGNORED,
        data_root=".",
        training=rows,
    )
    write_manifest(out / "manifest.json", manifest)
    return manifest


def _write(out: Path, case: Case, image: Path, label: NDArray[np.uint8]) -> None:
    with Image.open(image) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    if pixels.shape[:2] != label.shape:
        raise ManifestError(f"{image} and its label map must have one size, got {pixels.shape[:2]} and {label.shape}.")
    grid = Grid((label.shape[1], label.shape[0], 1), GRID_AFFINE)
    like = Volume(np.zeros((1, *grid.shape), dtype=np.float32), grid)
    for channel, name in enumerate(case.images):
        write_image(out / name, np.ascontiguousarray(pixels[:, :, channel].T[..., None]), like=like)
    write_mask(out / str(case.label), np.ascontiguousarray(label.T[..., None]), like=like)


def _voc(folder: Path) -> tuple[Sequence[str], Mapping[int, Iterator[Photograph]]]:
    lists = folder / "ImageSets" / "Segmentation"
    masks = next((folder / name for name in VOC_MASKS if (folder / name).is_dir()), folder / VOC_MASKS[0])
    for needed in (folder / "JPEGImages", lists, masks):
        _require(needed)
    parts = {}
    for fold, names in VOC_LISTS.items():
        path = next((lists / f"{name}.txt" for name in names if (lists / f"{name}.txt").is_file()), lists / f"{names[0]}.txt")
        _require(path)
        # lists of others hold two paths a line; the name is the first one's
        lines = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        parts[fold] = _voc_photographs(folder, masks, [Path(first).stem for first in lines])
    return VOC_CLASSES, parts


def _voc_photographs(folder: Path, masks: Path, names: Sequence[str]) -> Iterator[Photograph]:
    for name in names:
        yield name, folder / "JPEGImages" / f"{name}.jpg", partial(_indices, masks / f"{name}.png")


def _indices(mask: Path) -> NDArray[np.uint8]:
    with Image.open(mask) as opened:
        return np.asarray(opened, dtype=np.uint8)


def _coco(folder: Path) -> tuple[Sequence[str], Mapping[int, Iterator[Photograph]]]:
    contents = {}
    for fold, part in ((TRAINING, "train2014"), (VALIDATION, "val2014")):
        path = folder / "annotations" / f"instances_{part}.json"
        for needed in (path, folder / part):
            _require(needed)
        contents[fold] = (folder / part, json.loads(path.read_text(encoding="utf-8")))
    categories = sorted(contents[TRAINING][1]["categories"], key=lambda entry: entry["id"])
    number_of = {entry["id"]: number for number, entry in enumerate(categories, start=1)}
    parts = {fold: _coco_photographs(images, content, number_of) for fold, (images, content) in contents.items()}
    return [entry["name"] for entry in categories], parts


def _coco_photographs(images: Path, content: Mapping[str, Any], number_of: Mapping[int, int]) -> Iterator[Photograph]:
    drawn = defaultdict(list)
    for annotation in content["annotations"]:
        drawn[annotation["image_id"]].append(annotation)
    for entry in content["images"]:
        yield Path(entry["file_name"]).stem, images / entry["file_name"], partial(_painted, entry, drawn[entry["id"]], number_of)


def _painted(
    entry: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], number_of: Mapping[int, int]
) -> NDArray[np.uint8]:
    """All objects of a photograph; small ones come last, so that what stands before a large one is seen."""
    label = np.zeros((entry["height"], entry["width"]), dtype=np.uint8)
    for annotation in sorted(annotations, key=lambda one: -one["area"]):
        label[_drawn(annotation, label.shape)] = IGNORED if annotation["iscrowd"] else number_of[annotation["category_id"]]
    return label


def _drawn(annotation: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Polygons; or, for crowds, run lengths down the columns that begin with background."""
    outline = annotation["segmentation"]
    if isinstance(outline, dict):
        runs = np.repeat(np.arange(len(outline["counts"])) % 2 == 1, outline["counts"])
        crowd: NDArray[np.bool_] = runs.reshape(shape[::-1]).T
        return crowd
    mask = np.zeros(shape, dtype=bool)
    for points in outline:
        across, down = points[::2], points[1::2]
        mask |= polygon2mask(shape, np.c_[down, across])
    return mask


def _require(path: Path) -> None:
    if not path.exists():
        raise ManifestError(f"The folder must hold {path}, got none. Nothing is downloaded: put the set there.")


LAYOUTS = {"voc": _voc, "coco": _coco}
