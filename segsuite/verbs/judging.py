"""Words that judge: compare, overlay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segsuite.errors import SettingsError
from segsuite.files import make_folder, write_atomically
from segsuite.reports.comparison import Comparison, compare_evaluations
from segsuite.reports.overlays import overlay_figure
from segsuite.reports.tables import read_evaluation
from segsuite.volumes.grid import require_same_grid
from segsuite.volumes.reading import read_grid

__all__ = ["compare", "draw_overlay"]

PICTURES = ("png", "pdf", "svg")


def compare(folders: Sequence[Path], *, metrics: Sequence[str], seed: int = 0) -> list[tuple[str, Comparison]]:
    """Each evaluation against the first, case by case.

    Args:
        folders: Evaluation folders, or run folders that hold ``evaluation/``; the first is the baseline.
        metrics: What to compare by.
        seed: Of the intervals.

    Returns:
        Name of the evaluation that is compared with the first, and one comparison per structure and metric.

    Raises:
        SettingsError: Fewer than two folders.
        VolumeError: A folder without an evaluation.
        ManifestError: Nothing in common.
    """
    if len(folders) < 2:
        raise SettingsError(f"A comparison must have at least two evaluations, got {len(folders)}.")
    names = _names(folders)
    tables = [read_evaluation(_evaluation_folder(folder)) for folder in folders]
    return [
        (name, comparison)
        for name, table in zip(names[1:], tables[1:], strict=True)
        for metric in metrics
        for comparison in compare_evaluations(tables[0], table, metric=metric, names=(names[0], name), seed=seed)
    ]


def _evaluation_folder(folder: Path) -> Path:
    inner = folder / "evaluation"
    return inner if (inner / "metrics_per_case.csv").is_file() else folder


def draw_overlay(image: Path, mask: Path | None, reference: Path | None, out: Path, *, dpi: int) -> Path:
    """A picture of one case for a paper.

    Args:
        image: The image.
        mask: Drawn solid, or ``None``.
        reference: Drawn dashed, or ``None``.
        out: PNG, PDF or SVG; by its ending.
        dpi: Of a PNG.

    Returns:
        The picture.

    Raises:
        SettingsError: Another ending.
        GridError: A mask on another grid.
    """
    kind = out.suffix.lower().removeprefix(".")
    if kind not in PICTURES:
        raise SettingsError(f"--out must end with one of {', '.join(f'.{name}' for name in PICTURES)}, got `{out.name}`.")
    for path in (mask, reference):
        if path is not None:
            require_same_grid(read_grid(image), read_grid(path), names=(str(image), str(path)))
    figure = overlay_figure(image, mask, reference)
    make_folder(out.resolve().parent)
    write_atomically(out, lambda temporary: figure.savefig(temporary, format=kind, dpi=dpi))
    return out


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest tails of the paths that tell the folders apart; ``evaluation`` says nothing and is left out."""
    parts = [[part for part in folder.resolve().parts if part != "evaluation"] for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{folder} ({number})" for number, folder in enumerate(folders, start=1)]
