"""Which scans a model has learned from: kept as salted hashes of voxels, asked for each scan that it is applied to.

Hashes and not names: a name says nothing about a copy, and a file that is handed on need not name anybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segsuite.volumes.voxel_hash import salted

__all__ = [
    "TRAINED_ON",
    "has_hashes",
    "has_seen",
    "mark_of_scan",
    "note_on_members",
    "training_scans",
    "with_later_scans",
]

KEY = "training_scans"
LATER = "later_hashes"
"""Of scans that a model was given after its training, such as the few that a structure was added from."""
SALT_BYTES = 16
TRAINED_ON = "in the model's training"
"""Every note on a scan that was trained on holds these words."""


def training_scans(hashes: Iterable[str]) -> dict[str, Any]:
    """What a model's description keeps of the scans that it learned from.

    Args:
        hashes: From ``voxel_hash``, one per scan.

    Returns:
        For the group ``data`` of ``model.json``; nothing where no hash is known. The salt is the model's own.
    """
    salt = secrets.token_hex(SALT_BYTES)
    known = salted(set(hashes), salt)
    return {KEY: {"salt": salt, "hashes": known}} if known else {}


def has_hashes(description: Mapping[str, Any]) -> bool:
    """Whether a model knows its training scans; those of earlier versions have names alone.

    Args:
        description: Content of ``model.json`` of a single model.
    """
    return KEY in description.get("data", {})


def has_seen(description: Mapping[str, Any], voxels: str) -> bool:
    """Whether a model has learned from a scan.

    Args:
        description: Content of ``model.json`` of a single model.
        voxels: From ``voxel_hash``.

    Returns:
        True if it has; False also where the model does not know.
    """
    known = description.get("data", {}).get(KEY)
    return known is not None and mark_of_scan(description, voxels) in {*known["hashes"], *known.get(LATER, ())}


def mark_of_scan(description: Mapping[str, Any], voxels: str) -> str:
    """What a model knows a scan by.

    Args:
        description: Content of ``model.json`` of a single model.
        voxels: From ``voxel_hash``.

    Returns:
        The hash with the model's salt; empty for a model of an earlier version, which has none.
    """
    known = description.get("data", {}).get(KEY)
    return "" if known is None else salted([voxels], known["salt"])[0]


def with_later_scans(description: Mapping[str, Any], marks: Iterable[str]) -> dict[str, Any]:
    """A description that also knows scans which the model was given after its training.

    Args:
        description: Content of ``model.json`` of a single model.
        marks: All of them, from ``mark_of_scan``; they replace the earlier ones.

    Returns:
        The new description; without any, the same as before there were some.
    """
    data = dict(description.get("data", {}))
    if KEY not in data:
        return dict(description)
    scans = {name: value for name, value in data[KEY].items() if name != LATER}
    later = sorted({mark for mark in marks if mark})
    return {**description, "data": {**data, KEY: {**scans, **({LATER: later} if later else {})}}}


def note_on_members(descriptions: Sequence[Mapping[str, Any]], voxels: str) -> str:
    """A sentence for the ledger where a model, or members of it, have learned from a scan.

    Args:
        descriptions: Of a single model, or of all members of an ensemble.
        voxels: From ``voxel_hash``.

    Returns:
        The sentence; empty if none has.
    """
    n_seen = sum(has_seen(description, voxels) for description in descriptions)
    if not n_seen:
        return ""
    who = "" if len(descriptions) == 1 else f" of {n_seen} of its {len(descriptions)} members"
    return f"this scan was {TRAINED_ON}{who}: a score on it says nothing about new scans"
