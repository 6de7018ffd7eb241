"""Words of this pipeline: score, map, probe, audit, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Two cohorts: scores and maps of subjects, probes, an audit. Research use only.")
Model = Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")]
ManifestPath = Annotated[Path, typer.Argument(help="The cases, each with group healthy or diseased.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")]
Root = Annotated[Path | None, typer.Option("--data-root", help="Folder that the manifest's paths start from.")]
Device = Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Machine output on standard output.")]


@app.command(epilog="Example: segsuite cohort score RUN/model M.json --out scores")
def score(
    model: Model,
    manifest: ManifestPath,
    out: Out,
    data_root: Root = None,
    shard: Annotated[str, typer.Option("--shard", help="i/n: this process's part of the cases.")] = "1/1",
    device: Device = "auto",
) -> None:
    """Write scores.tsv: each scan's deviation score, how rare it is among held-out healthy subjects, who is near, doubts."""
    from pipelines.cohort_contrast.judging import score_cohort
    from pipelines.cohort_contrast.predictor import load_predictor
    from segsuite.engines.inputs import parse_shard

    predictor = load_predictor(model, device=device, overrides={"maps": "none"})
    outcome = score_cohort(predictor, manifest, out, data_root=data_root, shard=parse_shard(shard))
    typer.echo(f"{out / 'scores.tsv'}: {outcome.n_done} scored, {outcome.n_skipped} were done, {len(outcome.failures)} failed")
    _end(outcome)


@app.command("map", epilog="Example: segsuite cohort map RUN/model M.json --out maps")
def map_subjects(
    model: Model,
    manifest: ManifestPath,
    out: Out,
    data_root: Root = None,
    kind: Annotated[str, typer.Option("--kind", help="gradients or occlusion.")] = "gradients",
    permutations: Annotated[int, typer.Option("--permutations", min=20, help="Of the groups, for the cohort's map.")] = 200,
    device: Device = "auto",
) -> None:
    """Write a saliency volume per scan on its own grid, and where the groups differ, with family-wise error."""
    from pipelines.cohort_contrast.judging import map_cohort
    from pipelines.cohort_contrast.predictor import load_predictor

    predictor = load_predictor(model, device=device, overrides={"maps": kind})
    outcome, found = map_cohort(predictor, manifest, out, data_root=data_root, n_permutations=permutations)
    typer.echo(f"{out / 'cohort_t.nii.gz'}: largest t {found.t.max():.2f}, threshold {found.threshold:.2f}, p {found.p:.3f}")
    _end(outcome)


@app.command(epilog="Example: segsuite cohort probe RUN/model M.json --attributes age,site")
def probe(
    model: Model,
    manifest: ManifestPath,
    attributes: Annotated[str, typer.Option("--attributes", help="Names, with commas between; site is one too.")],
    data_root: Root = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """What the common and the salient space know of attributes, scored on scans that training has not seen."""
    from pipelines.cohort_contrast.judging import probe_cohort, read_judged
    from pipelines.cohort_contrast.predictor import load_predictor

    predictor = load_predictor(model, device=device, overrides={})
    names = [name.strip() for name in attributes.split(",") if name.strip()]
    matrix = probe_cohort(predictor, read_judged(predictor, manifest, data_root=data_root), names)
    rows: dict[str, Any] = {
        name: {
            space: None
            if found is None
            else {"kind": found.kind, "score": round(found.score, 4), "chance": round(found.chance, 4)}
            for space, found in pair.items()
        }
        for name, pair in matrix.items()
    }
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for name, pair in rows.items():
        cells = "  ".join(f"{space} {'too few' if cell is None else cell['score']}" for space, cell in pair.items())
        known = pair["common"] or pair["salient"]
        typer.echo(f"{name}: {cells}" + ("" if known is None else f"  (chance {known['chance']}, {known['kind']})"))


@app.command(epilog="Example: segsuite cohort audit RUN/model M.json")
def audit(
    model: Model,
    manifest: ManifestPath,
    data_root: Root = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of the two trainings that must find nothing.")] = 100,
    seed: Annotated[int, typer.Option(help="Of permutations.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Ask what makes scores void: leaks, duplicates, sites, borders, dependence, runs on meaningless groups. Exit 2 if so."""
    from dataclasses import asdict

    from pipelines.cohort_contrast.audit import audit_cohort
    from pipelines.cohort_contrast.embedding import embed
    from pipelines.cohort_contrast.judging import read_judged
    from pipelines.cohort_contrast.predictor import load_predictor

    predictor = load_predictor(model, device=device, overrides={})
    judged = read_judged(predictor, manifest, data_root=data_root)
    spaces = embed(predictor.network, judged.scans, device=predictor.device)
    checks = audit_cohort(
        judged.scans,
        judged.is_training,
        spaces,
        predictor.model.description,
        steps=steps,
        seed=seed,
        device=predictor.device,
        tell=lambda doing: typer.echo(f"... {doing}", err=True),
    )
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            typer.echo(
                f"{'ok    ' if check.passed else 'FAILED'} {check.name}: {check.found}"
                + ("" if check.passed else f" - {check.meaning}")
            )
    if not all(check.passed for check in checks):
        raise typer.Exit(2)


@app.command(epilog="Example: segsuite cohort report RUN")
def report(run: Annotated[Path, typer.Argument(help="The run folder.")]) -> None:
    """Write the run's report page again, with the cohort's section."""
    from segsuite.reports.page import write_report

    typer.echo(write_report(run))


def _end(outcome: Any) -> None:
    for case, reason in outcome.failures.items():
        typer.echo(f"{case}: {reason}", err=True)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
