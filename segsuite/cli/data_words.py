"""Words about data: manifest import, check, split; plan; cache gc; dicomseg."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from segsuite.cli import mask_words
from segsuite.cli.mask_words import tell_findings
from segsuite.cli.options import DataRoot, Device, Json, Quiet, Seed, SeriesUid, Verbose, Workers, worker_count
from segsuite.cli.terminal import case_progress, print_json, print_table, say
from segsuite.errors import SettingsError
from segsuite.extras import require_extra

__all__ = ["add_to"]

manifest_app = typer.Typer(
    help="Make, check and split the list of cases.",
    epilog="Example: segsuite manifest import my_data --out M.json",
    no_args_is_help=True,
)


cache_app = typer.Typer(help="Prepared cases on disk.", epilog="Example: segsuite cache gc cache --keep 50", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the words."""
    mask_words.add_to(manifest_app)
    app.add_typer(manifest_app, name="manifest")
    app.add_typer(cache_app, name="cache")
    app.command("plan", epilog="Example: segsuite plan M.json")(plan)
    app.command("dicomseg", epilog="Example: segsuite dicomseg masks --series scans --out segmentations")(dicomseg)


@manifest_app.command("import", epilog="Example: segsuite manifest import imagesTr_parent --out M.json --layout nnunet")
def import_(
    folder: Annotated[Path, typer.Argument(help="The data set's folder, or a CSV/TSV table.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest to write.")],
    layout: Annotated[str, typer.Option(help="auto, decathlon, nnunet, bids, table or folder.")] = "auto",
    images: Annotated[str | None, typer.Option(help="Layout folder: pattern of the images, e.g. '*/t2w.nii.gz'.")] = None,
    labels: Annotated[str | None, typer.Option(help="Layout folder: pattern of the labels.")] = None,
    structures: Annotated[
        str | None, typer.Option(help="Layout folder: one file per structure, e.g. 'labels/{case}/{structure}.nii.gz'.")
    ] = None,
    order: Annotated[str, typer.Option(help="Structures that may overlap, with commas; the later one wins.")] = "",
    suffix: Annotated[str | None, typer.Option(help="Layout bids: which images, e.g. T1w.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option("--leave-out", help="Pattern of files to pass over; repeatable.")] = None,
    splits: Annotated[bool, typer.Option("--splits/--no-splits", help="Layout nnunet: use splits_final.json.")] = True,
    like: Annotated[str | None, typer.Option(help="Take labels and channels from this manifest (file or name).")] = None,
    patient_pattern: Annotated[
        str | None, typer.Option(help="Regular expression for the relative path of the image; its group is the patient id.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a manifest that is there, with its folds.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a manifest from a folder, without renaming a file; all that is not taken is told."""
    from segsuite.verbs.importing import import_data
    from segsuite.verbs.masks import Watch

    options = {"images": images, "labels": labels, "structures": structures, "suffix": suffix, "splits": splits}
    findings: list[Any] = []
    with case_progress("reading masks of") as progress:
        manifest = import_data(
            folder,
            out,
            like=like,
            layout=layout,
            order=_names(order),
            overwrite=overwrite,
            on_finding=findings.append,
            watch=Watch(worker_count(None), progress.start, progress.case),
            leave_out=tuple(leave_out or ()),
            patient_pattern=patient_pattern,
            **options,
        )
    _tell_import(out, manifest, findings, as_json=as_json, is_table=folder.is_file())


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _tell_import(out: Path, manifest: Any, findings: list[Any], *, as_json: bool, is_table: bool) -> None:
    """What was made of the folder and what was not; exit code 2 if a case is not whole."""
    n_labelled = sum(case.label is not None for case in manifest.cases)
    n_patients = len({case.patient_id for case in manifest.cases})
    errors = [finding for finding in findings if finding.severity == "error"]
    if as_json:
        counts = {"cases": len(manifest.cases), "labelled": n_labelled, "patients": n_patients, "test": len(manifest.test)}
        told = [asdict(finding) for finding in findings]
        print_json({"manifest": str(out), **counts, "labels": manifest.labels, "findings": told})
    tell_findings(findings)
    training = f" ({len(manifest.test)} of them for testing)" if manifest.test else ""
    say(
        f"{out}: {len(manifest.cases)} cases{training}, {n_labelled} labelled, {n_patients} patients, labels {manifest.labels}. "
        f"Next: segsuite manifest check {out}"
    )
    if manifest.cases and not n_labelled:
        patterns = "Masks that are there are listed above, or are named by --labels 'PATTERN' --layout folder"
        say(f"No case has a label. {'The column `label` of a table names their masks' if is_table else patterns}")
    if errors:
        raise typer.Exit(2)


@manifest_app.command("check", epilog="Example: segsuite manifest check M.json --data-root my_data")
def check(
    manifest: Path,
    data_root: DataRoot = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Look into every case: geometry, labels, duplicates, leakage; one table of all findings."""
    from segsuite.data.manifest import read_manifest
    from segsuite.verbs.data import check as run_check

    with case_progress("checking") as progress:
        progress.start(len(read_manifest(manifest).cases))
        findings = run_check(manifest, data_root=data_root, workers=worker_count(workers), on_case=progress.case)
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        print_json([finding.__dict__ for finding in findings])
    elif findings:
        rows = [(finding.severity, finding.kind, finding.case, finding.message) for finding in findings]
        print_table(("severity", "kind", "case", "finding"), rows)
    say(f"{errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(1)


@manifest_app.command("split", epilog="Example: segsuite manifest split M.json --folds 5 --seed 0")
def split(
    manifest: Path,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Number of folds.")] = 5,
    by: Annotated[str, typer.Option("--by", help="patient; or site: a fold per site, to leave one out.")] = "patient",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Another file to write to.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other folds that are there.")] = False,
    data_root: DataRoot = None,
    seed: Seed = 0,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Give every case a fold: by patient, stratified by labels present, site and group; or by site."""
    from segsuite.data.manifest import read_manifest
    from segsuite.verbs.data import split as run_split

    if by not in ("patient", "site"):
        raise SettingsError(f"--by must be patient or site, got `{by}`.")
    with case_progress("reading") as progress:
        progress.start(len(read_manifest(manifest).cases))
        table, stratified = run_split(
            manifest,
            n_folds=folds,
            seed=seed,
            data_root=data_root,
            workers=worker_count(workers),
            out=out,
            by_site=by == "site",
            overwrite=overwrite,
            on_case=progress.case,
        )
    if as_json:
        print_json(table)
    print_table(list(table[0]), [list(row.values()) for row in table])
    if not stratified and by == "patient":
        say("The labels could not be read: split by patient, site and group only. Give --data-root to stratify by label.")


def plan(
    manifest: Path,
    data_root: DataRoot = None,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what the data asks for, with the reason of each choice, and the memory, disk and minutes it will take."""
    from segsuite.engines.forecast import plan_with_forecast

    with case_progress("looking at") as progress:
        content: dict[str, Any] = plan_with_forecast(
            manifest,
            data_root=data_root,
            device=device,
            workers=worker_count(workers),
            on_start=progress.start,
            on_case=progress.case,
        )
    if as_json:
        print_json(content)
        return
    chosen = content["plan"]
    shown = {"stages": "strides", "normalisation_0": "normalisation"}
    rows = [(key, chosen.get(key, chosen.get(shown.get(key, ""), "")), why) for key, why in chosen["reasons"].items()]
    print_table(("choice", "value", "reason"), rows, title="plan")
    print_table(("what", "forecast"), list(content["forecast"].items()), title="what it will take")


@cache_app.command("gc", epilog="Example: segsuite cache gc RUN/cache --keep 50")
def gc(
    folder: Annotated[Path, typer.Argument(help="RUN/cache, or what --cache-dir was.")],
    keep: Annotated[float, typer.Option("--keep", min=0, help="GB that may stay.")] = 0.0,
    idle: Annotated[float, typer.Option("--idle", min=0, help="Hours: what was taken up later than that stays.")] = 24.0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Delete prepared cases until the rest fits, longest unused first; training makes again what it misses."""
    from segsuite.data.cache import clear_cache

    done = clear_cache(folder, most_bytes=round(keep * 1e9), idle_seconds=idle * 3600)
    if as_json:
        print_json(asdict(done))
    freed, kept = (n_bytes / 1e9 for n_bytes in (done.freed_bytes, done.kept_bytes))
    say(f"{folder}: {done.n_removed} cases removed ({freed:.2f} GB), {done.n_kept} left ({kept:.2f} GB)")


def dicomseg(
    source: Annotated[Path, typer.Argument(help="A mask, a folder of masks, or a DICOM segmentation (.dcm).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .dcm file or a folder; of a DICOM segmentation, the mask.")],
    series: Annotated[
        Path | None, typer.Option("--series", help="The slices that the mask lies on; a folder of folders.")
    ] = None,
    series_uid: SeriesUid = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="Default: labels.tsv beside the masks.")] = None,
    made_by: Annotated[str, typer.Option("--made-by", help="The model, for the object's algorithm.")] = "segsuite",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Masks as DICOM segmentations with coded names, for an archive; and back."""
    require_extra("dicom", "highdicom", purpose="`segsuite dicomseg`")
    from segsuite.verbs.exchanging import export_masks, import_segmentation

    if source.suffix.lower() == ".dcm":
        names = import_segmentation(source, out)
        say(f"{out}: {', '.join(f'{number} {name}' for number, name in names.items())}")
        return
    if series is None:
        raise SettingsError("A mask must have --series, the folder of the slices that it was made from, got none.")
    table = labels or (source if source.is_dir() else source.parent) / "labels.tsv"
    how: dict[str, Any] = {"made_by": made_by, "series_uid": series_uid}
    failures = export_masks(source, series, table, out, **how, on_file=lambda name, result: say(f"{name}: {result}"))
    raise typer.Exit(2 if failures else 0)
