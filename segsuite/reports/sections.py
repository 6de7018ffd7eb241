"""Sections that a pipeline adds to the report: sentences, tables and figures, kept as files in the run until the page is made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from segsuite.files import make_folder, write_json
from segsuite.reports.overlays import as_data_uri

__all__ = ["Section", "Table", "read_sections", "write_section"]

FOLDER = "sections"


@dataclass(frozen=True)
class Table:
    """A table as people read it.

    Attributes:
        head: Names of the columns.
        rows: Cells as text, as many as columns.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        title: Its heading.
        text: Paragraphs.
        tables: After the text.
        figures: After the tables: description and picture as a ``data:`` address.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[str, str]] = field(default_factory=list)


def write_section(
    run: Path,
    name: str,
    *,
    title: str,
    text: Sequence[str] = (),
    tables: Sequence[Table] = (),
    figures: Sequence[tuple[str, Figure]] = (),
) -> None:
    """Keep a section in a run folder; the report shows all that are there, in order of their names.

    Args:
        run: The run folder.
        name: Of the file; replaces an earlier one of this name.
        title: The heading.
        text: Paragraphs.
        tables: Tables.
        figures: Description and figure.
    """
    pictures = [(description, as_data_uri(figure)) for description, figure in figures]
    write_json(make_folder(run / FOLDER) / f"{name}.json", asdict(Section(title, list(text), list(tables), pictures)))


def read_sections(run: Path) -> list[dict[str, Any]]:
    """All sections of a run folder.

    Args:
        run: The run folder.

    Returns:
        Sections as plain values, in order of their names; empty if there are none.
    """
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((run / FOLDER).glob("*.json"))]
