"""Pages from templates, with numbers and metrics written as people write them."""

from __future__ import annotations

import math
from typing import Any

import jinja2

import segsuite

__all__ = ["metric_title", "render"]

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
