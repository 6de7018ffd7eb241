"""Whether labels tell left from right: then nothing may be mirrored, or a flip would make one side the other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from segsuite.data.cache import PreparedCase
from segsuite.shapes import Spacing
from segsuite.volumes.mirrored import mirrored_labels, places_of_labels

__all__ = ["mirrored_in_prepared", "names_a_side", "sided_names", "why_not_mirrored"]

MOST_CASES = 50
"""More tell nothing new, and each is read as a whole."""
SIDE_WORDS = {"left", "right"}
SIDE_LETTERS = {"l", "r", "lh", "rh"}
"""Alone: a vertebra is called L1."""


def names_a_side(name: str) -> bool:
    """Whether a structure's name says left or right."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()  # LeftKidney
    words = re.split(r"[^a-z0-9]+", apart)
    return bool(SIDE_LETTERS & {*words} or SIDE_WORDS & {word.strip("0123456789") for word in words})


def why_not_mirrored(names: Sequence[str], mirrored: Sequence[Sequence[str]]) -> str:
    """Why patients must not be flipped from left to right.

    Args:
        names: Of all structures.
        mirrored: Pairs of structures that mirror each other at the middle of the body.

    Returns:
        Half a sentence; empty if they may be.
    """
    for name in names:
        if names_a_side(name):
            return f"`{name}` names a side, and a flip would make it the other one"
    if mirrored:
        one, other = mirrored[0]
        return f"`{one}` and `{other}` mirror each other in most cases, and a flip would swap them"
    return ""


def sided_names(names: Sequence[str], mirrored: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Structures that tell left from right, by name or by where they lie.

    Args:
        names: Of all structures.
        mirrored: Pairs of structures that mirror each other at the middle of the body.

    Returns:
        In the order of ``names``.
    """
    by_place = {name for pair in mirrored for name in pair}
    return tuple(name for name in names if names_a_side(name) or name in by_place)


def mirrored_in_prepared(cases: Sequence[PreparedCase], names: Mapping[int, str], spacing_mm: Spacing) -> list[list[str]]:
    """Pairs of structures that mirror each other in prepared cases, whose axes are the body's.

    Args:
        cases: Those without a mask say nothing.
        names: Class index to name.
        spacing_mm: Of the network's grid.

    Returns:
        Pairs of names.
    """
    labelled = [case for case in cases if case.case.label is not None]
    places = [
        places_of_labels(np.asarray(case.image[0]), np.asarray(case.label), spacing_mm)
        for case in labelled[:: -(-len(labelled) // MOST_CASES) or 1]
    ]
    return [[names[label] for label in pair] for pair in mirrored_labels(places)]
