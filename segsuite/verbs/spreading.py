"""Words that spread prediction over time and machines: watch a folder, write a job array."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segsuite.engines.inbox import Inbox
from segsuite.engines.model_folder import read_model_folder
from segsuite.engines.prediction import Outcome, ignore
from segsuite.errors import SettingsError, VolumeError
from segsuite.files import make_folder, write_text
from segsuite.verbs.predicting import predict

__all__ = ["JobArray", "watch", "write_job_array"]

SECONDS_TO_FINISH = 120
"""Between SIGTERM and the end of a job's time: the case in hand may take so long."""


def watch(
    model: Path,
    inbox: Path,
    out: Path,
    *,
    poll_s: float = 2.0,
    settle_s: float = 2.0,
    stop: Callable[[], bool],
    on_case: Callable[[str, str], None] = ignore,
    **how: Any,
) -> Outcome:
    """Segment what arrives in a folder, each case once, until told to stop; after a restart too.

    Args:
        model: Model or run folder.
        inbox: Images and DICOM folders, at any depth; need not be there yet. Archives in it are left out.
        out: Where the masks go; must not lie in the inbox.
        poll_s: Seconds between looks.
        settle_s: A file that changed less than so many seconds ago may still be being written.
        stop: When true, the case in hand is finished.
        on_case: Called with case id and result.
        **how: As ``predict`` takes it.

    Returns:
        Counts and failures of all.

    Raises:
        SettingsError: The masks would arrive as images.
    """
    make_folder(inbox)
    if out.resolve().is_relative_to(inbox.resolve()):
        raise SettingsError(f"--out must lie outside the watched folder, got {out} in {inbox}: masks would be taken for images.")
    read_model_folder(model)
    arrived = Inbox(settle_s=settle_s)
    n_done, n_skipped, failures = 0, 0, dict[str, str]()
    while not stop():
        try:
            outcome = predict(model, [inbox], out, choose=arrived.ready, unpack=False, stop=stop, on_case=on_case, **how)
        except VolumeError:  # nothing there yet
            outcome = Outcome(0, 0, {})
        n_done, n_skipped = n_done + outcome.n_done, n_skipped + outcome.n_skipped
        failures |= outcome.failures
        time.sleep(poll_s)
    return Outcome(n_done, n_skipped, failures)


@dataclass(frozen=True)
class JobArray:
    """What a SLURM job array asks for.

    Attributes:
        n_jobs: Parts of the cases.
        hours: For one part.
        cores: For one part.
        memory_gb: For one part.
        gpus: For one part.
        partition: ``None``: the cluster's default.
    """

    n_jobs: int
    hours: float = 4.0
    cores: int = 4
    memory_gb: int = 16
    gpus: int = 0
    partition: str | None = None


def write_job_array(
    script: Path, model: Path, inputs: Sequence[Path], out: Path, jobs: JobArray, *, more: Sequence[str] = ()
) -> Path:
    """A script for ``sbatch`` that predicts in parts; a part that ran out of time goes on when it is submitted again.

    Args:
        script: Where it goes.
        model: Model or run folder.
        inputs: Files, folders, manifests.
        out: Where the masks go, on a file system that all nodes see.
        jobs: What it asks for.
        more: Further words of ``segsuite predict``.

    Returns:
        The script.

    Raises:
        ModelError: No model.
        FileNotFoundError: An input does not exist.
    """
    read_model_folder(model)
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"The input {path} must exist, but nothing is there. Check the path.")
    minutes = max(1, round(jobs.hours * 60))
    wishes = [
        f"--array=1-{jobs.n_jobs}",
        f"--time={minutes // 60:02d}:{minutes % 60:02d}:00",
        f"--cpus-per-task={jobs.cores}",
        f"--mem={jobs.memory_gb}G",
        f"--signal=B:TERM@{SECONDS_TO_FINISH}",
        "--requeue",
        "--job-name=segsuite",
        f"--output={out.resolve()}/slurm-%A_%a.log",
        *([f"--gres=gpu:{jobs.gpus}"] if jobs.gpus else []),
        *([f"--partition={jobs.partition}"] if jobs.partition else []),
    ]
    words = ["segsuite", "predict", str(model.resolve()), *(str(path.resolve()) for path in inputs), "--out", str(out.resolve())]
    command = " ".join(map(shlex.quote, [*words, *more]))
    lines = [
        "#!/usr/bin/env bash",
        "# Submit: sbatch " + shlex.quote(script.name) + "   Again after a failure: what is done is skipped.",
        *(f"#SBATCH {wish}" for wish in wishes),
        "set -euo pipefail",
        f'exec {command} --shard "$SLURM_ARRAY_TASK_ID/{jobs.n_jobs}" --workers "$SLURM_CPUS_PER_TASK"',
    ]
    make_folder(out)  # the log files need it
    write_text(script, "\n".join(lines) + "\n")
    return script
