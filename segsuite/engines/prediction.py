"""Batch inference that loses no case: each one ends as a mask and a ledger line, or as a ledger line with its reason."""

from __future__ import annotations

import gc
import itertools
import math
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segsuite.engines.inputs import InputCase
from segsuite.engines.lanes import BusyClock, most_voxels_in_hand, run_in_lanes
from segsuite.engines.ledger import Ledger, LedgerLine, now
from segsuite.engines.overlap import Conveyor
from segsuite.engines.segmentation import Predictor, Request, Segmentation
from segsuite.errors import InputError, OutputError
from segsuite.files import hash_of_file, hash_of_json, make_folder, write_json
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.reading import read_channels, read_grid
from segsuite.volumes.regions import mask_of
from segsuite.volumes.volume import Volume, require_varied
from segsuite.volumes.writing import side_volume, write_image, write_mask

__all__ = ["BatchOptions", "Outcome", "ignore", "predict_cases"]

MOST_VOXELS_BESIDE = 60_000_000
"""Of a case, all channels, that may be read or written while another is segmented; a larger one gives its voxels up early."""
MOST_COMPRESSION = 1032
"""Values per byte of a file, at most: what deflate can do."""
DICOM_BYTES = 2
"""Per voxel of a slice."""


@dataclass(frozen=True)
class Outcome:
    """How a batch ended.

    Attributes:
        n_done: Masks made now.
        n_skipped: Masks that were there, unchanged.
        failures: Case id to reason.
        n_left: Cases that were not begun, because the batch was told to stop.
        busy_share: Share of the time in which the network was not waiting for reading or writing.
        computed_by: Engine, number format and device; empty where several processes may have had different ones.
    """

    n_done: int
    n_skipped: int
    failures: dict[str, str]
    n_left: int = 0
    busy_share: float = field(default=1.0, compare=False)
    computed_by: str = field(default="", compare=False)

    @property
    def exit_code(self) -> int:
        """0 all, 2 some failed, 3 all failed, 130 stopped before the end."""
        if self.n_left:
            return 130
        if not self.failures:
            return 0
        return 2 if self.n_done + self.n_skipped else 3


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is segmented.

    Attributes:
        shard: Only names the ledger file; the cases are already this shard's.
        overwrite: Do again what is done.
        save_probabilities: Also write ``<name>_probability_<label>`` for every label.
        series_uid: For DICOM folders with several series: which one.
        force: Segment also what the model takes for another kind of image.
        save_regions: Also write ``<name>_region_<region>`` for every region of a model that decides regions.
    """

    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False
    save_probabilities: bool = False
    series_uid: str | None = None
    force: bool = False
    save_regions: bool = False


def ignore(*_: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, eq=False)
class _Read:
    """A case that was read, or why it was not, or that it needs no work."""

    case: InputCase
    input_hash: str
    started: float
    volume: Volume | None = None
    reason: str = ""


def predict_cases(
    cases: Sequence[InputCase],
    predictor: Predictor,
    out: Path,
    options: BatchOptions = BatchOptions(),
    *,
    ahead: bool = True,
    stop: Callable[[], bool] = lambda: False,
    on_begin: Callable[[str], None] = ignore,
    on_case: Callable[[str, str], None] = ignore,
) -> Outcome:
    """Segment every case; one bad case never stops the others.

    The next case is read and the last one written while the network works; where the predictor has a GPU, several cases are in
    hand from reading to writing.

    Args:
        cases: This process's cases.
        predictor: The model.
        out: Folder of the masks and of the ledger.
        options: How.
        ahead: ``False``: one case after the other, nothing at the same time, whatever the predictor allows.
        stop: Asked before each case; when true, the case in hand is finished and the rest is left.
        on_begin: Called with each case id when it is read; in another thread.
        on_case: Called with case id and ``done``, ``skipped`` or the reason of a failure; in another thread.

    Returns:
        Counts and failures.

    Raises:
        OutputError: The output folder itself cannot be written (no permission, disk full): nothing else could succeed.
    """
    batch = _Batch(predictor, out, options, on_begin, on_case)
    if ahead and predictor.n_at_once > 1:
        return _predict_in_lanes(cases, batch, predictor.n_at_once, stop)
    n_begun = 0
    with Conveyor(batch.read, ahead=ahead, is_large=_is_large) as conveyor:
        for read in conveyor.items(_until(stop, cases)):
            if n_begun and stop():
                break
            n_begun += 1
            conveyor.put_away(batch.segment(read))
            del read  # or a large one would stay while the next is read
    return replace(batch.outcome(), n_left=len(cases) - n_begun, busy_share=conveyor.waiting.busy_share)


def _predict_in_lanes(cases: Sequence[InputCase], batch: _Batch, n_lanes: int, stop: Callable[[], bool]) -> Outcome:
    clock = BusyClock()

    def work(case: InputCase) -> None:
        read = batch.read(case)
        with clock.inside():
            store = batch.segment(read)
        store()

    n_begun = run_in_lanes(cases, work, n_lanes=n_lanes, size=_n_voxels, capacity=most_voxels_in_hand(), stop=stop)
    return replace(batch.outcome(), n_left=len(cases) - n_begun, busy_share=clock.busy_share)


def _is_large(case: InputCase) -> bool:
    """Whether a case should be alone in memory, as far as its files tell."""
    try:
        bytes_of_files = sum(image.stat().st_size for image in case.images if image.is_file())
    except OSError:
        return False  # reading says what is wrong
    if not any(image.is_dir() for image in case.images) and bytes_of_files * MOST_COMPRESSION <= MOST_VOXELS_BESIDE:
        return False  # without opening them
    return _n_voxels(case) > MOST_VOXELS_BESIDE


def _n_voxels(case: InputCase) -> float:
    """Of all channels, from the headers; 0 where they cannot be read: reading says what is wrong."""
    try:
        return sum(map(_n_voxels_of_image, case.images))
    except (InputError, OSError):
        return 0


def _n_voxels_of_image(image: Path) -> float:
    if image.is_dir():
        return sum(part.stat().st_size for part in image.iterdir()) / DICOM_BYTES
    return math.prod(read_grid(image).shape)


def _until(stop: Callable[[], bool], cases: Sequence[InputCase]) -> Iterator[InputCase]:
    return itertools.takewhile(lambda _: not stop(), cases)


class _Batch:
    """Reading, segmenting and storing of one batch; reading and storing run in threads of their own."""

    def __init__(
        self,
        predictor: Predictor,
        out: Path,
        options: BatchOptions,
        on_begin: Callable[[str], None],
        on_case: Callable[[str, str], None],
    ) -> None:
        self.predictor, self.out, self.options = predictor, out, options
        self.on_begin, self.on_case = on_begin, on_case
        self.ledger = Ledger(make_folder(out), shard=options.shard)
        how: list[Any] = [predictor.sha256, options.save_probabilities, options.series_uid, options.force]
        how += ["regions"] if options.save_regions else []
        self.model_hash = hash_of_json(how)
        self.n_done, self.n_skipped = 0, 0
        self.failures: dict[str, str] = {}
        self.one_tells = threading.Lock()

    def outcome(self) -> Outcome:
        return Outcome(self.n_done, self.n_skipped, self.failures, computed_by=self.predictor.computed_by)

    def read(self, case: InputCase) -> _Read:
        self.on_begin(case.case_id)
        read = _Read(case, _hash_of_inputs(case), time.monotonic())
        if not self.options.overwrite and self.ledger.is_done(
            case.case_id, input_hash=read.input_hash, model_hash=self.model_hash
        ):
            return read
        try:
            volume = read_channels(case.images, n_channels=self.predictor.n_channels, series_uid=self.options.series_uid)
            require_varied(volume, case=case.case_id)
        except (InputError, FileNotFoundError, MemoryError) as error:
            return replace(read, reason=_reason(error))
        return replace(read, volume=volume)

    def segment(self, read: _Read) -> Callable[[], None]:
        """What is left to do when the network is done."""
        case, volume = read.case, read.volume
        if volume is None and not read.reason:
            return partial(self._skip, case.case_id)
        found, reason = None, read.reason
        if volume is not None:
            release = volume.array.size > MOST_VOXELS_BESIDE
            how = self.options
            request = Request(case.case_id, how.save_probabilities, how.force, case.attributes, release, how.save_regions)
            try:
                found = self.predictor.segment(volume, request)
            except OutputError:
                raise
            except (InputError, FileNotFoundError, MemoryError, RuntimeError) as error:
                reason = _reason(error)
        if volume is not None:
            volume.release()  # writing needs only where they lie
        return partial(self._store, read, found, reason)

    def _skip(self, case_id: str) -> None:
        with self.one_tells:
            self.n_skipped += 1
            self.on_case(case_id, "skipped")

    def _store(self, read: _Read, found: Segmentation | None, reason: str) -> None:
        case = read.case
        output, digest = case.output, ""
        notes: tuple[str, ...] = ()
        if found is not None and read.volume is not None:
            try:
                written = _write(self.out / case.output, found, read.volume)
                output, digest = written.relative_to(self.out).as_posix(), hash_of_file(written)
                notes = (*found.notes, *_absent(found, self.predictor.structures))
            except OutputError:
                raise
            except (InputError, MemoryError) as error:
                reason = _reason(error)
        line = LedgerLine(
            case.case_id,
            "failed" if reason else "done",
            output,
            read.input_hash,
            self.model_hash,
            output_hash=digest,
            reason=reason,
            seconds=round(time.monotonic() - read.started, 3),
            peak_memory_mb=_peak_memory_mb(),
            time=now(),
            notes=notes,
            computed_by=self.predictor.computed_by,
        )
        with self.one_tells:
            self.ledger.append(line)
            self.n_done += not reason
            if reason:
                self.failures[case.case_id] = reason
            self.on_case(case.case_id, reason or "done")


def _reason(error: BaseException) -> str:
    """One sentence; torch reports an exhausted device and a failed allocation as RuntimeError."""
    if isinstance(error, MemoryError):
        gc.collect()
        return f"out of memory ({error}): use a machine with more memory, or a model with a larger spacing"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU; torch is not loaded here
        return f"out of memory on the GPU ({str(error).split('. ')[0]}): take fewer cases at once (--workers 1), or --device cpu"
    if isinstance(error, RuntimeError):
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else repr(error)}"
    return str(error)


def _absent(found: Segmentation, structures: dict[int, str]) -> list[str]:
    """A note per structure, or region, that the mask does not have."""
    labels = found.labels
    named = structures if found.regions is None else found.regions.labels
    return [] if labels is None else [f"no {name} found" for label, name in named.items() if not mask_of(labels, label).any()]


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
        channels = zip(found.channel_words, found.probabilities, strict=True)
        volumes |= {f"probability_{word}": channel for word, channel in channels}
    for word, inside in found.region_masks():
        write_mask(side_volume(target, f"region_{word}"), inside, like=volume)
    for name, channel in volumes.items():
        write_image(side_volume(target, name), channel.astype(np.float32), like=volume)
    report = target.with_name(f"{without_ending(target.name)}_report.json")
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
