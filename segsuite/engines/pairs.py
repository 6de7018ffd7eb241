"""A reference and the prediction for it, as an evaluation hands them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segsuite.volumes.regions import Regions

__all__ = ["NO_STRUCTURE", "Pair", "Pairing"]

NO_STRUCTURE = -1
"""Target of a label that is none of the declared structures, whatever its integer."""


@dataclass(frozen=True)
class Pair:
    """A reference and the prediction for it, if there is one; ``labelled`` names what the reference shows, if not all.

    Attributes:
        case_id: Unique in an evaluation.
        patient_id: Whose scan it is.
        reference: The mask, or the folder with a file per structure.
        predicted: The mask, or the folder with a file per structure; ``None``: there is none.
        mapping: Integer in the reference's file to integer of the evaluation; what is not named stays.
        image: What both were drawn on.
        labelled: Structures that the reference shows; ``None``: all.
        attributes: What else is known of the case, such as its site.
        predicted_mapping: As ``mapping``, of the prediction's file; ``NO_STRUCTURE`` for what is none of ours.
        reference_files: Structure to its file, where the reference is a folder with a file per structure.
        predicted_files: The same of the prediction.
        reason: Why there is no prediction; empty if there is one.
        in_training: Whether the model that predicted it is known to have learned from this scan.
    """

    case_id: str
    patient_id: str
    reference: Path
    predicted: Path | None
    mapping: Mapping[int, int] = field(default_factory=dict)
    image: Path | None = None
    labelled: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    predicted_mapping: Mapping[int, int] = field(default_factory=dict)
    reference_files: Mapping[str, Path] = field(default_factory=dict)
    predicted_files: Mapping[str, Path] = field(default_factory=dict)
    reason: str = ""
    in_training: bool = False

    @property
    def files(self) -> list[Path]:
        """All masks of both sides."""
        reference = list(self.reference_files.values()) or [self.reference]
        predicted = list(self.predicted_files.values()) or [path for path in (self.predicted,) if path is not None]
        return [*reference, *predicted]


@dataclass(frozen=True)
class Pairing:
    """All pairs of an evaluation.

    Attributes:
        pairs: In order of case id.
        structures: Integer to name; empty if only the masks can tell.
        ignore_label: Label of voxels that are not scored.
        predicted_names: What the predictions call their integers; empty if nothing says so.
        predicted_mapping: What the predictions' manifest maps.
        notes: What whoever reads the scores should know.
        regions: Unions of the structures that are scored in their place; ``None``: none are declared.
    """

    pairs: list[Pair]
    structures: dict[int, str]
    ignore_label: int | None = None
    predicted_names: Mapping[int, str] = field(default_factory=dict)
    predicted_mapping: Mapping[int, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    regions: Regions | None = None
