"""The folder of one training: everything that went in, everything that came out, and the guard against mixing two runs."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segsuite
from segsuite.documents import read_json
from segsuite.engines.processes import rank, wait_for_first
from segsuite.errors import OutputError
from segsuite.files import make_folder, write_json, write_text

__all__ = ["RunFolder", "open_run", "share_waited", "versions"]

PACKAGES = (
    "torch", "monai", "pytorch-lightning", "numpy", "scipy", "nibabel", "SimpleITK", "segmentation-models-pytorch",
    "albumentations", "safetensors",
)  # fmt: skip


UNTOUCHED = {"settings.json", "settings.yaml", "versions.json", "split.json", "checkpoints"}


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run lie; see ``open_run``."""

    root: Path

    @property
    def settings(self) -> Path:
        """The resolved settings."""
        return self.root / "settings.yaml"

    @property
    def versions(self) -> Path:
        """What computed it."""
        return self.root / "versions.json"

    @property
    def plan(self) -> Path:
        """What was planned from the data, with reasons."""
        return self.root / "plan.json"

    @property
    def split(self) -> Path:
        """The cases that it began with, by content."""
        return self.root / "split.json"

    @property
    def checkpoints(self) -> Path:
        """For resuming."""
        return self.root / "checkpoints"

    @property
    def history(self) -> Path:
        """Loss and scores over the training."""
        return self.root / "history.csv"

    @property
    def model(self) -> Path:
        """The exported model folder."""
        return self.root / "model"

    @property
    def predictions(self) -> Path:
        """Masks and ledger."""
        return self.root / "predictions"

    @property
    def evaluation(self) -> Path:
        """Numbers."""
        return self.root / "evaluation"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    @property
    def is_trained(self) -> bool:
        """Whether the training ended and exported its model."""
        return (self.model / "model.json").is_file()

    @property
    def is_untouched(self) -> bool:
        """Whether a run was refused before it made anything: other settings may then take its place."""
        made = {path.name for path in self.root.iterdir()} if self.root.is_dir() else set()
        empty = not self.checkpoints.is_dir() or not any(self.checkpoints.iterdir())
        return "checkpoints" in made and made <= UNTOUCHED and empty


def open_run(root: Path, *, settings: dict[str, Any], settings_yaml: str, must_exist: bool = False) -> RunFolder:
    """Create a run folder, or open the one that the same settings made.

    Args:
        root: The folder.
        settings: Resolved settings as JSON values; what is compared.
        settings_yaml: The same as text, saved for people.
        must_exist: Refuse to start anew (``--resume``).

    Returns:
        The folder, with ``settings.yaml`` and ``versions.json`` in it.

    Raises:
        OutputError: The folder belongs to another run, holds something else, or there is nothing to resume.
    """
    run = RunFolder(root)
    fixed = root / "settings.json"
    wait_for_first(fixed)
    if rank() > 0:
        return run
    if fixed.is_file() and not run.is_untouched:
        before = read_json(fixed, error=OutputError)
        changed = _differences(before, settings)
        if changed:
            raise OutputError(
                f"{root} must be empty or a run with the same settings, got a run that differs in {'; '.join(changed[:4])}. "
                "Choose another --out, or repeat the settings of that run to resume it."
            )
        return run
    if must_exist:
        raise OutputError(f"{root} must hold a run to resume, got none. Leave out --resume to start it.")
    if root.is_dir() and any(root.iterdir()) and not run.is_untouched:
        names = sorted(path.name for path in root.iterdir())[:5]
        raise OutputError(f"{root} must be empty or a run, got a folder with {names}. Choose another --out.")
    make_folder(run.checkpoints)
    run.split.unlink(missing_ok=True)  # of a start that came to nothing
    write_text(run.settings, settings_yaml)
    write_json(run.versions, versions())
    write_json(fixed, settings)
    return run


def share_waited(history: Path) -> float | None:
    """How much of the time the network waited for data in an ordinary epoch: the median, since the first also starts the loaders.

    Args:
        history: Of a run; may be absent.

    Returns:
        In [0, 1]; ``None`` before the first epoch has ended.
    """
    if not history.is_file():
        return None
    with history.open(newline="", encoding="utf-8") as stream:
        shares = [float(row["value"]) for row in csv.DictReader(stream) if row["name"] == "data_wait_share"]
    return statistics.median(shares) if shares else None


def versions() -> dict[str, Any]:
    """What a result may depend on: packages, Python, machine."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "segsuite": segsuite.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": found,
    }


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted({*before, *now})
        return [text for key in keys for text in _differences(before.get(key), now.get(key), f"{path}.{key}".strip("."))]
    return [] if before == now else [f"{path}: {before!r:.40} there, {now!r:.40} now"]
