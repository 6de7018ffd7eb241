"""What an import brings besides the manifest: everything that it did not take, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from segsuite.data.manifest import Manifest
from segsuite.errors import few_of

__all__ = ["ImportFinding", "ImportOptions", "Imported"]


MOST_SHOWN = 10


@dataclass(frozen=True)
class ImportFinding:
    """One thing that a person should know of an import.

    Attributes:
        severity: ``error``: a case is not whole; ``note``: something was left out or taken to mean something.
        kind: What sort, a few words, for counting.
        subjects: Files, cases or folders that it is about, all of them.
        message: What was found, and what to do.
    """

    severity: Literal["error", "note"]
    kind: str
    subjects: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.kind} ({len(self.subjects)}): {few_of(self.subjects, most=MOST_SHOWN)}. {self.message}"


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about a folder.

    Attributes:
        images: Layout ``folder``: glob of the images.
        labels: Layout ``folder``: glob of the masks.
        structures: Layout ``folder``: pattern of masks of one structure each, such as
            ``labels/{case}/{structure}.nii.gz``.
        suffix: Layout ``bids``: the suffix of the images, such as ``T1w``.
        leave_out: Globs of files that are passed over.
        patient_pattern: Regular expression with one group that finds the patient in a path.
        n_channels: Layout ``folder``: how many channels each case has, where that is known.
        splits: Layout ``nnunet``: whether ``splits_final.json`` gives the folds.
    """

    images: str | None = None
    labels: str | None = None
    structures: str | None = None
    suffix: str | None = None
    leave_out: Sequence[str] = ()
    patient_pattern: str | None = None
    splits: bool = True
    n_channels: int | None = None


@dataclass(frozen=True)
class Imported:
    """The cases of a folder.

    Attributes:
        manifest: Paths are relative to the folder.
        findings: What to tell.
        structures: Case id to structure to file, where each structure has a file of its own; these are still to be
            combined.
        read: Files below the folder that were read as tables: nothing may be written over them.
    """

    manifest: Manifest
    findings: list[ImportFinding] = field(default_factory=list)
    structures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    read: tuple[str, ...] = ()

    def adding(self, findings: Sequence[ImportFinding], manifest: Manifest | None = None) -> Imported:
        """The same with more to tell, and perhaps another manifest."""
        return replace(self, findings=[*self.findings, *findings], manifest=manifest or self.manifest)
