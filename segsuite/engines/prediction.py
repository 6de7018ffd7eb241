"""Batch inference that loses no case: each one ends as a mask and a ledger line, or as a ledger line with its reason."""

from __future__ import annotations

import datetime
import gc
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from segsuite.data.transforms import Preprocessing, prepare_image
from segsuite.engines.inputs import InputCase
from segsuite.engines.label_reduction import reduce_to_labels
from segsuite.engines.ledger import Ledger, LedgerLine
from segsuite.errors import InputError, OutputError
from segsuite.files import hash_of_file, hash_of_json, make_folder
from segsuite.shapes import FloatArray, Image, LabelMap
from segsuite.volumes.components import keep_largest_component_per_label
from segsuite.volumes.reading import image_ending, read_channels
from segsuite.volumes.volume import Volume, require_varied
from segsuite.volumes.writing import write_image, write_mask

__all__ = ["Outcome", "Predictor", "predict_cases", "segment_volume"]


class Predictor(Protocol):
    """What a pipeline hands to the batch engine."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the network's input."""

    @property
    def structures(self) -> dict[int, str]:
        """Integer to name."""

    @property
    def largest_component(self) -> tuple[int, ...]:
        """Labels of which only the largest component is kept."""

    @property
    def class_labels(self) -> tuple[int, ...]:
        """Integer written for each of the network's classes."""

    @property
    def sha256(self) -> str:
        """Changes when anything changes that can change a mask."""

    def rows(self, image: Image) -> Iterator[FloatArray]:
        """Probabilities (classes, rows, j, k) of a prepared image, in order of its first axis."""


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
    on_case: Callable[[str, str], None] | None = None,
) -> Outcome:
    """Segment every case; one bad case never stops the others.

    Args:
        cases: This process's cases.
        predictor: The model.
        out: Folder of the masks and of the ledger.
        shard: Only names the ledger file; the cases are already this shard's.
        overwrite: Do again what is done.
        save_probabilities: Also write ``<name>_probabilities`` with one channel per class.
        series_uid: For DICOM folders with several series: which one.
        on_case: Called with case id and ``done``, ``skipped`` or the reason of a failure.

    Returns:
        Counts and failures.

    Raises:
        OutputError: The output folder itself cannot be written (no permission, disk full): nothing else could succeed.
    """
    ledger = Ledger(make_folder(out), shard=shard)
    model_hash = hash_of_json([predictor.sha256, save_probabilities, series_uid])
    read = partial(read_channels, n_channels=len(predictor.preprocessing.normalisation), series_uid=series_uid)
    n_done, n_skipped, failures = 0, 0, {}
    for case in cases:
        started = time.monotonic()
        input_hash = _hash_of_inputs(case)
        if not overwrite and ledger.is_done(case.case_id, input_hash=input_hash, model_hash=model_hash):
            n_skipped += 1
            result = "skipped"
        else:
            line = LedgerLine(case.case_id, "done", case.output, input_hash, model_hash)
            line = _predict_one(case, read, predictor, out, line, save_probabilities, started)
            ledger.append(line)
            result = line.reason or "done"
            n_done += line.status == "done"
            if line.status == "failed":
                failures[case.case_id] = line.reason
        if on_case is not None:
            on_case(case.case_id, result)
    return Outcome(n_done, n_skipped, failures)


def segment_volume(
    volume: Volume, predictor: Predictor, *, keep_probabilities: bool = False
) -> tuple[LabelMap, FloatArray | None]:
    """One image to its label map on its own grid: the road that prediction and the tests share.

    Args:
        volume: Intensities on their own grid.
        predictor: The model.
        keep_probabilities: Also return (classes, i, j, k).

    Returns:
        Integers (i, j, k), and probabilities or ``None``.
    """
    image, network = prepare_image(volume, predictor.preprocessing)
    classes, probabilities = reduce_to_labels(predictor.rows(image), network, volume.grid, keep_probabilities=keep_probabilities)
    table = np.asarray(predictor.class_labels)
    labels: Any = table.astype(np.uint8 if table.max() <= 255 else np.uint16)[classes]
    return keep_largest_component_per_label(labels, which=predictor.largest_component), probabilities


def _predict_one(
    case: InputCase,
    read: Callable[[Sequence[Path]], Volume],
    predictor: Predictor,
    out: Path,
    line: LedgerLine,
    save_probabilities: bool,
    started: float,
) -> LedgerLine:
    reason, digest = "", ""
    notes: tuple[str, ...] = ()
    try:
        volume = read(case.images)
        require_varied(volume, case=case.case_id)
        labels, probabilities = segment_volume(volume, predictor, keep_probabilities=save_probabilities)
        target = out / case.output
        make_folder(target.parent)
        write_mask(target, labels, like=volume)
        if probabilities is not None:
            _write_probabilities(target, probabilities, volume)
        digest = hash_of_file(target)
        absent = [name for value, name in predictor.structures.items() if not (labels == value).any()]
        notes = tuple(f"no {name} found" for name in absent)
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
            "output_hash": digest,
            "seconds": round(time.monotonic() - started, 3),
            "peak_memory_mb": _peak_memory_mb(),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            "notes": notes,
        }
    )


def _write_probabilities(target: Path, probabilities: FloatArray, volume: Volume) -> None:
    ending = image_ending(target)
    stem = target.name.removesuffix(ending)
    for number, channel in enumerate(probabilities):
        path = target.with_name(f"{stem}_probability_{number}{ending}")
        write_image(path, channel.astype(np.float32), like=volume)


def _hash_of_inputs(case: InputCase) -> str:
    """Content hash of all channels; a file that is not there hashes as absent and fails when it is read."""
    return hash_of_json([hash_of_file(path) if path.exists() else "absent" for path in case.images])


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return math.ceil(peak / (1024 if sys.platform != "darwin" else 1024**2))
