"""Make a manifest from what people have: Decathlon, nnU-Net raw, BIDS derivatives, a table, a plain folder.

No file is renamed or opened here; ``checking`` looks into them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segsuite.data.manifest import Case, Manifest, case_name
from segsuite.errors import ManifestError, closest_hint
from segsuite.volumes.reading import is_image

__all__ = ["LAYOUTS", "import_folder"]

LABEL_WORDS = ("label", "labels", "seg", "mask", "masks", "segmentation", "gt", "dseg")


def import_folder(
    folder: Path,
    *,
    layout: str = "auto",
    images: str | None = None,
    labels: str | None = None,
    patient_pattern: str | None = None,
) -> Manifest:
    """A manifest of the cases in a folder, or in a CSV/TSV table.

    Args:
        folder: The data set's folder; for ``table`` the table itself, whose paths are relative to its folder.
        layout: One of ``LAYOUTS`` or ``auto``.
        images: For ``folder``: glob of the images, for example ``*/t2w.nii.gz``.
        labels: For ``folder``: glob of the labels; pairs share the file stem or the folder.
        patient_pattern: Regular expression with one group that takes the patient id out of the case id.

    Returns:
        The manifest; paths relative to the folder.

    Raises:
        ManifestError: Unknown layout, or nothing found.
    """
    if not folder.exists():
        raise ManifestError(f"The folder to import must exist, got {folder}.")
    chosen = _recognise(folder) if layout == "auto" else layout
    try:
        manifest = _import(folder, chosen, images=images, labels=labels)
    except ValidationError as error:
        findings = "; ".join(str(item["msg"]) for item in error.errors()[:3])
        raise ManifestError(f"{folder} must make a valid manifest in layout `{chosen}`, got: {findings}.") from error
    if not manifest.cases:
        raise ManifestError(f"{folder} must hold cases in layout `{chosen}`, got none. Give --layout, or --images and --labels.")
    return _with_patients(manifest, patient_pattern)


def _import(folder: Path, chosen: str, *, images: str | None, labels: str | None) -> Manifest:
    if chosen not in LAYOUTS:
        raise ManifestError(f"Layout must be auto or one of the known ones, got `{chosen}`. {closest_hint(chosen, LAYOUTS)}")
    if chosen == "folder":
        return _import_plain(folder, images=images, labels=labels)
    return LAYOUTS[chosen](folder)


def _recognise(folder: Path) -> str:
    if folder.is_file():
        return "table"
    dataset = folder / "dataset.json"
    if dataset.is_file():
        keys = _read_json(dataset)
        return "decathlon" if "training" in keys else "nnunet"
    if (folder / "dataset_description.json").is_file() or any(folder.glob("sub-*")):
        return "bids"
    return "folder"


def _import_decathlon(folder: Path) -> Manifest:
    content = _read_json(folder / "dataset.json")
    rows = [row if isinstance(row, dict) else {"image": row} for row in content.get("training", [])]
    test = [row if isinstance(row, dict) else {"image": row} for row in content.get("test", [])]
    return Manifest(
        name=str(content.get("name", folder.name)),
        description=str(content.get("description", "")),
        licence=str(content.get("licence", content.get("license", ""))),
        source=str(content.get("reference", "")),
        channels=_channels(content.get("modality") or content.get("channel_names")),
        labels=content.get("labels", {"background": 0}),
        training=[_decathlon_case(row) for row in rows],
        test=[_decathlon_case(row) for row in test],
    )


def _decathlon_case(row: dict[str, Any]) -> Case:
    def clean(name: str) -> str:
        return name.removeprefix("./")

    image = row["image"]
    known = {key: row[key] for key in ("fold", "patient_id", "site", "group", "case_id") if key in row}
    label = row.get("label")
    return Case(
        image=clean(image) if isinstance(image, str) else [clean(name) for name in image],
        label=clean(label) if label else None,
        **known,
    )


def _import_nnunet(folder: Path) -> Manifest:
    content = _read_json(folder / "dataset.json")
    ending = content.get("file_ending", ".nii.gz")
    channels = _channels(content.get("channel_names") or content.get("modality"))
    raw_labels = content.get("labels", {"background": 0})
    regions = [name for name, value in raw_labels.items() if not isinstance(value, int | str)]
    if regions:
        raise ManifestError(
            f"{folder / 'dataset.json'}: labels must be single integers, got regions for {regions}. "
            "Import the plain label integers instead."
        )
    ignore = raw_labels.get("ignore")

    def cases(images: str, labels: str) -> list[Case]:
        found = sorted((folder / images).glob(f"*_0000{ending}"))
        rows = []
        for first in found:
            stem = first.name.removesuffix(f"_0000{ending}")
            files = [f"{images}/{stem}_{number:04d}{ending}" for number in range(len(channels))]
            label = f"{labels}/{stem}{ending}"
            image = files[0] if len(files) == 1 else files
            rows.append(Case(image=image, label=label if (folder / label).is_file() else None, case_id=stem))
        return rows

    splits = folder / "splits_final.json"
    training = cases("imagesTr", "labelsTr")
    if splits.is_file():
        held_out = {case_id: fold for fold, part in enumerate(json.loads(splits.read_text())) for case_id in part["val"]}
        training = [case.model_copy(update={"fold": held_out.get(case.case_id)}) for case in training]
    return Manifest(
        name=str(content.get("name", folder.name)),
        licence=str(content.get("licence", content.get("license", ""))),
        source=str(content.get("reference", "")),
        channels=channels,
        labels={str(name): int(value) for name, value in raw_labels.items() if name != "ignore"},
        ignore_label=None if ignore is None else int(ignore),
        training=training,
        test=cases("imagesTs", "labelsTs"),
    )


def _import_bids(folder: Path) -> Manifest:
    """Raw images and ``*_dseg`` masks, in one tree or with the masks under ``derivatives/``.

    A mask belongs to the image that shares its ``sub-``, ``ses-`` and ``run-`` entities.
    """
    paths = [path for path in sorted(folder.rglob("sub-*")) if path.is_file() and is_image(path)]
    masks = {_bids_key(path): path for path in paths if "_dseg." in path.name}
    images = [p for p in paths if not re.search(r"_(dseg|probseg|mask)\.", p.name) and "derivatives" not in p.parts]
    images = images or [p for p in paths if not re.search(r"_(dseg|probseg|mask)\.", p.name)]
    labels = {"background": 0}
    table = next(iter(sorted(folder.rglob("*dseg.tsv"))), None)
    if table is not None:
        with table.open(newline="", encoding="utf-8") as stream:
            labels |= {row["name"]: int(row["index"]) for row in csv.DictReader(stream, delimiter="\t")}
    cases = []
    for image in images:
        mask = masks.get(_bids_key(image))
        entities = dict(re.findall(r"(sub|ses|run)-([A-Za-z0-9]+)", image.name))
        cases.append(
            Case(
                image=image.relative_to(folder).as_posix(),
                label=None if mask is None else mask.relative_to(folder).as_posix(),
                patient_id=f"sub-{entities['sub']}",
                session=entities.get("ses"),
            )
        )
    return Manifest(name=folder.name, labels=labels, training=cases)


def _bids_key(path: Path) -> str:
    return "_".join(re.findall(r"(?:sub|ses|run)-[A-Za-z0-9]+", path.name))


def _import_table(path: Path) -> Manifest:
    """A CSV or TSV whose columns are the keys of a case; ``image`` may list channels with ``;``."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, delimiter=delimiter)
        columns = reader.fieldnames or []
        if "image" not in columns:
            raise ManifestError(f"{path} must have a column `image`, got {columns}. {closest_hint('image', columns)}")
        rows = list(reader)
    known = set(Case.model_fields) - {"attributes", "meta"}
    cases = []
    for row in rows:
        values: dict[str, Any] = {key: value for key, value in row.items() if key in known and value}
        values["attributes"] = {key: _number(value) for key, value in row.items() if key not in known and value}
        if ";" in values["image"]:
            values["image"] = [part.strip() for part in values["image"].split(";")]
        cases.append(Case(**values))
    n_channels = max((len(case.images) for case in cases), default=1)
    return Manifest(name=path.stem, channels={str(n): f"channel_{n}" for n in range(n_channels)}, training=cases)


