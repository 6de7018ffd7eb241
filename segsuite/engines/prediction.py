"""Batch inference that loses no case: each one ends as a mask and a ledger line, or as a ledger line with its reason."""

from __future__ import annotations

import datetime
import gc
import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segsuite.engines.inputs import InputCase
from segsuite.engines.ledger import Ledger, LedgerLine
from segsuite.engines.segmentation import Predictor, Request, Segmentation
from segsuite.errors import InputError, OutputError
from segsuite.files import hash_of_file, hash_of_json, make_folder, write_json
from segsuite.volumes.reading import image_ending, read_channels
from segsuite.volumes.volume import Volume, require_varied
from segsuite.volumes.writing import side_volume, write_image, write_mask

__all__ = ["Outcome", "predict_cases"]


@dataclass(frozen=True)
class Outcome:
    """How a batch ended.

    Attributes:
        n_done: Masks made now.
        n_skipped: Masks that were there, unchanged.
        failures: Case id to reason.
    """

    n_done: int
    n_skipped: int
    failures: dict[str, str]

    @property
    def exit_code(self) -> int:
        """0 all, 2 some failed, 3 all failed."""
        if not self.failures:
            return 0
        return 2 if self.n_done + self.n_skipped else 3


def predict_cases(
    cases: Sequence[InputCase],
    predictor: Predictor,
    out: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    save_probabilities: bool = False,
    series_uid: str | None = None,
    force: bool = False,
    on_case: Callable[[str, str], None] | None = None,
) -> Outcome:
    """Segment every case; one bad case never stops the others.

    Args:
        cases: This process's cases.
        predictor: The model.
        out: Folder of the masks and of the ledger.
        shard: Only names the ledger file; the cases are already this shard's.
        overwrite: Do again what is done.
        save_probabilities: Also write ``<name>_probability_<label>`` for every label.
        series_uid: For DICOM folders with several series: which one.
        force: Segment also what the model takes for another kind of image.
        on_case: Called with case id and ``done``, ``skipped`` or the reason of a failure.

    Returns:
        Counts and failures.

    Raises:
        OutputError: The output folder itself cannot be written (no permission, disk full): nothing else could succeed.
    """
    ledger = Ledger(make_folder(out), shard=shard)
    model_hash = hash_of_json([predictor.sha256, save_probabilities, series_uid, force])
    read = partial(read_channels, n_channels=predictor.n_channels, series_uid=series_uid)
    n_done, n_skipped, failures = 0, 0, {}
    for case in cases:
        started = time.monotonic()
        input_hash = _hash_of_inputs(case)
        if not overwrite and ledger.is_done(case.case_id, input_hash=input_hash, model_hash=model_hash):
            n_skipped += 1
            result = "skipped"
        else:
            line = LedgerLine(case.case_id, "done", case.output, input_hash, model_hash)
            request = Request(case.case_id, save_probabilities, force, case.attributes)
            line = _predict_one(case, read, predictor, out, line, request, started)
            ledger.append(line)
            result = line.reason or "done"
            n_done += line.status == "done"
            if line.status == "failed":
                failures[case.case_id] = line.reason
        if on_case is not None:
            on_case(case.case_id, result)
    return Outcome(n_done, n_skipped, failures)


def _predict_one(
    case: InputCase,
    read: Callable[[Sequence[Path]], Volume],
    predictor: Predictor,
    out: Path,
    line: LedgerLine,
    request: Request,
    started: float,
) -> LedgerLine:
    reason, digest, output = "", "", line.output
    notes: tuple[str, ...] = ()
    try:
        volume = read(case.images)
        require_varied(volume, case=case.case_id)
        found = predictor.segment(volume, request)
        written = _write(out / case.output, found, volume)
        output, digest = written.relative_to(out).as_posix(), hash_of_file(written)
        notes = (*found.notes, *_absent(found, predictor.structures))
    except OutputError:
        raise
    except MemoryError as error:
        gc.collect()
        reason = f"out of memory ({error}): use a machine with more memory, or a model with a larger spacing"
    except (InputError, FileNotFoundError) as error:
        reason = str(error)
    except RuntimeError as error:
        # torch reports an exhausted device and a failed allocation as RuntimeError: this case fails, the others go on
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else error!r}"
    return LedgerLine(
        **{
            **line.__dict__,
            "status": "failed" if reason else "done",
            "reason": reason,
            "output": output,
            "output_hash": digest,
            "seconds": round(time.monotonic() - started, 3),
            "peak_memory_mb": _peak_memory_mb(),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            "notes": notes,
        }
    )


def _absent(found: Segmentation, structures: dict[int, str]) -> list[str]:
    """A note per structure that the mask does not have."""
    labels = found.labels
    return [] if labels is None else [f"no {name} found" for value, name in structures.items() if not (labels == value).any()]


def _write(target: Path, found: Segmentation, volume: Volume) -> Path:
    """All that was found; the mask itself comes last. What is returned is the file that says that the case is done."""
    make_folder(target.parent)
    report = _write_more(target, found, volume)
    if found.labels is None:
        return report
    write_mask(target, found.labels, like=volume)
    return target


def _write_more(target: Path, found: Segmentation, volume: Volume) -> Path:
    """What belongs to a mask, beside it: probabilities, more volumes, a report, whose place is returned."""
    volumes = {f"map_{name}": channel for name, channel in found.volumes.items()}
    if found.probabilities is not None:
        channels = zip(found.class_labels, found.probabilities, strict=True)
        volumes |= {f"probability_{label}": channel for label, channel in channels}
    for name, channel in volumes.items():
        write_image(side_volume(target, name), channel.astype(np.float32), like=volume)
    report = target.with_name(f"{target.name.removesuffix(image_ending(target))}_report.json")
    if found.report is not None:
        write_json(report, dict(found.report))
    return report


def _hash_of_inputs(case: InputCase) -> str:
    """Content hash of all channels and of what is known; a file that is not there hashes as absent and fails when it is read."""
    files = [hash_of_file(path) if path.exists() else "absent" for path in case.images]
    return hash_of_json([files, case.attributes] if case.attributes else files)


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return math.ceil(peak / (1024 if sys.platform != "darwin" else 1024**2))
