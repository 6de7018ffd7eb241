"""Words that judge: compare (also by seeds, by rank, by convention), overlay, view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from segsuite.data.label_table import read_label_table
from segsuite.engines.evaluation_record import read_definition, sign
from segsuite.errors import SettingsError
from segsuite.files import make_folder, write_atomically, write_text
from segsuite.outputs import require_outputs_apart
from segsuite.reports.comparability import Evaluated, require_comparable
from segsuite.reports.comparison import Comparison, compare_evaluations
from segsuite.reports.conventions import CONVENTIONS_FILE, Difference, differences, means_under
from segsuite.reports.overlays import overlay_figure
from segsuite.reports.ranking import Ranked, rank_evaluations
from segsuite.reports.repeats import RepeatComparison, compare_repeats
from segsuite.reports.tables import read_evaluation
from segsuite.reports.viewer import LayeredCase, write_view
from segsuite.volumes.orders import order_onto
from segsuite.volumes.reading import read_grid

__all__ = ["compare", "compare_seeds", "conventions", "draw_overlay", "rank", "write_viewer"]

PICTURES = ("png", "pdf", "svg")


def compare(
    folders: Sequence[Path],
    *,
    metrics: Sequence[str],
    seed: int = 0,
    shared: bool = False,
    tell: Callable[[str], None] | None = None,
) -> list[tuple[str, Comparison]]:
    """Each evaluation against the first, case by case.

    Args:
        folders: Evaluation folders, or run folders that hold ``evaluation/``; the first is the baseline.
        metrics: What to compare by.
        seed: Of the intervals.
        shared: Compare cases and structures that all have, where they differ.
        tell: Called with what to know of the comparison.

    Returns:
        Name of the evaluation that is compared with the first, and one comparison per structure and metric.

    Raises:
        SettingsError: Fewer than two folders.
        VolumeError: A folder without an evaluation.
        ManifestError: Nothing in common, or evaluations that are defined otherwise.
    """
    if len(folders) < 2:
        raise SettingsError(f"A comparison must have at least two evaluations, got {len(folders)}.")
    names = _names(folders)
    tables = _tables(folders, names, shared=shared, tell=tell)
    return [
        (name, comparison)
        for name, table in zip(names[1:], tables[1:], strict=True)
        for metric in metrics
        for comparison in compare_evaluations(tables[0], table, metric=metric, names=(names[0], name), seed=seed)
    ]


def rank(folders: Sequence[Path], *, metric: str, seed: int = 0, shared: bool = False) -> list[Ranked]:
    """All evaluations in the order of their means, and how stable that order is.

    Args:
        folders: Evaluation or run folders.
        metric: What to rank by.
        seed: Of the bootstrap.
        shared: Rank by cases and structures that all have, where they differ.

    Returns:
        Best first.

    Raises:
        VolumeError: A folder without an evaluation.
        ManifestError: Nothing in common, or evaluations that are defined otherwise.
    """
    names = _names(folders)
    return rank_evaluations(_tables(folders, names, shared=shared, tell=None), metric=metric, names=names, seed=seed)


def compare_seeds(
    folders: Sequence[Path], *, metrics: Sequence[str], shared: bool = False, tell: Callable[[str], None] | None = None
) -> list[tuple[str, RepeatComparison]]:
    """Settings that were trained several times each, against the first.

    Args:
        folders: One per setting; each holds run or evaluation folders, one per training.
        metrics: What to compare by.
        shared: Compare cases and structures that all have, where they differ.
        tell: Called with what to know of the comparison.

    Returns:
        Name of the setting that is compared with the first, and one comparison per structure and metric.

    Raises:
        SettingsError: Fewer than two folders, or one without trainings.
        ManifestError: Nothing in common, or evaluations that are defined otherwise.
    """
    if len(folders) < 2:
        raise SettingsError(f"A comparison must have at least two settings, got {len(folders)}.")
    names = _names(folders)
    inner = [_repeats(folder) for folder in folders]
    every = [folder for found in inner for folder in found]
    tables = iter(_tables(every, _names(every), shared=shared, tell=tell))
    repeats = [[next(tables) for _ in found] for found in inner]
    return [
        (name, comparison)
        for name, others in zip(names[1:], repeats[1:], strict=True)
        for metric in metrics
        for comparison in compare_repeats(repeats[0], others, metric=metric, names=(names[0], name))
    ]


def conventions(folder: Path, names: Sequence[str]) -> tuple[pd.DataFrame, list[Difference]]:
    """The same masks under other tools' rules; writes ``conventions.csv``, one line per value that is treated otherwise.

    Args:
        folder: An evaluation folder.
        names: Of the tools, see ``reports.conventions``.

    Returns:
        Means side by side, segsuite's first, and the differences.
    """
    measurements, cases = read_evaluation(folder)
    others = [name for name in names if name != "segsuite"]
    found = differences(measurements, cases, others)
    columns = [field.name for field in fields(Difference)]
    table = pd.DataFrame([asdict(difference) for difference in found], columns=columns)
    write_text(folder / CONVENTIONS_FILE, table.to_csv(index=False, na_rep="left out"))
    sign(folder, [CONVENTIONS_FILE])
    return means_under(measurements, cases, ["segsuite", *others]), found


def _tables(
    folders: Sequence[Path], names: Sequence[str], *, shared: bool, tell: Callable[[str], None] | None
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Measurements and cases of evaluations that may be compared."""
    places = [_evaluation_folder(folder) for folder in folders]
    tables = [read_evaluation(place) for place in places]
    definitions = [read_definition(place) for place in places]
    found = [Evaluated(name, *table, known) for name, table, known in zip(names, tables, definitions, strict=True)]
    for note in require_comparable(found, shared=shared):
        if tell is not None:
            tell(f"note: {note}")
    return tables


