"""Folders with a ``dataset.json``: Medical Segmentation Decathlon, nnU-Net 1 and 2, with or without a table of their files."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segsuite.data.importing.case_ids import case_ids_of
from segsuite.data.importing.channels import ChannelFiles, channel_findings, group_channels, image_ending_of
from segsuite.data.importing.found import Imported, ImportFinding, ImportOptions
from segsuite.data.importing.plain import unpaired_findings
from segsuite.data.importing.split_lists import with_split_lists
from segsuite.data.importing.tree import list_tree
from segsuite.data.manifest import Case, Manifest, case_name
from segsuite.data.regions import split_labels
from segsuite.documents import read_json
from segsuite.errors import ManifestError

__all__ = ["has_listed_cases", "import_listed", "import_raw"]

FILE = "dataset.json"
KEPT = ("fold", "patient_id", "site", "group", "session", "case_id", "attributes", "labelled")
LABEL_KEYS = ("label", "labels", "mask", "seg", "segmentation")
ROW_KEYS = ("image", "images", *LABEL_KEYS, "name", "id", "meta")
PARTS = ("training", "validation", "test", "testing")


def has_listed_cases(folder: Path) -> bool:
    """Whether ``dataset.json`` says where its cases lie, so that no folder is looked into."""
    content = read_json(folder / FILE, error=ManifestError)
    return any(isinstance(content.get(key), list | dict) and content[key] for key in ("dataset", *PARTS[:2]))


def import_listed(folder: Path, options: ImportOptions) -> Imported:
    """The cases that ``dataset.json`` lists, under ``training``, ``validation``, ``test`` or nnU-Net 2's ``dataset``.

    Files that are listed as ``a.nii.gz`` and lie there as ``a_0000.nii.gz`` (nnU-Net 1) are found.

    Args:
        folder: The data set.
        options: What the user says.

    Returns:
        The cases; ``validation`` is fold 0.

    Raises:
        ManifestError: Lists of another kind, or labels that are no integers.
    """
    content = read_json(folder / FILE, error=ManifestError)
    facts = _facts(folder, content)
    listed: list[tuple[str, Mapping[str, Any], Case]] = []
    lacks: list[ImportFinding] = []
    absent: list[str] = []
    for part, rows in _listed(folder, content).items():
        for row in rows:
            case, lack = _listed_case(folder, row, facts["channels"], absent)
            lacks += lack
            listed.append((part, row, case.model_copy(update={"fold": 0}) if part == "validation" else case))
    found = _with_ids(listed)
    lacks += _other_counts(found["training"] + found["test"], facts["channels"])
    if absent:
        message = f"They are listed in {folder / FILE}; paths start in {folder}."
        lacks.append(ImportFinding("error", "files that are not there", tuple(absent), message))
    manifest = Manifest(**facts, training=found["training"], test=found["test"])
    return with_split_lists(Imported(manifest, lacks, read=(FILE,)), folder, use=options.splits)


def _with_ids(listed: Sequence[tuple[str, Mapping[str, Any], Case]]) -> dict[str, list[Case]]:
    """Cases by part; names that several images have get their folders, where no ids were given."""
    counts = Counter(case.case_id for _, _, case in listed)
    names = case_ids_of(list(dict.fromkeys(case.images[0] for _, _, case in listed)))
    found: dict[str, list[Case]] = {"training": [], "test": []}
    for part, row, case in listed:
        if counts[case.case_id] > 1 and not row.get("case_id"):
            name = names[case.images[0]]
            patient = name if case.patient_id == case.case_id else case.patient_id
            case = case.model_copy(update={"case_id": name, "patient_id": patient})
        found["test" if part.startswith("test") else "training"].append(case)
    return found


def _other_counts(cases: Sequence[Case], channels: Mapping[str, str]) -> list[ImportFinding]:
    """Cases that list another number of files than there are channels."""
    odd = tuple(case.case_id for case in cases if len(case.images) not in (1, len(channels)))
    message = f"Each case must list one file, or one for each of the channels {', '.join(channels.values())}."
    return [ImportFinding("error", "wrong number of channels", odd, message)] if odd else []


def _listed(folder: Path, content: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows by part, each with ``image`` and perhaps more."""
    lists = {part: content[part] for part in PARTS if content.get(part)}
    table = content.get("dataset")
    if table and not lists.get("training"):
        rows = table.values() if isinstance(table, dict) else table
        names = table if isinstance(table, dict) else [None] * len(table)
        lists["training"] = [
            {"case_id": name, **row} if isinstance(row, dict) and name is not None else row
            for name, row in zip(names, rows, strict=True)
        ]
    return {part: [_row(folder, part, row) for row in _as_list(folder, part, rows)] for part, rows in lists.items()}


