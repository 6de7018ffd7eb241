"""The process that holds the model and segments one case after the other; it is replaced when it dies or stands still."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from segsuite.engines.input_case import InputCase
from segsuite.engines.prediction import BatchOptions, open_model, predict_cases
from segsuite.engines.segmentation import Predictor
from segsuite.errors import DeviceError, ModelError

__all__ = ["DONE", "Worker"]

DONE = "done"
Load = Callable[[], Predictor]

_held: list[Predictor] = []
"""In the child: the model, once it is loaded."""


class Worker:
    """Segments in a child process: what kills it or hangs costs one case."""

    def __init__(self, load: Load, options: BatchOptions, *, time_limit_s: float | None) -> None:
        """Start the child and open the model in it.

        Args:
            load: Opens the model; called in the child, so it must be picklable.
            options: How cases are segmented.
            time_limit_s: For one case, a restart's loading included; ``None``: no limit.

        Raises:
            ModelError: The model cannot be opened, or the process dies of it.
        """
        self.load, self.options, self.time_limit_s = load, options, time_limit_s
        self._pool = _new_pool()
        try:
            self._pool.submit(_open, load).result()
        except BrokenProcessPool as error:
            raise ModelError("The process that segments must open the model, but it died of it. Is memory short?") from error

    def segment(self, case: InputCase, out: Path) -> str:
        """Segment one case.

        Args:
            case: Its images and the name of its mask.
            out: Folder of the mask.

        Returns:
            ``done``, or why not.
        """
        try:
            future: Future[str] = self._pool.submit(_segment, self.load, case, out, self.options)
            return future.result(timeout=self.time_limit_s)
        except BrokenProcessPool:
            reason = "the process that segmented it died; is memory short?"
        except TimeoutError:
            reason = f"it took longer than {self.time_limit_s:g} s and was ended"
        except DeviceError as error:
            reason = f"the process that segmented it {error}"
        self.close()
        self._pool = _new_pool()
        return reason

    def close(self) -> None:
        """End the child, whatever it does."""
        for process in list((self._pool._processes or {}).values()):  # a pool has no public word for it before 3.14
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _new_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    """The parent hears them and ends the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open(load: Load) -> None:
    if not _held:
        _held.append(open_model(load))


def _segment(load: Load, case: InputCase, out: Path, options: BatchOptions) -> str:
    _open(load)
    outcome = predict_cases([case], _held[0], out, options, ahead=False)
    return outcome.failures.get(case.case_id, DONE)
