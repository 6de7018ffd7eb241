"""Options that several words share, so that each is spelt and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segsuite.cli.terminal import set_verbosity
from segsuite.engines.machine import available_cores
from segsuite.errors import SettingsError

__all__ = [
    "Attributes",
    "DataRoot",
    "Device",
    "Fold",
    "Force",
    "Isolate",
    "Json",
    "OutOfFold",
    "Quiet",
    "SaveProbabilities",
    "SaveRegions",
    "Seed",
    "SeriesDescription",
    "SeriesUid",
    "Set",
    "Strict",
    "TimeLimit",
    "Verbose",
    "Workers",
    "parse_fold",
    "worker_count",
]


def _quiet(value: bool) -> bool:
    if value:
        set_verbosity(quiet=True, verbose=False)
    return value


def _verbose(value: bool) -> bool:
    if value:
        set_verbosity(quiet=False, verbose=True)
    return value


Attributes = Annotated[
    Path | None, typer.Option("--attributes", help="TSV or CSV: column `case`, and what else is known, such as psa or site.")
]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder that the manifest's paths start from.")]
Device = Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")]
Fold = Annotated[str | None, typer.Option("--fold", help="Fold number; for train also: all, none.")]
Force = Annotated[bool, typer.Option("--force", help="Segment also what looks like another kind of image.")]
Isolate = Annotated[bool, typer.Option("--isolate/--no-isolate", help="So that a crash or a hang costs one case.")]
Json = Annotated[bool, typer.Option("--json", help="Machine output on standard output.")]
OutOfFold = Annotated[bool, typer.Option("--out-of-fold", help="Of --fold all: each scan by the member that has not seen it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Problems only.", callback=_quiet)]
SaveProbabilities = Annotated[bool, typer.Option("--save-probabilities", help="One more volume per class.")]
SaveRegions = Annotated[bool, typer.Option("--save-regions", help="One more mask per region.")]
Seed = Annotated[int, typer.Option("--seed", help="Everything random depends on it.")]
SeriesDescription = Annotated[
    str | None, typer.Option("--series-description", help="Of DICOM series, only those whose description fits: '*t2*'.")
]
SeriesUid = Annotated[str | None, typer.Option("--series-uid", help="Of DICOM series, only this one.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value of `inference` in model.json.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what is unlike the model's training data.")]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", min=1, help="Seconds for one case.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also the log of libraries.", callback=_verbose)]
Workers = Annotated[int | None, typer.Option("--workers", "-j", min=0, help="Processes or threads; default: from the cores.")]


def parse_fold(text: str | None) -> int | None:
    """A fold number.

    Args:
        text: What the user gave.

    Returns:
        The number, or ``None`` if nothing was given.

    Raises:
        SettingsError: Not a number.
    """
    if text is None:
        return None
    if not text.isdigit():
        raise SettingsError(f"--fold must be a number here, got `{text}`.")
    return int(text)


def worker_count(workers: int | None) -> int:
    """The number of workers, chosen from the cores if the user gave none."""
    if workers is not None:
        return max(1, workers)
    return available_cores()