def _as_list(folder: Path, part: str, rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise ManifestError(f"{folder / FILE}: `{part}` must be a list of cases, got {type(rows).__name__}.")
    return rows


def _row(folder: Path, part: str, row: Any) -> dict[str, Any]:
    if isinstance(row, str):
        return {"image": row}
    image = row.get("image", row.get("images")) if isinstance(row, dict) else None
    if isinstance(image, dict):  # by channel number
        image = [image[key] for key in sorted(image, key=lambda key: (len(str(key)), str(key)))]
    files = image if isinstance(image, list) else [image]
    label = next((row[key] for key in LABEL_KEYS if row.get(key)), None) if isinstance(row, dict) else None
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if not files or not all(isinstance(name, str) and name for name in files) or not isinstance(label, str | None):
        raise ManifestError(
            f"{folder / FILE}: each of `{part}` must be a file name, or an object with `image` (or `images`) and `label`, "
            f"got {row!r:.120}."
        )
    for key in row:
        near = difflib.get_close_matches(key, (*ROW_KEYS, *KEPT), n=1, cutoff=0.75)
        if near and key not in (*ROW_KEYS, *KEPT):
            raise ManifestError(
                f"{folder / FILE}: key `{key}` of `{part}` is unknown, got it in {row!r:.80}. Did you mean `{near[0]}`?"
            )
    return {**row, "image": files[0] if len(files) == 1 else files, "label": label}


def _listed_case(
    folder: Path, row: Mapping[str, Any], channels: Mapping[str, str], absent: list[str]
) -> tuple[Case, list[ImportFinding]]:
    image: str | list[str] = row["image"]
    findings: list[ImportFinding] = []
    if isinstance(image, str):
        image = _clean(folder, image)
        if not (folder / image).exists():
            image, findings = _numbered(folder, image, channels)
    else:
        image = [_clean(folder, name) for name in image]
    files = [image] if isinstance(image, str) else image
    label = _clean(folder, row["label"]) if row.get("label") else None
    told = {path for finding in findings for path in finding.subjects}
    absent.extend(path for path in [*files, *([label] if label else [])] if not (folder / path).exists() and not told)
    known = {key: row[key] for key in KEPT if row.get(key) not in (None, "")}
    known.setdefault("case_id", _case_id(files, row["image"], label))
    return Case(image=image, label=label, **known), findings


def _case_id(files: Sequence[str], listed: str | list[str], label: str | None) -> str:
    """The image's name; without ``_0000`` where that is the number of a channel."""
    if isinstance(listed, str) and case_name(listed) != case_name(files[0]):
        return case_name(listed)
    stem = case_name(files[0])
    bare = stem.removesuffix("_0000")
    return bare if len(files) > 1 or (label is not None and case_name(label) == bare) else stem


def _numbered(folder: Path, image: str, channels: Mapping[str, str]) -> tuple[str | list[str], list[ImportFinding]]:
    """The files ``<image>_0000`` ... that are there in place of the listed one."""
    ending = image_ending_of(image)
    stem = image[: len(image) - len(ending)]
    there = tuple(n for n in range(100) if (folder / f"{stem}_{n:04d}{ending}").exists())
    if not there:
        return image, []
    files = tuple(f"{stem}_{n:04d}{ending}" for n in range(len(channels)))
    findings = channel_findings(ChannelFiles({files[0]: files}, {files[0]: there}, len(channels)), channels)
    return (files[0] if len(files) == 1 else list(files)), findings


def _clean(folder: Path, name: str) -> str:
    """As this system writes paths, where the backslashes of another lead nowhere."""
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")
    return name.removeprefix("./")


def import_raw(folder: Path, options: ImportOptions) -> Imported:
    """nnU-Net's raw folder: ``imagesTr/<case>_0000``, ``labelsTr/<case>``, ``imagesTs``, ``labelsTs``.

    Args:
        folder: The data set.
        options: What the user says.

    Returns:
        The cases.

    Raises:
        ManifestError: Labels that are no integers, or lists of a split that do not fit.
    """
    content = read_json(folder / FILE, error=ManifestError)
    if not (folder / "imagesTr").is_dir():
        raise ManifestError(
            f"{folder} must hold imagesTr/<case>_0000 and labelsTr/<case> as nnU-Net has them, or list its cases in {FILE} under "
            "`training` or `dataset`, got neither. For any other place: --layout folder"
        )
    facts = _facts(folder, content)
    tree = list_tree(folder, leave_out=options.leave_out)
    ending = str(content.get("file_ending") or "")
    of_ending = [path for path in tree.paths if path.endswith(ending)]
    findings = list(tree.findings)
    if others := [path for path in tree.paths if not path.endswith(ending) and path.startswith(("images", "labels"))]:
        message = f"{folder / FILE} says `file_ending` {ending}."
        findings.append(ImportFinding("note", "files of another ending", tuple(others), message))
    parts = {}
    for part, images, labels in (("training", "imagesTr", "labelsTr"), ("test", "imagesTs", "labelsTs")):
        of_part = [[path for path in of_ending if path.startswith(f"{name}/")] for name in (images, labels)]
        parts[part], told = _raw_cases(*of_part, channels=facts["channels"])
        findings += told
    manifest = Manifest(**facts, training=parts["training"], test=parts["test"])
    return with_split_lists(Imported(manifest, findings, read=(FILE,)), folder, use=options.splits)


def _raw_cases(
    images: Sequence[str], labels: Sequence[str], *, channels: Mapping[str, str]
) -> tuple[list[Case], list[ImportFinding]]:
    groups = group_channels(images, [], n_channels=len(channels))
    findings = channel_findings(groups, channels)
    masks = {case_name(path): path for path in labels}
    cases = []
    for first, files in groups.files.items():
        stem = case_name(first).removesuffix("_0000")
        if len(files) == len(channels):
            image = files[0] if len(files) == 1 else list(files)
            cases.append(Case(image=image, label=masks.pop(stem, None), case_id=stem))
    return cases, findings + unpaired_findings(
        [c.case_id for c in cases if not c.label], sorted(masks.values()), any_mask=bool(labels)
    )


def _facts(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What ``dataset.json`` says of the whole data set."""
    labels, order = content.get("labels") or {"background": 0}, content.get("regions_class_order") or []
    if not isinstance(labels, dict):
        raise ManifestError(f"{folder / FILE}: `labels` must name each label by its integer, got {type(labels).__name__}.")
    if all(str(key).isdigit() for key in labels) and all(isinstance(value, str) for value in labels.values()):
        if twice := [name for name, count in Counter(labels.values()).items() if count > 1]:
            raise ManifestError(f"{folder / FILE}: `labels` must give each structure a name of its own, got `{twice[0]}` twice.")
        labels = {name: value for value, name in labels.items()}
    named, regions = split_labels(labels, order)
    ignore = named.get("ignore")
    return {
        "name": str(content.get("name") or folder.resolve().name),
        "description": str(content.get("description") or ""),
        "licence": str(content.get("licence") or content.get("license") or ""),
        "source": str(content.get("reference") or ""),
        "channels": _channels(folder, content.get("channel_names") or content.get("modality")),
        "labels": {name: value for name, value in named.items() if name != "ignore"},
        "ignore_label": ignore,
        **({"regions": regions, "regions_class_order": order} if regions else {}),
    }


def _channels(folder: Path, names: Any) -> dict[str, str]:
    """Number to name, from an object or a list."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict | None):
        names = {0: names}
    found = {str(key): str(value) for key, value in (names or {"0": "image"}).items()}
    if sorted(found) != sorted(str(n) for n in range(len(found))):
        raise ManifestError(f"{folder / FILE}: channels must be numbered from 0 on, got {list(found)}.")
    return {str(n): found[str(n)] for n in range(len(found))}
