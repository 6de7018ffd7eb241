"""Words that make masks of a manifest's masks: mask, resample, combine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segsuite.cli.options import DataRoot, Quiet, Verbose, Workers, worker_count
from segsuite.cli.terminal import case_progress, print_problem, say
from segsuite.errors import SettingsError

__all__ = ["add_to", "tell_findings"]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds something else.")]


def add_to(app: typer.Typer) -> None:
    """Register the words."""
    app.command("mask", epilog="Example: segsuite manifest mask M.json --masks gland_masks --out M_gland.json")(mask)
    app.command("resample", epilog="Example: segsuite manifest resample M.json --out resampled")(resample)
    app.command("combine", epilog="Example: segsuite manifest combine totalsegmentator_masks --out combined")(combine)


def tell_findings(findings: list[Any]) -> None:
    """Each finding as a sentence.

    Args:
        findings: Of an import, in order.
    """
    for finding in findings:
        (print_problem if finding.severity == "error" else say)(f"{finding.severity}: {finding}")


def _end(findings: list[Any]) -> None:
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(2)


def mask(
    manifest: Path,
    masks: Annotated[Path, typer.Option("--masks", help="What `segsuite predict MODEL MANIFEST` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest to write.")],
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Table of their integers; default: labels.tsv beside them.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another manifest that is there.")] = False,
    data_root: DataRoot = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take the masks that a model made as the labels of a manifest's cases: an organ to train within."""
    from segsuite.verbs.data import mask as run_mask

    made = run_mask(manifest, masks, out, data_root=data_root, labels=labels, overwrite=overwrite)
    say(f"{out}: {len(made.cases)} cases, labels {', '.join(made.structures.values())}")


def resample(
    manifest: Path,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for manifest.json and masks/.")],
    data_root: DataRoot = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Bring masks onto the grid of their image, by the nearest voxel, in new files."""
    from segsuite.verbs.masks import Watch
    from segsuite.verbs.resampling import resample_masks

    findings: list[Any] = []
    with case_progress("resampling") as progress:
        watch = Watch(worker_count(workers), progress.start, progress.case)
        resample_masks(manifest, out, data_root=data_root, overwrite=overwrite, watch=watch, on_finding=findings.append)
    tell_findings(findings)
    say(f"Next: segsuite manifest check {out / 'manifest.json'}")
    _end(findings)


def combine(
    source: Annotated[Path, typer.Argument(help="A folder of masks, one file per structure; a manifest; .seg.nrrd.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the label maps.")],
    structures: Annotated[
        str | None, typer.Option(help="Of a folder: where the masks are, e.g. '{case}_{structure}.nii.gz'.")
    ] = None,
    order: Annotated[str, typer.Option(help="Structures that may overlap, with commas; the later one wins.")] = "",
    like: Annotated[str | None, typer.Option(help="Of a folder: take the integers from this manifest.")] = None,
    threshold: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Of probabilities without a background: from where a voxel counts.")
    ] = 0.5,
    data_root: DataRoot = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join masks with a file or a channel per structure (one-hot, probabilities, layers of .seg.nrrd) in one map per case."""
    from segsuite.verbs.combining import combine_folder, combine_manifest
    from segsuite.verbs.masks import Combining, Watch
    from segsuite.verbs.segmentations import combine_segmentations, segmentations_at

    findings: list[Any] = []
    segmentations = {} if structures is not None else segmentations_at(source)
    names = tuple(name.strip() for name in order.split(",") if name.strip())
    with case_progress("combining") as progress:
        how = Combining(names, overwrite, Watch(worker_count(workers), progress.start, progress.case))
        if segmentations:
            combine_segmentations(segmentations, out, like=like, combining=how, on_finding=findings.append)
        elif source.is_dir():
            combine_folder(source, out, structures=structures, like=like, combining=how, on_finding=findings.append)
        elif structures is not None or like is not None:
            raise SettingsError(f"--structures and --like belong to a folder of masks, got them for {source}.")
        else:
            combine_manifest(source, out, data_root=data_root, threshold=threshold, combining=how, on_finding=findings.append)
    tell_findings(findings)
    _end(findings)
