"""Pages from templates, with numbers and metrics written as people write them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jinja2

import segsuite
from segsuite.errors import OutputError
from segsuite.files import write_text

__all__ = ["metric_title", "render", "write_page"]

MARK = " - segsuite "
"""In the title of every page."""
HEAD_BYTES = 2000
"""In which the title stands."""

TITLES = {
    "dice": "Dice",
    "hd95": "HD95 mm",
    "hd": "HD mm",
    "assd": "ASSD mm",
    "masd": "MASD mm",
    "volume_difference": "volume difference ml",
    "cl_dice": "centre-line Dice",
    "ece": "calibration error",
    "brier": "Brier score",
}


def render(template: str, **values: Any) -> str:
    """A page.

    Args:
        template: File in ``templates``.
        **values: What it shows; everything is escaped unless the template says otherwise.

    Returns:
        HTML.
    """
    loader = jinja2.PackageLoader("segsuite.reports")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "title": metric_title}
    return environment.get_template(template).render(version=segsuite.__version__, **values)


def write_page(path: Path, page: str) -> None:
    """Write a page; one that somebody else wrote stays.

    Args:
        path: Where.
        page: From ``render``.

    Raises:
        OutputError: Another page is there, or it cannot be written.
    """
    if path.is_file():
        with path.open("rb") as stream:
            start = stream.read(HEAD_BYTES).decode("utf-8", errors="replace")
        if MARK not in start:
            raise OutputError(
                f"{path} must be a page of segsuite to be replaced, got another file. Move it or choose another place."
            )
    write_text(path, page)


def metric_title(metric: str) -> str:
    """A metric's name as people write it, with its unit.

    Args:
        metric: As in the tables.
    """
    return TITLES.get(metric, metric.replace("_", " ").replace("mm", " mm").replace("surface dice", "surface Dice"))


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "missed"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