def _import_plain(folder: Path, *, images: str | None, labels: str | None) -> Manifest:
    """Pairs by glob; without globs, files or folders whose names carry a label word are the labels."""
    if images is None:
        everything = [path for path in sorted(folder.rglob("*")) if is_image(path)]
        label_files = [path for path in everything if _is_label(path, folder)]
        image_files = [path for path in everything if path not in set(label_files)]
    else:
        image_files = [path for path in sorted(folder.glob(images)) if is_image(path)]
        label_files = sorted(folder.glob(labels)) if labels else []
    by_key: dict[str, Path] = {}
    for path in label_files:
        for key in _pair_keys(path, folder):
            by_key.setdefault(key, path)
    stems = [case_name(path.name) for path in image_files]
    cases = []
    for path, stem in zip(image_files, stems, strict=True):
        mask = next((by_key[key] for key in _pair_keys(path, folder) if key in by_key), None)
        relative = path.relative_to(folder)
        case_id = stem if stems.count(stem) == 1 else "_".join((*relative.parent.parts, stem))
        label = None if mask is None else mask.relative_to(folder).as_posix()
        cases.append(Case(image=relative.as_posix(), label=label, case_id=case_id))
    return Manifest(name=folder.resolve().name, training=cases)


def _is_label(path: Path, folder: Path) -> bool:
    words = re.split(r"[^a-z]+", path.relative_to(folder).as_posix().lower())
    return any(word in LABEL_WORDS or re.fullmatch(r"(label|mask|seg)s?(tr|ts)?", word) for word in words)


