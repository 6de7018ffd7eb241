"""What is said of a scan before a model segments it: whether it has learned from it, whether it is of the kind it knows.

Wrapped around any pipeline's predictor, so that each model says it in the same words; masks are the predictor's alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from segsuite.engines.input_gate import doubts_about_scan
from segsuite.engines.ledger import LedgerLine
from segsuite.engines.seen_scans import TRAINED_ON, has_hashes, note_on_members
from segsuite.engines.segmentation import Predictor, Request, Segmentation
from segsuite.engines.sides import sided_names
from segsuite.errors import VolumeError
from segsuite.files import hash_of_json
from segsuite.volumes.volume import Volume
from segsuite.volumes.voxel_hash import voxel_hash

__all__ = ["FirstLook", "remarks", "sided_labels"]

UNLIKE = "unlike the model's training data"
SIDES_UNKNOWN = "the file does not say which side is left"


class FirstLook:
    """A predictor that looks at each scan first; fulfils ``engines.segmentation.Predictor``."""

    def __init__(self, predictor: Predictor, descriptions: Sequence[Mapping[str, Any]], *, strict: bool = False) -> None:
        """Set up.

        Args:
            predictor: Makes the masks.
            descriptions: Content of ``model.json`` of the model, or of each member of an ensemble.
            strict: Refuse what looks like another kind of scan; else it is a note.
        """
        self.predictor, self.descriptions, self.strict = predictor, list(descriptions), strict
        self.sided = sorted({name for description in self.descriptions for name in sided_labels(description)})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.predictor, name)

    @property
    def n_channels(self) -> int:
        """The predictor's."""
        return self.predictor.n_channels

    @property
    def structures(self) -> dict[int, str]:
        """The predictor's."""
        return self.predictor.structures

    @property
    def n_at_once(self) -> int:
        """The predictor's."""
        return self.predictor.n_at_once

    @property
    def computed_by(self) -> str:
        """The predictor's."""
        return self.predictor.computed_by

    @property
    def sha256(self) -> str:
        """The predictor's; another one where something may be refused that the predictor would segment."""
        return hash_of_json([self.predictor.sha256, "strict"]) if self.strict else self.predictor.sha256

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        """Look, then segment.

        Raises:
            VolumeError: The scan cannot be meant, and ``request.force`` is not set: no side is known and labels tell sides; or,
                if strict, it is of another kind.
        """
        notes = self._look(volume, request)
        found = self.predictor.segment(volume, request)
        return replace(found, notes=(*found.notes, *notes)) if notes else found

    def _look(self, volume: Volume, request: Request) -> list[str]:
        notes = []
        if self.sided and not volume.sides_known:
            self._refuse_sides(volume, request)
            notes.append(f"{SIDES_UNKNOWN}: {', '.join(self.sided)} may be swapped")
        known = [description.get("data", {}).get("fingerprint", {}) for description in self.descriptions]
        found = [doubts_about_scan(volume, fingerprint) for fingerprint in known]
        if doubts := min(found, key=len, default=[]):
            if self.strict and not request.force:
                raise VolumeError(
                    f"case {request.case_id}: {volume.path} must be a scan of the kind that the model was trained on, got "
                    f"{'; '.join(doubts)}. Give another series or another model, or --force to segment it all the same."
                )
            notes.append(f"{UNLIKE}: {'; '.join(doubts)}")
        if any(map(has_hashes, self.descriptions)) and (seen := note_on_members(self.descriptions, voxel_hash(volume))):
            notes.append(seen)
        return notes

    def _refuse_sides(self, volume: Volume, request: Request) -> None:
        if not request.force:
            raise VolumeError(
                f"case {request.case_id}: {volume.path} must say how it lies in the body, since the model tells left from right "
                f"({', '.join(self.sided[:4])}), but its header places it nowhere. Export it again with its position, or --force."
            )


def sided_labels(description: Mapping[str, Any]) -> list[str]:
    """Labels of a model that tell left from right: by name, or by where they lay in training.

    Args:
        description: Content of ``model.json``.
    """
    return list(sided_names(list(description.get("labels", {})), [description.get("data", {}).get("sided_labels", [])]))


def remarks(lines: Mapping[str, LedgerLine]) -> list[str]:
    """What a user must read after a batch, beside the counts.

    Args:
        lines: Of a ledger, by case.

    Returns:
        Sentences.
    """
    done = {case: line.notes for case, line in lines.items() if line.status == "done"}
    seen = [case for case, notes in done.items() if any(TRAINED_ON in note for note in notes)]
    unlike = {case: note for case, notes in done.items() for note in notes if note.startswith(UNLIKE)}
    sentences = []
    if seen:
        sentences.append(
            f"{len(seen)} of {len(done)} scans were {TRAINED_ON}: a score on them says nothing about new scans. Where "
            "several folds were trained, --out-of-fold gives each scan to the one that has not seen it"
        )
    if unlike:
        case = next(iter(unlike))
        sentences.append(
            f"{len(unlike)} of {len(done)} scans are {UNLIKE}, such as {case}{unlike[case].removeprefix(UNLIKE)}. Look at the "
            "masks before you trust them; --strict refuses such scans"
        )
    return sentences
