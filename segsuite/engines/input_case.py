"""One case to segment: its images, and where its mask goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["InputCase"]


@dataclass(frozen=True)
class InputCase:
    """One case to segment.

    Attributes:
        case_id: Unique in the run.
        images: One file per channel, or one for all; of a DICOM series the folder, or one of its files.
        output: Path of the mask below the output folder; bears the image's name.
        attributes: What else is known of the case.
        source: Where the images are for the user, when these are copies of them; empty: these are the user's.
        problem: Why it cannot be read, where that is known before it is read.
    """

    case_id: str
    images: tuple[Path, ...]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    problem: str = ""

    @property
    def place(self) -> Path:
        """Where the first image is for the user."""
        return Path(self.source.split("\n")[0]) if self.source else self.images[0]

    def as_given(self, text: str) -> str:
        """A sentence that names the user's own places where it names copies of them.

        Args:
            text: Any; of an archive, the folder that it was unpacked into is gone when somebody reads this.
        """
        for image, own in zip(self.images, self.source.split("\n") if self.source else (), strict=False):
            text = text.replace(f"{image.parent}/", f"{Path(own).parent}/")
        return text
