"""What a Slicer segmentation (``.seg.nrrd``) says of its segments: the names of its integers."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["read_segment_names"]

MOST_HEADER_BYTES = 4_000_000
"""A header of thousands of segments is shorter; what goes on is no header."""


def read_segment_names(path: Path) -> dict[int, str]:
    """The segments by their integers.

    Args:
        path: NRRD file.

    Returns:
        Integer to name, in order of the integers; empty where the file names no segments, or where two segments of different
        layers bear one integer, so that the integers do not tell them apart.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(MOST_HEADER_BYTES)
    lines = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0].decode("utf-8", errors="replace").splitlines()
    fields = dict(line.split(":=", 1) for line in lines if ":=" in line and not line.startswith("#"))
    found: dict[int, str] = {}
    for key, name in fields.items():
        number = re.fullmatch(r"Segment(\d+)_Name", key.strip())
        value = fields.get(f"Segment{number[1]}_LabelValue", "").strip() if number else ""
        if not re.fullmatch(r"\d+", value):
            continue
        if int(value) in found:
            return {}
        found[int(value)] = name.strip()
    return dict(sorted(found.items()))
