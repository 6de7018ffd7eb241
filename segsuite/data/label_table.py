"""Which integer is which structure: read from what people have beside their masks, and written beside ours."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segsuite.data.manifest import Manifest
from segsuite.data.regions import split_labels
from segsuite.documents import read_json, read_table
from segsuite.errors import ManifestError, closest_hint

__all__ = ["LABELS_FILE", "label_table", "read_label_table"]

LABELS_FILE = "labels.tsv"
"""Beside the masks: index and name of each label."""
LARGEST_LABEL = 65535
WHOLE_NUMBER = r"\d+(\.0+)?"
"""Spreadsheets write 1 as 1.0."""


def label_table(names: Mapping[int, str]) -> str:
    """The table as it is written beside masks, and read again by ``read_label_table``.

    Args:
        names: Integer to name; 0 is called background where it has no other name.

    Returns:
        Columns ``index`` and ``name``, with tabs; names that hold tabs, quotes or line ends are quoted.
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([("index", "name"), *{0: "background", **names}.items()])
    return text.getvalue()


def read_label_table(path: Path) -> dict[int, str]:
    """Structures by integer, without background.

    Args:
        path: ``.tsv`` or ``.csv`` with columns ``index`` and ``name`` (BIDS, and what predict writes); or ``.json`` with
            ``labels`` in either direction (nnU-Net's and Decathlon's ``dataset.json``, a manifest, a ``model.json``), or the
            bare table.

    Returns:
        Integer to name, in order of the integers.

    Raises:
        FileNotFoundError: Nothing is there.
        ManifestError: No such columns, or no table.
    """
    if not path.is_file():
        came = "got a folder" if path.is_dir() else "but nothing is there"
        raise FileNotFoundError(f"The label table {path} must be a file, {came}.")
    labels = _from_json(path) if path.suffix.lower() == ".json" else _from_columns(path)
    _require_integers(labels, path)
    try:
        manifest = Manifest(name=path.stem, labels=_with_background(labels))
    except ValidationError as error:
        findings = "; ".join(str(item["msg"]) for item in error.errors()[:3])
        raise ManifestError(f"{path} must name each structure by one integer, got: {findings}.") from error
    return manifest.structures


def _from_json(path: Path) -> dict[str, Any]:
    content = read_json(path, error=ManifestError)
    labels = content.get("labels", content)
    if not isinstance(labels, dict):
        raise ManifestError(f"{path} must hold `labels` by name or by integer, got {type(labels).__name__}.")
    if any(isinstance(value, list) for value in labels.values()):  # nnU-Net's regions: the integers that they are made of
        labels = split_labels(labels, content.get("regions_class_order") or [])[0]
    return {name: value for name, value in labels.items() if name != "ignore"}


def _from_columns(path: Path) -> dict[str, Any]:
    table = read_table(path, error=ManifestError)
    named = {column.lower(): column for column in table.columns}
    for wanted in ("index", "name"):
        if wanted not in named:
            raise ManifestError(f"{path} must have a column `{wanted}`, got {list(table.columns)}. {closest_hint(wanted, named)}")
    names = [row[named["name"]] for row in table.rows]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ManifestError(f"{path} must name each structure by one integer, got `{twice[0]}` in several rows.")
    return {name: row[named["index"]] for name, row in zip(names, table.rows, strict=True)}


def _require_integers(labels: dict[str, Any], path: Path) -> None:
    """As the masks can hold them; `1_2` is no 12, although Python reads it so."""
    by_integer = all(str(key).isdigit() for key in labels)
    for name, value in ((value, key) if by_integer else (key, value) for key, value in labels.items()):
        if not re.fullmatch(WHOLE_NUMBER, str(value).strip(), re.ASCII) or not 0 <= int(float(str(value))) <= LARGEST_LABEL:
            raise ManifestError(f"{path} must give `{name}` a whole number from 0 to {LARGEST_LABEL}, got `{value}`.")
        if not str(name).strip():
            raise ManifestError(f"{path} must name the structure {value}, got no name.")


def _with_background(labels: dict[str, Any]) -> dict[str, Any]:
    """The table with an entry for 0 where it has none, in the direction it is written in."""
    if all(str(key).isdigit() for key in labels):
        return labels if "0" in labels else {"0": "background", **labels}
    return labels if any(str(value) == "0" for value in labels.values()) else {"background": 0, **labels}
