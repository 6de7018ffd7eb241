"""What can be wrong with a user's input, one class per kind of thing, so that a caller can tell them apart.

Every message says what must hold, what came, and what to do. The command line turns each of these into exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "Advice",
    "DeviceError",
    "GridError",
    "InputError",
    "ManifestError",
    "ModelError",
    "OutputError",
    "OutputFolderError",
    "SettingsError",
    "TrainingError",
    "VolumeError",
    "closest_hint",
    "few_of",
    "what_is_wrong",
]


class InputError(ValueError):
    """Anything that the user has to change before the program can go on."""


class VolumeError(InputError):
    """A file that cannot be read as one image: truncated, 4-D, NaN, constant."""


class GridError(InputError):
    """Two images that must lie on one grid do not, or a grid that cannot be: zero spacing, singular affine."""


class ManifestError(InputError):
    """A manifest, or a row of it, that breaks the schema or contradicts the files."""


class SettingsError(InputError):
    """A settings key or value that does not exist or does not fit."""


class ModelError(InputError):
    """A model folder that is incomplete, was changed, or belongs to another pipeline."""


class TrainingError(InputError):
    """A training that cannot go on: its loss is no number."""


class OutputError(InputError):
    """A place that cannot be written to, or that holds something else already."""


class OutputFolderError(OutputError):
    """An output folder that takes nothing at all: the disk is full, or nobody may write there. No other case could succeed."""


class DeviceError(InputError):
    """A GPU that answers nothing any more after what one case did to it; only a new process can use it again."""


class Advice(UserWarning):
    """What makes the work slower than it could be, and what helps; nothing is wrong. The command line shows it as a sentence."""


def closest_hint(word: str, known: Iterable[str]) -> str:
    """The sentence that points to the nearest known word, or lists them all when none is near.

    Args:
        word: What the user typed.
        known: The words that would have been right.

    Returns:
        ``Did you mean `x`?`` or ``Known: `a`, `b`.``
    """
    options = sorted(known)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if near:
        return f"Did you mean `{near[0]}`?"
    return "Known: " + ", ".join(f"`{option}`" for option in options) + "."


def few_of(names: Sequence[str], *, most: int) -> str:
    """The first of many names, and how many more there are.

    Args:
        names: In the order in which to name them.
        most: That are named.

    Returns:
        ``a, b and 7 more``.
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def what_is_wrong(item: Mapping[str, Any], *, most: int) -> str:
    """One finding of pydantic as a sentence: a rule of ours says itself what came, and is not followed by the whole document.

    Args:
        item: Of ``ValidationError.errors()``.
        most: Characters of the value that are shown.

    Returns:
        For example ```fold`: Input should be a valid integer, got 'two'``.
    """
    place = ".".join(str(part) for part in item["loc"])
    said = str(item["msg"]).removeprefix("Value error, ")
    is_told = said != item["msg"] and (not place or "got " in said)
    return f"{f'`{place}`: ' if place else ''}{said}" + ("" if is_told else f", got {repr(item['input'])[:most]}")
