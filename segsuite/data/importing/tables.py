"""A CSV or TSV of cases, as spreadsheets write it: the columns are the keys of a case, in any spelling that people use."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segsuite.data.importing.case_ids import case_ids_of
from segsuite.data.importing.found import Imported, ImportFinding
from segsuite.data.manifest import Case, Manifest
from segsuite.documents import Table, is_missing, read_table
from segsuite.errors import ManifestError
from segsuite.volumes.reading import is_image

__all__ = ["import_table"]

SPELLINGS = {
    "image": "images img scan volume image_path image_file image_filename path_image",
    "label": "labels mask masks seg segmentation label_path label_file mask_path mask_file seg_path ground_truth groundtruth gt",
    "patient_id": "patient patientid subject subject_id subjectid participant participant_id",
    "case_id": "case caseid",
    "site": "centre center",
    "group": "",
    "session": "",
    "labelled": "",
    "fold": "",
}
"""Key of a case to what else people call it; the key itself comes first, capitals and blanks do not matter."""
PART_COLUMNS = ("split", "subset", "partition", "part")
PARTS = {
    "training": ("train", "training", "tr"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "ts"),
}
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,2})?")


def import_table(path: Path) -> Imported:
    """The cases of a table; paths are relative to its folder.

    ``image`` and ``labelled`` may list several with ``;`` (or ``|``). A column ``split`` with train, val and test says what is
    trained on. Other columns are attributes: numbers where all of a column are written as numbers, else text, so that ``012``
    and ``1_2`` stay what they are.

    Args:
        path: The file.

    Returns:
        The cases, and what was taken to mean what.

    Raises:
        FileNotFoundError: Nothing is there.
        ManifestError: No column of images, a row without one, or a value that does not fit.
    """
    table = read_table(path, error=ManifestError)
    columns, findings = _known_columns(table)
    if "image" not in columns:
        near = difflib.get_close_matches("image", table.columns, n=1)
        hint = f"Did you mean `{near[0]}`?" if near else "Call the column of the images `image`, that of the masks `label`."
        raise ManifestError(f"{path} must have a column `image`, got {list(table.columns)}. {hint}")
    if not table.rows:
        raise ManifestError(f"{path} must hold a row for each case below its header, got none.")
    part_column = _part_column(table, columns)
    others = [name for name in table.columns if name not in columns.values() and name != part_column]
    findings += _columns_of_files(table, others, has_label="label" in columns)
    numeric = {name for name in others if _is_numeric([row[name] for row in table.rows])}
    rows: list[tuple[str, str, dict[str, Any]]] = []
    absent: list[str] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        values: dict[str, Any] = {key: row[name] for key, name in columns.items() if not _is_empty(key, row[name])}
        if "image" not in values:
            raise ManifestError(
                f"{path} line {line} must name an image in column `{columns['image']}`, got `{row[columns['image']]}`."
            )
        values |= _files(values, path.parent, absent)
        values["attributes"] = {name: _value(row[name], name in numeric) for name in others if not is_missing(row[name])}
        part = "training" if part_column is None else _part(row[part_column])
        if part == "validation":
            values.setdefault("fold", 0)
        rows.append((f"{path} line {line}", "test" if part == "test" else "training", values))
    parts = _cases(rows)
    if absent:
        findings.append(ImportFinding("error", "files that are not there", tuple(absent), f"Paths start in {path.parent}."))
    if part_column is not None:
        counts = Counter(_part(row[part_column]) for row in table.rows)
        told = ", ".join(f"{count} {part}" for part, count in counts.items())
        message = f"It says what is trained on: {told} (validation is fold 0, test is never trained on)."
        findings.append(ImportFinding("note", "column of parts", (part_column,), message))
    n_channels = Counter(len(case.images) for rows in parts.values() for case in rows)
    if len(n_channels) > 1:
        told = ", ".join(f"{count} with {number}" for number, count in sorted(n_channels.items()))
        raise ManifestError(f"{path} must list the same number of channels in each row, got {told}.")
    channels = {str(n): f"channel_{n}" for n in range(next(iter(n_channels), 1))}
    manifest = Manifest(name=path.stem, channels=channels, training=parts["training"], test=parts["test"])
    return Imported(manifest, findings, read=(path.name,))


def _spelt(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def _known_columns(table: Table) -> tuple[dict[str, str], list[ImportFinding]]:
    """Key of a case to the column that holds it."""
    found: dict[str, str] = {}
    findings = []
    for key, others in SPELLINGS.items():
        exact = [name for name in table.columns if _spelt(name) == key]
        near = [name for name in table.columns if _spelt(name) in others.split()]
        chosen = exact or near
        if len(chosen) > 1:
            raise ManifestError(
                f"{table.path} must have one column for `{key}`, got {' and '.join(f'`{name}`' for name in chosen)}. "
                "Rename or remove all but one."
            )
        if chosen:
            found[key] = chosen[0]
        if chosen and not exact:
            findings.append(ImportFinding("note", "columns by another name", (chosen[0],), f"Taken as `{key}`."))
        if exact and near:
            findings.append(ImportFinding("note", "attributes", tuple(near), f"`{exact[0]}` is taken as `{key}`, not these."))
    return found, findings


def _columns_of_files(table: Table, others: Sequence[str], *, has_label: bool) -> list[ImportFinding]:
    """Columns that nobody knows although each of their cells is a volume that is there: masks that would not be used."""
    found = []
    for name in () if has_label else others:
        cells = [row[name].replace("\\", "/") for row in table.rows if not is_missing(row[name])]
        if cells and all(is_image(table.path.parent / cell) and (table.path.parent / cell).exists() for cell in cells):
            found.append(name)
    message = "They are attributes here. Masks they are? Call the column `label`."
    return [ImportFinding("note", "columns of files that are not used", tuple(found), message)] if found else []


def _part_column(table: Table, columns: Mapping[str, str]) -> str | None:
    """The column that says what is trained on, where all of its cells do."""
    words = {word for spellings in PARTS.values() for word in spellings}
    for name in table.columns:
        cells = [row[name].lower() for row in table.rows]
        if _spelt(name) in PART_COLUMNS and name not in columns.values() and cells and all(cell in words for cell in cells):
            return name
    return None


def _part(cell: str) -> str:
    return next(part for part, words in PARTS.items() if cell.lower() in words)


def _is_empty(key: str, cell: str) -> bool:
    return is_missing(cell) or (key in ("image", "label") and cell.lower() == "none")


def _files(values: Mapping[str, Any], root: Path, absent: list[str]) -> dict[str, Any]:
    """Paths as this system writes them, lists as lists."""
    found: dict[str, Any] = {}
    parts = [part.strip() for part in re.split(r"[;|]", values["image"]) if part.strip()]
    images = [_path(part, root, absent) for part in parts]
    found["image"] = images[0] if len(images) == 1 else images
    if "label" in values:
        found["label"] = _path(values["label"], root, absent)
    if "labelled" in values:
        found["labelled"] = [part.strip() for part in re.split(r"[;|,]", values["labelled"]) if part.strip()]
    if "fold" in values and re.fullmatch(r"\d+\.0+", values["fold"]):
        found["fold"] = int(float(values["fold"]))  # pandas writes whole numbers so where one is missing
    return found


def _path(text: str, root: Path, absent: list[str]) -> str:
    """With slashes, where the backslashes of another system lead nowhere."""
    if not (root / text).exists() and "\\" in text:
        text = text.replace("\\", "/")
    if not (root / text).exists():
        absent.append(text)
    return text.removeprefix("./")


def _is_numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers: no code such as ``012``, ``1_2`` or ``1E5`` among them; other words do not matter."""
    cells = [cell for cell in cells if not is_missing(cell)]
    codes = [cell for cell in cells if re.fullmatch(r"[+-]?[\d_.,eE+\-]+", cell) and not _is_plain(cell)]
    return not codes and any(_is_plain(cell) for cell in cells)


def _is_plain(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell)) and ("e" not in cell.lower() or "." in cell) and not cell.startswith("+")


def _value(cell: str, numeric: bool) -> int | float | str:
    if not numeric or not _is_plain(cell):
        return cell
    return int(cell) if re.fullmatch(r"-?\d+", cell) else float(cell)


def _cases(rows: Sequence[tuple[str, str, dict[str, Any]]]) -> dict[str, list[Case]]:
    """Cases by part; those without an id are called after their image, with its folders where several have its name."""
    firsts = [values["image"] if isinstance(values["image"], str) else values["image"][0] for _, _, values in rows]
    names = case_ids_of(list(dict.fromkeys(firsts)))
    parts: dict[str, list[Case]] = {"training": [], "test": []}
    for first, (where, part, values) in zip(firsts, rows, strict=True):
        values.setdefault("case_id", names[first])
        parts[part].append(_case(values, where))
    return parts


def _case(values: Mapping[str, Any], where: str) -> Case:
    try:
        return Case(**values)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"])
        raise ManifestError(f"{where}: `{place}`: {found['msg']}, got `{found['input']}`.") from error
