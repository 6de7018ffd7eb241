"""Words of this pipeline: label tables of public data sets, and the reports of a prediction as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.prostate_zones.label_tables import TABLES, doubts_about_order, find_table, measure_zones, translate
from segsuite.errors import ManifestError, OutputError
from segsuite.files import make_folder
from segsuite.volumes.mask_files import list_masks
from segsuite.volumes.reading import read_labels
from segsuite.volumes.writing import write_mask

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Prostate zones: label tables of public data sets, case reports as a table.")
Masks = Annotated[list[Path], typer.Argument(help="Masks, or folders of masks.")]


@app.command(epilog="Example: segsuite prostate_zones labels")
def labels() -> None:
    """Show the known label tables."""
    for name, table in TABLES.items():
        typer.echo(f"{name}: " + ", ".join(f"{value} {zone}" for zone, value in sorted(table.items(), key=lambda item: item[1])))


@app.command(epilog="Example: segsuite prostate_zones check masks/ --table prostatex_zones")
def check(
    masks: Masks, table: Annotated[str, typer.Option("--table", help="What the integers should mean.")] = "segsuite"
) -> None:
    """Do these masks look like their label table? Exit code 2 if most of them contradict it."""
    wanted = find_table(table)
    shapes = []
    for path in _files(masks):
        volume = read_labels(path)
        shapes.append(measure_zones(volume.labels, volume.grid))
    findings, better = doubts_about_order(shapes, wanted)
    if not findings:
        typer.echo(f"{len(shapes)} masks agree with {table}")
        return
    typer.echo(f"most of {len(shapes)} masks contradict {table}: {'; '.join(findings)}")
    matching = [name for name, known in TABLES.items() if known == better]
    typer.echo(f"they look like {', '.join(matching) or better}")
    raise typer.Exit(2)


@app.command(epilog="Example: segsuite prostate_zones convert masks/ --table prostate158 --out converted")
def convert(
    masks: Masks,
    table: Annotated[str, typer.Option("--table", help="What the integers mean now.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new masks.")],
    to: Annotated[str, typer.Option("--to", help="What they shall mean.")] = "segsuite",
) -> None:
    """Write masks in another label table, each on its own grid."""
    source, target = find_table(table), find_table(to)
    for path in _files(masks):
        volume = read_labels(path)
        place = make_folder(out) / path.name
        if place.exists():
            raise OutputError(f"{place} must not exist yet, got a file. Choose another --out.")
        write_mask(place, translate(volume.labels, source, target), like=volume)
    typer.echo(f"{out}: written as {to}")


@app.command(epilog="Example: segsuite prostate_zones table masks/ --out zones.tsv")
def table(
    folder: Annotated[Path, typer.Argument(help="Output folder of a prediction.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="TSV file.")],
) -> None:
    """One row per predicted case: volumes, shares, PSA density, uncertainty, warnings."""
    from pipelines.prostate_zones.report_table import write_report_table

    typer.echo(f"{out}: {write_report_table(folder, out)} cases")


def _files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        found += list_masks(path).masks if path.is_dir() else [path]
    if not found:
        raise ManifestError(f"There must be at least one mask, got none in {', '.join(map(str, paths))}.")
    return found
