"""How many channels a file holds, from its header alone."""

from __future__ import annotations

import math
from pathlib import Path

from segsuite.errors import InputError
from segsuite.volumes.reading import stored_shape

__all__ = ["channels_in_file"]


def channels_in_file(path: Path) -> int:
    """Volumes beyond the three axes of space.

    Args:
        path: An image file.

    Returns:
        1 for an ordinary image, and where the header cannot be read: reading says why.
    """
    try:
        if not path.is_file():
            return 1
        return max(1, math.prod(stored_shape(path)[3:]))
    except (InputError, OSError):
        return 1
