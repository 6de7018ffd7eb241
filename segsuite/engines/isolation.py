"""Segmenting in a process of its own: what kills it (a crash in a reader, the system's memory guard) or hangs is one ledger line.

The child works through the cases. When it dies or stands still, the cases that it had in hand are tried again one by one, and
the one that does it again is put down as failed; the rest goes on in a new child.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from segsuite.engines.input_case import InputCase
from segsuite.engines.ledger import Ledger
from segsuite.engines.prediction import BatchOptions, Outcome, ignore, open_model, predict_cases
from segsuite.engines.segmentation import Predictor
from segsuite.engines.spare_process import WorkProcess, named_end, take_process
from segsuite.errors import DeviceError, InputError, ModelError
from segsuite.failures import Step, reason_of
from segsuite.volumes.writing import remove_unfinished_outputs

__all__ = ["predict_isolated"]

POLL_SECONDS = 0.2
OnCase = Callable[[str, str], None]


@dataclass
class _Seen:
    """What a child told before its end.

    Attributes:
        in_hand: Cases that it had begun and not finished.
        over: Cases that it had finished, with their results.
        outcome: How it ended; ``None``: it died or was killed.
        death: What happened, where it died.
    """

    in_hand: list[str] = field(default_factory=list)
    over: dict[str, str] = field(default_factory=dict)
    outcome: Outcome | None = None
    death: str = ""


def predict_isolated(
    cases: Sequence[InputCase],
    load: Callable[[], Predictor],
    out: Path,
    options: BatchOptions,
    *,
    time_limit_s: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_case: OnCase = ignore,
) -> Outcome:
    """As ``predict_cases``, in a child process that may die.

    Args:
        cases: This process's cases.
        load: Opens the model; called in the child, so it must be picklable.
        out: Folder of the masks and of the ledger.
        options: How.
        time_limit_s: For one case; ``None``: no limit.
        stop: When true, the case in hand is finished and the rest is left.
        on_case: Called with case id and ``done``, ``skipped`` or the reason of a failure.

    Returns:
        Counts and failures.

    Raises:
        OutputError: The output folder cannot be written.
        ModelError: The model cannot be opened, or the process dies before it has begun a case.
    """
    left, suspected = list(cases), set[str]()
    results: dict[str, str] = {}
    while True:
        left.sort(key=lambda case: case.case_id not in suspected)  # suspects first, otherwise in order
        seen = _run_child(_Child(left, len(suspected), load, out, options), time_limit_s, stop, on_case)
        results |= seen.over
        if seen.outcome is not None:
            last = seen.outcome
            return replace(_counted(results), n_left=last.n_left, busy_share=last.busy_share, computed_by=last.computed_by)
        if not seen.in_hand and not seen.over:
            raise ModelError(f"The process that segments must begin with the cases, but it {seen.death} before. Is memory short?")
        left = [case for case in left if case.case_id not in seen.over]
        for case in left:
            if case.case_id in seen.in_hand:
                remove_unfinished_outputs(out / case.output)
        suspected = (suspected | set(seen.in_hand)) - set(seen.over)
        if len(seen.in_hand) == 1:
            culprit = next(case for case in left if case.case_id == seen.in_hand[0])
            reason = f"the process that segmented it {seen.death}"
            Ledger(out, shard=options.shard).put_down(culprit, reason)
            results[culprit.case_id] = reason
            on_case(culprit.case_id, reason)
            left.remove(culprit)
            suspected.discard(culprit.case_id)


def _counted(results: dict[str, str]) -> Outcome:
    failures = {case: result for case, result in results.items() if result not in ("done", "skipped")}
    return Outcome(list(results.values()).count("done"), list(results.values()).count("skipped"), failures)


@dataclass(frozen=True)
class _Child:
    """What a child process is told to do; the first ``n_careful`` cases one after the other."""

    cases: list[InputCase]
    n_careful: int
    load: Callable[[], Predictor]
    out: Path
    options: BatchOptions

    def work(self, told: Connection, stopped: Any) -> None:
        """Runs in the child."""
        try:
            outcome = self._predict(_Teller(told), stopped.is_set)
        except DeviceError as error:
            told.send(("death", str(error)))  # as good as dead
        except Exception as error:
            told.send(("error", _sendable(error)))
        else:
            told.send(("outcome", outcome))

    def _predict(self, teller: _Teller, stop: Callable[[], bool]) -> Outcome:
        predictor = open_model(self.load)
        careful, rest = self.cases[: self.n_careful], self.cases[self.n_careful :]
        run = partial(predict_cases, stop=stop, on_begin=teller.begin)
        first = run(careful, predictor, self.out, self.options, ahead=False, on_case=teller.end_of_second_try)
        second = run(rest, predictor, self.out, self.options, on_case=teller.end)
        return replace(second, n_left=first.n_left + second.n_left)


class _Teller:
    """Tells the parent of every case; called from several threads."""

    def __init__(self, told: Connection) -> None:
        self.told, self.lock = told, threading.Lock()

    def begin(self, case_id: str) -> None:
        with self.lock:
            self.told.send(("begin", case_id))

    def end(self, case_id: str, result: str) -> None:
        with self.lock:
            self.told.send(("end", (case_id, result)))

    def end_of_second_try(self, case_id: str, result: str) -> None:
        """What the first try finished before its process died, and could not tell any more, is not there from another time."""
        self.end(case_id, "done" if result == "skipped" else result)


def _run_child(child: _Child, time_limit_s: float | None, stop: Callable[[], bool], on_case: OnCase) -> _Seen:
    """Start a child, listen until it ends, kill it when it stands still."""
    started = take_process()
    started.begin(child.work)
    try:
        return _listen(started, time_limit_s, stop, on_case)
    finally:
        started.end()


def _listen(child: WorkProcess, time_limit_s: float | None, stop: Callable[[], bool], on_case: OnCase) -> _Seen:
    seen, limit = _Seen(), math.inf if time_limit_s is None else time_limit_s
    oldest, since = "", time.monotonic()
    while True:
        if seen.in_hand[:1] != [oldest]:  # others may end beside one that hangs: each is timed once it is the oldest
            oldest, since = (seen.in_hand or [""])[0], time.monotonic()
        if stop():
            child.stopped.set()
        if not child.heard.poll(0 if time.monotonic() - since > limit else POLL_SECONDS):
            if seen.in_hand and time.monotonic() - since > limit:
                seen.death = f"stood still for {limit:g} s and was ended"
                return seen
            continue
        try:
            kind, content = child.heard.recv()
        except (EOFError, ConnectionResetError):
            child.process.join()
            seen.death = named_end(child.process.exitcode)
            return seen
        if kind == "begin":
            seen.in_hand.append(content)
        elif kind == "end":
            case_id, result = content
            seen.in_hand.remove(case_id)
            seen.over[case_id] = result
            on_case(case_id, result)
        elif kind == "error":
            raise content
        elif kind == "death":
            seen.death = content
            return seen
        else:
            seen.outcome = content
            return seen


def _sendable(error: Exception) -> Exception:
    """The same error without what cannot be pickled."""
    known = isinstance(error, InputError | FileNotFoundError)
    return type(error)(str(error)) if known else InputError(reason_of(error, Step.SEGMENTING))
