"""The road of one case from the first look at its files to its ledger line; whatever goes wrong on it belongs to this case.

Every step runs in ``CaseRoad._take``: what it raises, of whatever class, becomes the reason of this case's line. Only what
means that no other case could succeed leaves it.
"""

from __future__ import annotations

import math
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from segsuite.engines.case_outputs import CaseOutputs
from segsuite.engines.case_sizes import MOST_VOXELS_BESIDE, n_voxels, n_voxels_if_many, require_ordinary_files
from segsuite.engines.claims import Claims
from segsuite.engines.input_case import InputCase
from segsuite.engines.ledger import Ledger, LedgerLine, now
from segsuite.engines.outcome import BatchOptions, Outcome
from segsuite.engines.segmentation import Predictor, Request, Segmentation
from segsuite.engines.sources import mark_of, source_of
from segsuite.errors import InputError, OutputFolderError, VolumeError
from segsuite.failures import Step, reason_of, require_living_device, require_usable_folder
from segsuite.files import hash_of_file, hash_of_json, make_folder
from segsuite.volumes.image_files import hash_of_image
from segsuite.volumes.reading import read_channels
from segsuite.volumes.regions import mask_of
from segsuite.volumes.volume import Volume, require_varied

__all__ = ["CaseRoad", "Travelling"]

Known = TypeVar("Known")