def _repeats(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SettingsError(f"--seeds: {folder} must be a folder that holds one run or evaluation folder per training.")
    found = sorted(
        inner for child in folder.iterdir() if ((inner := _evaluation_folder(child)) / "metrics_per_case.csv").is_file()
    )
    if not found:
        raise SettingsError(f"--seeds: {folder} must hold one run or evaluation folder per training, got none.")
    return found


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
        OutputError: What is shown would be written over.
    """
    kind = out.suffix.lower().removeprefix(".")
    if kind not in PICTURES:
        raise SettingsError(f"--out must end with one of {', '.join(f'.{name}' for name in PICTURES)}, got `{out.name}`.")
    drawn = [path for path in (mask, reference) if path is not None]
    require_outputs_apart({out: "the picture"}, [image, *drawn])
    for path in drawn:
        order_onto(read_grid(path), read_grid(image), names=(str(image), str(path)))
    figure = overlay_figure(image, mask, reference)
    make_folder(out.resolve().parent)
    write_atomically(out, lambda temporary: figure.savefig(temporary, format=kind, dpi=dpi))
    return out


def write_viewer(image: Path, masks: Sequence[Path], out: Path, *, labels: Path | None = None) -> Path:
    """A page in which any volume and masks can be looked at, without network.

    Args:
        image: The image.
        masks: On its grid.
        out: The page, ``.html``.
        labels: Table that names the integers.

    Returns:
        The page.

    Raises:
        SettingsError: Another ending.
        GridError: A mask on another grid.
        OutputError: What is shown would be written over.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--out must end with .html, got `{out.name}`.")
    require_outputs_apart({out: "the page"}, [image, *masks, *([labels] if labels else [])])
    names = {} if labels is None else read_label_table(labels)
    make_folder(out.resolve().parent)
    case = LayeredCase(image.name, image, [(f"{mask.parent.name}/{mask.name}", mask) for mask in masks])
    return write_view(case, names, out)


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest tails of the paths that tell the folders apart; ``evaluation`` says nothing and is left out."""
    parts = [[part for part in folder.resolve().parts if part != "evaluation"] for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{folder} ({number})" for number, folder in enumerate(folders, start=1)]