def _pair_keys(path: Path, folder: Path) -> list[str]:
    """What image and label of one case have in common: the stem without label words, or a folder of their own."""
    words = [word for word in re.split(r"[_\-. ]+", case_name(path.name)) if word]
    core = [word for word in words if word.lower() not in (*LABEL_WORDS, "image", "img", "t2w", "t1w", "ct", "mr")]
    parent = path.parent.relative_to(folder).as_posix()
    keys = ["stem:" + "_".join(core)] if core else []
    return keys + ([f"folder:{parent}"] if parent != "." and not _is_label(path.parent / "x", folder) else [])


def _with_patients(manifest: Manifest, pattern: str | None) -> Manifest:
    if pattern is None:
        return manifest
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ManifestError(f"The patient pattern must be a regular expression, got `{pattern}`: {error}.") from error

    def named(case: Case) -> Case:
        match = expression.search(case.case_id)
        if not match or not match.groups():
            raise ManifestError(
                f"The patient pattern must match every case with one (group), got `{pattern}` for {case.case_id}."
            )
        return case.model_copy(update={"patient_id": match.group(1)})

    rows = {"training": [named(c) for c in manifest.training], "test": [named(c) for c in manifest.test]}
    return manifest.model_copy(update=rows)


def _channels(names: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (names or {"0": "image"}).items()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ManifestError(f"{path} must be a readable JSON file, got: {error}.") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path} must hold a JSON object, got {type(content).__name__}.")
    return content


LAYOUTS: dict[str, Callable[[Path], Manifest]] = {
    "decathlon": _import_decathlon,
    "nnunet": _import_nnunet,
    "bids": _import_bids,
    "table": _import_table,
    "folder": lambda folder: _import_plain(folder, images=None, labels=None),
}
"""Layout name to importer."""
