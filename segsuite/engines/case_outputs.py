"""What was found in one case, written beside its mask and with it: the mask comes last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from segsuite.engines.segmentation import Segmentation
from segsuite.files import make_folder, write_json
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.regions import Regions, file_word
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import side_volume, write_image, write_mask

__all__ = ["CaseOutputs"]

Write = Callable[[Path], None]


class CaseOutputs:
    """The files of one case."""

    def __init__(self, target: Path, found: Segmentation, volume: Volume) -> None:
        """Name them all before one is written.

        Args:
            target: Where the mask goes.
            found: What was found.
            volume: The image; only its grid and header are used.
        """
        stem = without_ending(target.name)
        self.files: dict[Path, Write] = {}
        volumes = {f"map_{name}": channel for name, channel in found.volumes.items()}
        if found.probabilities is not None:
            channels = zip(found.channel_words, found.probabilities, strict=True)
            volumes |= {f"probability_{word}": channel for word, channel in channels}
        if found.regions is not None and found.region_codes is not None:
            for name in found.regions.names:
                write = partial(_write_region, found.regions, found.region_codes, name, volume)
                self.files[side_volume(target, f"region_{file_word(name)}")] = write
        for name, channel in volumes.items():
            self.files[side_volume(target, name)] = partial(_write_volume, channel, volume)
        if found.report is not None:
            report = target.with_name(f"{stem}_report.json")
            self.files[report] = partial(_write_report, dict(found.report))
        self.main = target
        if found.labels is not None:
            self.files[target] = partial(_write_labels, found.labels, volume)
        else:
            self.main = target.with_name(f"{stem}_report.json")

    @property
    def beside(self) -> list[Path]:
        """All but the one whose presence says that the case is done."""
        return [path for path in self.files if path != self.main]

    def write(self) -> None:
        """Each appears complete or not at all; the mask, or where there is none the report, comes last.

        Raises:
            OutputError: One cannot be written, or does not read back equal.
        """
        make_folder(self.main.parent)
        for path, write in self.files.items():
            write(path)


def _write_volume(channel: np.ndarray, volume: Volume, path: Path) -> None:
    write_image(path, channel.astype(np.float32), like=volume)


def _write_report(report: dict[str, object], path: Path) -> None:
    write_json(path, report)


def _write_region(regions: Regions, codes: np.ndarray, name: str, volume: Volume, path: Path) -> None:
    write_mask(path, regions.mask(codes, name), like=volume)


def _write_labels(labels: np.ndarray, volume: Volume, path: Path) -> None:
    write_mask(path, labels, like=volume)
