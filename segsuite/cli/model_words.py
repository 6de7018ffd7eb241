"""Words about a model folder: accelerate, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segsuite.cli.options import DataRoot, Fold, Json, Quiet, Verbose, Workers, parse_fold
from segsuite.cli.terminal import print_json, print_table, say

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the words."""
    app.command("accelerate", epilog="Example: segsuite accelerate RUN/model --manifest M.json")(accelerate)
    app.command("export", epilog="Example: segsuite export RUN/model --out exported")(export)


def accelerate(
    model: Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")],
    manifest: Annotated[Path, typer.Option("--manifest", "-m", help="Labelled cases to judge by.")],
    data_root: DataRoot = None,
    fold: Fold = None,
    cases: Annotated[int, typer.Option("--cases", min=1, help="So many are judged.")] = 8,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let faster CPU engines run a model where their masks are as good; `predict` then takes the fastest by itself."""
    from segsuite.shipped import find_manifest
    from segsuite.verbs.accelerating import accelerate as run_accelerate

    path = find_manifest(str(manifest))
    how: dict[str, Any] = {"data_root": data_root, "fold": parse_fold(fold), "n_cases": cases, "threads": workers}
    found = run_accelerate(model, path, on_step=say, **how)
    if as_json:
        print_json(found)
    for folder, rows in found.items():
        shown = [
            (
                name,
                f"{row['dice']:.4f}",
                f"{row['hd95']:.2f}",
                f"{row['dice_lost']:z.4f}",
                f"{row['worst_dice_lost']:.4f} {row['worst_structure']}" if row["worst_dice_lost"] > 0 else "",
                f"{row['hd95_share']:+z.2%}",
                "accepted" if row["accepted"] else "rejected",
            )
            for name, row in rows.items()
        ]
        print_table(("backend", "Dice", "HD95 mm", "Dice lost", "most by one", "HD95 more", "verdict"), shown, title=folder)
    say("`segsuite doctor --model MODEL` shows which is fastest here")


def export(
    model: Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the network and model.json.")],
    file_format: Annotated[str, typer.Option("--format", help="onnx or openvino.")] = "onnx",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a model's network for other programs; model.json says what comes before and after it."""
    from segsuite.verbs.accelerating import export as run_export

    say(f"{run_export(model, out, file_format=file_format)}: `image` (batch, channels, i, j, k) to `output`")
