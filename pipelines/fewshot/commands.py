"""Words of this pipeline: register, forget, list, validate, benchmark, photographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # torch is loaded by the words that need it
    from pipelines.fewshot.predictor import FewshotPredictor

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Few-shot structures: register, forget, list, validate, benchmark.")
Model = Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")]
Name = Annotated[str, typer.Option("--name", help="The structure.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the new model.")]
Device = Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")]
Entries = list[dict[str, object]]
Json = Annotated[bool, typer.Option("--json", help="Machine output on standard output.")]


@app.command(epilog="Example: segsuite fewshot register RUN/model --name kidney --image t2.nii.gz --mask m.nii.gz --out MODEL2")
def register(
    model: Model,
    name: Name,
    out: Out,
    image: Annotated[list[Path] | None, typer.Option("--image", help="A scan; give it once per scan.")] = None,
    mask: Annotated[list[Path] | None, typer.Option("--mask", help="Its mask; in the order of the scans.")] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", "-m", help="Draw the scans from here instead.")] = None,
    data_root: Annotated[Path | None, typer.Option("--data-root", help="Folder that the manifest's paths start from.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="The structure's name in the manifest; default: --name.")] = None,
    shots: Annotated[int, typer.Option("--shots", min=1, help="So many patients of the manifest.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    value_in_mask: Annotated[int, typer.Option("--value-in-mask", help="Of the structure in --mask files.")] = 1,
    value: Annotated[
        int | None, typer.Option("--value", help="Of the structure in new masks; default: the manifest's, else the next free.")
    ] = None,
    slices: Annotated[int | None, typer.Option("--slices", min=1, help="Only so many annotated slices per scan.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Take scans of another protocol.")] = False,
    device: Device = "auto",
) -> None:
    """Teach a model a structure from a few scans, without retraining; what it knew stays exactly as it was."""
    from pipelines.fewshot.predictor import load_predictor
    from pipelines.fewshot.registration import label_for
    from pipelines.fewshot.registration import register as run
    from pipelines.fewshot.supports import given_supports, supports_of_manifest

    if manifest is None:
        supports = given_supports(image or [], mask or [], value_in_mask)
    else:
        supports = supports_of_manifest(manifest, data_root, label or name, shots=shots, seed=seed)
    predictor = load_predictor(model, device=device, overrides={})
    wanted = None if manifest is None else supports[0].value
    chosen = label_for(predictor, name, wanted=wanted) if value is None else value
    run(predictor, name, supports, out, value=chosen, slices=slices, force=force)
    if wanted not in (None, chosen):
        typer.echo(
            f"note: {name} is {chosen} in masks of this model and {wanted} in {manifest}. `evaluate` goes by the names in "
            "labels.tsv beside the masks; other tools must be told.",
            err=True,
        )
    _print_structures(out, device, as_json=False)


@app.command(epilog="Example: segsuite fewshot forget MODEL2 --name kidney --out MODEL3")
def forget(model: Model, name: Name, out: Out, device: Device = "auto") -> None:
    """Write the model without a structure, as if it had never been registered."""
    from pipelines.fewshot.predictor import load_predictor
    from pipelines.fewshot.registration import forget as run

    run(load_predictor(model, device=device, overrides={}), name, out)
    typer.echo(f"{out}: {name} is forgotten")


@app.command("list", epilog="Example: segsuite fewshot list MODEL2")
def list_structures(model: Model, device: Device = "auto", as_json: Json = False) -> None:
    """Show every structure: where it comes from, shots, voxels, supports, the Dice to expect."""
    _print_structures(model, device, as_json=as_json)


@app.command(epilog="Example: segsuite fewshot validate MODEL2")
def validate(
    model: Model,
    manifest: Annotated[Path | None, typer.Option("--manifest", "-m", help="Also measure on its labelled cases.")] = None,
    data_root: Annotated[Path | None, typer.Option("--data-root", help="Folder that the manifest's paths start from.")] = None,
    fold: Annotated[int | None, typer.Option("--fold", help="Only this fold's cases.")] = None,
    least: Annotated[float, typer.Option("--least", min=0, max=1, help="Exit with 2 where less is to be expected.")] = 0.5,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Estimate each new structure's Dice by leaving one support out: no image is needed, the model holds what it takes.

    With a manifest it is measured too, on the cases that were no supports, and the measured mean counts for --least.
    """
    measure = None if manifest is None else partial(_measure, manifest=manifest, data_root=data_root, fold=fold)
    entries = _print_structures(model, device, as_json=as_json, measure=measure)
    doubtful = [entry["name"] for entry in entries if entry["expected_dice"] is None or entry["expected_dice"] < least]
    if doubtful:
        typer.echo(f"not to be trusted before you have looked at masks: {', '.join(doubtful)}", err=True)
        raise typer.Exit(2)


