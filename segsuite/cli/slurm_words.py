"""The word slurm: a job array that runs `predict` in parts, with the options of `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segsuite.cli.options import (
    Attributes,
    DataRoot,
    Device,
    Fold,
    Force,
    Isolate,
    OutOfFold,
    Quiet,
    SaveProbabilities,
    SaveRegions,
    SeriesDescription,
    SeriesUid,
    Set,
    Strict,
    TimeLimit,
    Verbose,
    parse_fold,
)
from segsuite.cli.terminal import say
from segsuite.errors import SettingsError

__all__ = ["NOT_FORWARDED", "OF_THE_ARRAY", "add_to"]

OF_THE_ARRAY = ("model", "inputs", "out", "jobs", "script", "hours", "cores", "memory", "gpus", "partition", "quiet", "verbose")
"""What `slurm` itself needs; everything else that it takes is an option of `predict` and goes into the script as it is."""
NOT_FORWARDED = {
    "shard": "the script's own: each job is one part",
    "workers": "the script's own: as many as the job has cores",
    "overwrite": "a job that is submitted again would never go on where it stopped",
    "watched": "a job ends",
    "engine": "another way to spread the cases",
    "dry_run": "asks about this machine",
    "as_json": "the ledger says it",
}
"""Options of `predict` that `slurm` does not take, and why."""


def add_to(app: typer.Typer) -> None:
    """Register the word."""
    app.command("slurm", epilog="Example: segsuite slurm RUN/model scans/ --out masks --jobs 16")(slurm)


def slurm(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")],
    inputs: Annotated[list[Path], typer.Argument(help="Images, DICOM, folders at any depth, zip and tar, manifests.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the masks go; all nodes must see it.")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Parts of the cases, one job each.")],
    script: Annotated[Path, typer.Option("--script", help="Where the script goes.")] = Path("segsuite.sbatch"),
    hours: Annotated[float, typer.Option("--hours", min=0.02, help="For one part.")] = 4.0,
    cores: Annotated[int, typer.Option("--cores", min=1, help="For one part.")] = 4,
    memory: Annotated[int, typer.Option("--memory", min=1, help="GB for one part.")] = 16,
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="For one part.")] = 0,
    partition: Annotated[str | None, typer.Option("--partition", help="Default: the cluster's.")] = None,
    data_root: DataRoot = None,
    fold: Fold = None,
    save_probabilities: SaveProbabilities = False,
    save_regions: SaveRegions = False,
    series_uid: SeriesUid = None,
    series_description: SeriesDescription = None,
    attributes: Attributes = None,
    set_: Set = None,
    force: Force = False,
    strict: Strict = False,
    out_of_fold: OutOfFold = False,
    isolate: Isolate = True,
    time_limit: TimeLimit = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a SLURM job array that predicts in parts, with the options of predict. Submitted again, it does what is left."""
    from segsuite.verbs.spreading import JobArray, write_job_array

    parse_fold(fold)
    if time_limit is not None and not isolate:
        raise SettingsError("--time-limit must have a process that can be ended, got --no-isolate. Leave that away.")
    for path in (data_root, attributes):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} must exist, but nothing is there. Check the path.")
    wishes = JobArray(jobs, hours, cores, memory, gpus, partition)
    path = write_job_array(script, model, inputs, out, wishes, more=_forwarded(context))
    say(f"{path}: submit it with `sbatch {path}`")


def _forwarded(context: typer.Context) -> list[str]:
    """The options of `predict` that were given, as words; paths from the root, since a job may begin elsewhere."""
    words: list[str] = []
    for option in context.command.params:
        value: Any = context.params.get(option.name or "")
        if option.name in OF_THE_ARRAY or value is None or value == option.default:
            continue
        if isinstance(value, bool):
            words.append(option.opts[0] if value else option.secondary_opts[0])
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [option.opts[0], str(one.resolve() if isinstance(one, Path) else one)]
    return words
