"""Whether the masks that were paired show one thing: ``P1/liver_seg`` and ``P2/tumour_seg`` have one integer and two meanings."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from segsuite.data.importing.found import ImportFinding
from segsuite.data.importing.words import read_name
from segsuite.errors import few_of

__all__ = ["kind_in_name", "kinds_findings"]

MOST_SHOWN = 6
_WORD = re.compile(r"[^\W\d_]+")


def kind_in_name(image: str, mask: str) -> str:
    """What a mask's name says beyond its image's, for example ``liver``; empty if nothing.

    Args:
        image: Relative path, POSIX.
        mask: The same.
    """
    known = {word.lower() for word in _WORD.findall(image)}
    return " ".join(word.lower() for word in _WORD.findall(read_name(mask).mask_bare) if word.lower() not in known)


def kinds_findings(kinds: Mapping[str, str]) -> list[ImportFinding]:
    """A note if masks are of several kinds; names that differ in nearly every case are names of patients and no kinds.

    Args:
        kinds: Mask to what its name says that it shows.
    """
    of_kind: dict[str, list[str]] = defaultdict(list)
    for mask, kind in sorted(kinds.items()):
        of_kind[kind].append(mask)
    if not 1 < len(of_kind) <= max(2, len(kinds) // 2):
        return []
    ranked = sorted(of_kind, key=lambda kind: (-len(of_kind[kind]), kind))
    told = few_of([f"{kind or 'no such word'} ({len(of_kind[kind])})" for kind in ranked], most=MOST_SHOWN)
    message = f"By their names they show {told}, and equal integers are taken as one structure. Others: --leave-out 'PATTERN'."
    rare = tuple(mask for kind in ranked[1:] for mask in of_kind[kind])
    return [ImportFinding("note", "masks that may show something else", rare, message)]