@app.command(epilog="Example: segsuite fewshot benchmark fewshot/chaos_folds --manifest M.json --fold 0 --out BENCH")
def benchmark(
    config: Annotated[str, typer.Argument(help="A config with `benchmark.folds`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of runs, supports and scores.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value", show_default=False)] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", "-m", help="The cases, with folds by patient.")] = None,
    fold: Annotated[int | None, typer.Option("--fold", help="Whose patients are judged; supports come from the others.")] = None,
    device: Device = "auto",
) -> None:
    """Hide structures fold by fold, register them again from few scans, and print base, novel and harmonic mean per rule."""
    from pipelines.fewshot.benchmark import run_benchmark
    from pipelines.fewshot.tables import as_markdown, pooled_as_markdown, sessions_as_markdown
    from segsuite.pipeline import Runtime

    words = [f"data.{key}={value}" for key, value in (("manifest", manifest), ("fold", fold)) if value is not None]
    scores = run_benchmark(
        config,
        overrides=[*words, *(overrides or ())],
        out=out,
        runtime=Runtime(device),
        tell=lambda text: typer.echo(text, err=True),
    )
    for table in (as_markdown(scores), pooled_as_markdown(scores), sessions_as_markdown(scores)):
        typer.echo(f"{table}\n")


@app.command(epilog="Example: segsuite fewshot photographs VOC2012 --layout voc --out voc")
def photographs(
    folder: Annotated[Path, typer.Argument(help="The set's own folder, as it is unpacked.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the volumes and of manifest.json.")],
    layout: Annotated[str, typer.Option("--layout", help="voc (PASCAL VOC 2012) or coco (COCO 2014).")] = "voc",
) -> None:
    """Make a manifest of PASCAL VOC or COCO, for the configs fewshot/pascal_5i and fewshot/coco_20i."""
    from pipelines.fewshot.photographs import import_photographs

    manifest = import_photographs(folder, out, layout=layout)
    typer.echo(f"{out / 'manifest.json'}: {len(manifest.training)} photographs, {len(manifest.structures)} classes")


def _measure(predictor: FewshotPredictor, entries: Entries, *, manifest: Path, data_root: Path | None, fold: int | None) -> None:
    """Put the measured mean into each structure's entry, in place of what was to be expected."""
    import pandas as pd

    from pipelines.fewshot.validation import measured_dice

    rows = measured_dice(predictor, manifest, data_root=data_root, fold=fold, tell=lambda case: typer.echo(case, err=True))
    scores = pd.DataFrame(rows).astype({"dice": float})
    for entry in entries:
        mine = scores[scores["structure"] == entry["name"]]["dice"].dropna()
        entry["measured_dice"] = entry["expected_dice"] = round(float(mine.mean()), 4) if len(mine) else None
        entry["measured_cases"] = len(mine)
        measured = f"{entry['measured_dice']}, least {mine.min():.4f}, on {len(mine)} cases" if len(mine) else "on no case"
        typer.echo(f"    {entry['name']}: Dice measured {measured}", err=True)


def _print_structures(
    model: Path, device: str, *, as_json: bool, measure: Callable[[FewshotPredictor, Entries], None] | None = None
) -> Entries:
    from pipelines.fewshot.predictor import load_predictor
    from pipelines.fewshot.registration import described_supports

    predictor = load_predictor(model, device=device, overrides={})
    entries = described_supports(predictor)
    if measure is not None:
        measure(predictor, entries)
    if as_json:
        typer.echo(json.dumps(entries, indent=1))
        return entries
    new = {str(entry["name"]) for entry in entries}
    for label, name in predictor.structures.items():
        if name not in new:
            typer.echo(f"{label:>3} {name}: base")
    for entry in entries:
        expected = (
            "unknown (one shot)" if entry["expected_dice"] is None else f"{entry['expected_dice']}, least {entry['least_dice']}"
        )
        typer.echo(
            f"{entry['label']:>3} {entry['name']}: session {entry['session']}, {entry['shots']} shots, {entry['voxels']} voxels, "
            f"Dice to expect {expected}, supports {' '.join(map(str, entry['supports']))}"  # type: ignore[arg-type, call-overload]
        )
    return entries