@dataclass(eq=False)
class Travelling:
    """A case on its road, and what is known of it so far.

    Attributes:
        case: Which.
        started: When, monotonic.
        was_looked_at: Whether its files are known to be such as can be opened.
        input_hash: Of its files; empty: not known yet.
        volume: Its image, once it is read.
        found: What the network found.
        main: Of what is written, the file that says that the case is done, relative to the output folder.
        output_hash: Of that file.
        notes: For the ledger.
        reason: Why it failed.
        was_done: By an earlier run.
    """

    case: InputCase
    started: float
    was_looked_at: bool = False
    input_hash: str = ""
    volume: Volume | None = None
    found: Segmentation | None = None
    main: str = ""
    output_hash: str = ""
    notes: tuple[str, ...] = ()
    reason: str = ""
    was_done: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do but to say so."""
        return bool(self.reason) or self.was_done


class CaseRoad:
    """The steps of all cases of one batch; each may run in a thread of its own."""

    def __init__(
        self,
        predictor: Predictor,
        out: Path,
        options: BatchOptions,
        on_begin: Callable[[str], None],
        on_case: Callable[[str, str], None],
    ) -> None:
        """Set up.

        Args:
            predictor: The model.
            out: Folder of the masks and of the ledger.
            options: How.
            on_begin: Called with each case id before anything of the case is looked at.
            on_case: Called with case id and ``done``, ``skipped`` or the reason of a failure.

        Raises:
            OutputError: The folder cannot be made.
        """
        self.predictor, self.out, self.options = predictor, out, options
        self.on_begin, self.on_case = on_begin, on_case
        self.ledger = Ledger(make_folder(out), shard=options.shard)
        self.claims = Claims(self.ledger, overwrite=options.overwrite)
        how: list[Any] = [predictor.sha256, options.save_probabilities, options.series_uid, options.force]
        how += ["regions"] if options.save_regions else []
        self.model_hash = hash_of_json(how)
        self.n_done, self.n_skipped = 0, 0
        self.failures: dict[str, str] = {}
        self.one_tells = threading.Lock()

    def outcome(self) -> Outcome:
        """Of all cases so far."""
        return Outcome(self.n_done, self.n_skipped, self.failures, computed_by=self.predictor.computed_by)

    def begin(self, case: InputCase) -> Travelling:
        """Tell that a case is in hand; nothing of it is looked at before."""
        self.on_begin(case.case_id)
        return Travelling(case, time.monotonic())

    def size(self, travelling: Travelling, measure: Callable[[InputCase], float] = n_voxels) -> float:
        """Voxels of a case before it is read.

        Args:
            travelling: From ``begin``.
            measure: Of its files.

        Returns:
            As measured; 0 where reading will say what is wrong; infinite where nobody can tell.
        """
        self._look(travelling)
        if travelling.is_over:
            return 0
        try:
            return measure(travelling.case)
        except (InputError, OSError):
            return 0
        except Exception:
            return math.inf

    def is_large(self, travelling: Travelling) -> bool:
        """Whether a case should be alone in memory, as far as its files tell."""
        return self.size(travelling, n_voxels_if_many) > MOST_VOXELS_BESIDE

    def read(self, travelling: Travelling) -> Travelling:
        """Its image, unless an earlier run has done it and all is unchanged."""
        self._look(travelling)
        self._take(travelling, Step.READING, self._know)
        self._take(travelling, Step.READING, self._read)
        return travelling

    def segment(self, travelling: Travelling) -> Travelling:
        """What the network finds; of the image only its place is kept.

        Raises:
            DeviceError: The GPU does not answer any more.
        """
        self._take(travelling, Step.SEGMENTING, self._segment)
        if travelling.volume is not None:
            travelling.volume.release()
        return travelling

    def store(self, travelling: Travelling) -> None:
        """Its mask, its ledger line, and word of it.

        Raises:
            OutputFolderError: Nothing can be written any more.
        """
        try:
            self._take(travelling, Step.WRITING, self._write)
        except OutputFolderError:
            self.claims.give_up(travelling.main, written=False)
            raise
        with self.one_tells:
            if travelling.was_done:
                self.claims.tidy(travelling.case)
                self.n_skipped += 1
                self.on_case(travelling.case.case_id, "skipped")
                return
            self._take(travelling, Step.RECORDING, self._record)
            self.claims.give_up(travelling.main, written=not travelling.reason)
            if travelling.reason:
                self.ledger.put_down(travelling.case, travelling.reason, line=self._line(travelling))
                self.failures[travelling.case.case_id] = travelling.reason
            else:
                self.n_done += 1
            self.on_case(travelling.case.case_id, travelling.reason or "done")

    def _take(self, travelling: Travelling, step: Step, work: Callable[[Travelling], None]) -> None:
        """One step of a case that is not over: whatever it raises is this case's failure."""
        if travelling.is_over:
            return
        try:
            work(travelling)
        except Exception as error:
            if step in (Step.WRITING, Step.RECORDING):
                require_usable_folder(self.out, error)
            if step is Step.SEGMENTING:
                require_living_device(error)
            travelling.reason = travelling.case.as_given(reason_of(error, step))

    def _look(self, travelling: Travelling) -> None:
        if not travelling.was_looked_at:
            travelling.was_looked_at = True
            self._take(travelling, Step.LOOKING, _require_ordinary_files)

    def _know(self, travelling: Travelling) -> None:
        case = travelling.case
        travelling.input_hash = _hash_of_inputs(case)
        hashes = {"input_hash": travelling.input_hash, "model_hash": self.model_hash}
        travelling.was_done = not self.options.overwrite and self.ledger.is_done(case.case_id, **hashes)
        if not travelling.was_done and self.predictor.structures:  # before hours are spent on it
            self.claims.require_own(case, case.output, input_hash=travelling.input_hash)

    def _read(self, travelling: Travelling) -> None:
        case, n_channels = travelling.case, self.predictor.n_channels
        if case.problem:
            raise VolumeError(case.problem)
        volume = read_channels(case.images, n_channels=n_channels, series_uid=self.options.series_uid)
        require_varied(volume, case=case.case_id)
        travelling.volume = volume

    def _segment(self, travelling: Travelling) -> None:
        case, volume = travelling.case, _known(travelling.volume)
        release = volume.array.size > MOST_VOXELS_BESIDE
        how = self.options
        request = Request(case.case_id, how.save_probabilities, how.force, case.attributes, release, how.save_regions)
        travelling.found = self.predictor.segment(volume, request)

    def _write(self, travelling: Travelling) -> None:
        case, volume, found = travelling.case, _known(travelling.volume), _known(travelling.found)
        outputs = CaseOutputs(self.out / case.output, found, volume)
        travelling.main = outputs.main.relative_to(self.out).as_posix()
        self.claims.take(case, travelling.main)
        self.claims.require_own(case, travelling.main, input_hash=travelling.input_hash)
        for path in outputs.beside:
            self.claims.require_free(case, travelling.main, path.relative_to(self.out).as_posix())
        outputs.write()
        travelling.output_hash = hash_of_file(outputs.main)
        travelling.notes = (*volume.notes, *found.notes, *_absent(found, self.predictor.structures))

    def _record(self, travelling: Travelling) -> None:
        self.ledger.append(self._line(travelling))

    def _line(self, travelling: Travelling) -> LedgerLine:
        case, is_done = travelling.case, not travelling.reason
        return LedgerLine(
            case.case_id,
            "done" if is_done else "failed",
            travelling.main if is_done else case.output,
            travelling.input_hash,
            self.model_hash,
            output_hash=travelling.output_hash if is_done else "",
            reason=travelling.reason,
            seconds=round(time.monotonic() - travelling.started, 3),
            peak_memory_mb=_peak_memory_mb(),
            time=now(),
            notes=travelling.notes if is_done else (),
            computed_by=self.predictor.computed_by if is_done else "",
            source=mark_of(source_of(case)),
        )


def _known(what: Known | None) -> Known:
    """What the step before has made."""
    if what is None:
        raise RuntimeError("A step must come after those that it needs, got it before.")
    return what


def _require_ordinary_files(travelling: Travelling) -> None:
    require_ordinary_files(travelling.case)


def _absent(found: Segmentation, structures: dict[int, str]) -> list[str]:
    """A note per structure, or region, that the mask does not have."""
    labels = found.labels
    named = structures if found.regions is None else found.regions.labels
    return [] if labels is None else [f"no {name} found" for label, name in named.items() if not mask_of(labels, label).any()]


def _hash_of_inputs(case: InputCase) -> str:
    """Content hash of all channels and of what is known; a file that is not there hashes as absent and fails when it is read."""
    files = [hash_of_image(path) if path.exists() else "absent" for path in case.images]
    return hash_of_json([files, case.attributes] if case.attributes else files)


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return math.ceil(peak / (1024 if sys.platform != "darwin" else 1024**2))
