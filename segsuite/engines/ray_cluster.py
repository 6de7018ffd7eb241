"""Batch inference on a Ray cluster: workers that hold one model each; what a dead worker had in hand goes to another.

Cases travel in small batches. A batch is repeated as it is when its worker dies: the ledger skips what is done. A batch that
kills twice is taken apart, and a single case that kills twice is put down as failed. A case that stands still for longer than it
may kills its worker, too.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from segsuite.engines.input_case import InputCase
from segsuite.engines.ledger import Ledger
from segsuite.engines.parcels import Made, Parcel, deliver, make_of, pack
from segsuite.engines.prediction import BatchOptions, Outcome, ignore, open_model, predict_cases
from segsuite.engines.ray_options import RayOptions
from segsuite.engines.segmentation import Predictor
from segsuite.engines.watchdog import Watchdog
from segsuite.errors import DeviceError, InputError, ModelError, SettingsError
from segsuite.failures import Step, reason_of
from segsuite.files import make_folder
from segsuite.volumes.writing import remove_unfinished_outputs

__all__ = ["connected", "predict_on_ray", "worker_count"]

MOST_DEATHS = 2
"""Of one batch; then it is taken apart, or its only case is put down."""
POLL_SECONDS = 0.5


@dataclass(eq=False)
class _Batch:
    cases: list[InputCase]
    n_deaths: int = 0
    was_tried: bool = False
    said: str = ""


@dataclass
class _Results:
    """What is known so far, and who is told of it."""

    on_case: Callable[[str, str], None]
    outcomes: dict[str, str] = field(default_factory=dict)
    n_left: int = 0

    def add(self, case_id: str, result: str) -> None:
        self.outcomes[case_id] = result
        self.on_case(case_id, result)

    def outcome(self) -> Outcome:
        results = list(self.outcomes.values())
        failures = {case: result for case, result in self.outcomes.items() if result not in ("done", "skipped")}
        return Outcome(results.count("done"), results.count("skipped"), failures, self.n_left)


class _Segmenter:
    """Runs on a node of the cluster, in a process of its own."""

    def __init__(self, load: Callable[[], Predictor], out: Path, options: BatchOptions, time_limit_s: float | None) -> None:
        self.load, self.out, self.options = load, out, options
        self.watchdog = Watchdog(time_limit_s)
        self.predictor: Predictor | None = None
        self.opening, self.stopped = threading.Lock(), False

    def open(self) -> None:
        """Open the model; not in ``__init__``: an error there would look like a dead worker."""
        with self.opening:
            if self.predictor is None:
                self.predictor = open_model(self.load)

    def segment(self, batch: list[InputCase] | Parcel) -> Made:
        """Results of the cases, how many were left, and of a parcel all that was made of it."""
        self.open()
        if isinstance(batch, Parcel):
            return make_of(batch, self._work)
        return Made({}, (), *self._work(batch, self.out))

    def _work(self, cases: list[InputCase], out: Path) -> tuple[dict[str, str], int]:
        assert self.predictor is not None  # noqa: S101 - opened above
        results: dict[str, str] = {}

        def end(case_id: str, result: str) -> None:
            self.watchdog.end(case_id)
            results[case_id] = result

        stop, begin = (lambda: self.stopped), self.watchdog.begin
        try:
            outcome = predict_cases(cases, self.predictor, out, self.options, stop=stop, on_begin=begin, on_case=end)
        except DeviceError:
            os._exit(1)  # as good as dead: another worker takes over
        self.watchdog.rest()
        return results, outcome.n_left

    def stop(self) -> None:
        """Finish the case in hand; comes in while ``segment`` runs."""
        self.stopped = True


def predict_on_ray(
    cases: Sequence[InputCase],
    load: Callable[[], Predictor],
    out: Path,
    options: BatchOptions,
    *,
    cluster: RayOptions,
    time_limit_s: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_case: Callable[[str, str], None] = ignore,
) -> Outcome:
    """As ``predict_cases``, on a cluster; its nodes see the same folders, or are sent what they need.

    Args:
        cases: All cases.
        load: Opens the model; called on the nodes, so it must be picklable.
        out: Folder of the masks and of the ledgers, one per worker.
        options: How; its shard is that of no worker.
        cluster: What each worker takes.
        time_limit_s: For one case; ``None``: no limit.
        stop: When true, the cases in hand are finished and the rest is left.
        on_case: Called with case id and ``done``, ``skipped`` or the reason of a failure.

    Returns:
        Counts and failures.

    Raises:
        SettingsError: The cluster has no room for a single worker.
        ModelError: The model cannot be opened, or kills the workers.
        OutputError: The output folder cannot be written.
    """
    with connected(cluster.address):
        waiting = deque(_Batch(list(cases[at : at + cluster.batch])) for at in range(0, len(cases), cluster.batch))
        n = min(worker_count(cluster), len(waiting))
        kind: Any = ray.remote(_Segmenter)
        # a second thread, so that `stop` is heard while a batch is in hand
        kind = kind.options(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_concurrency=2)

        def hire(number: int) -> _Worker:
            shard = (number + 1, n)  # names a ledger of its own
            return _Worker(number, kind.remote(load, out.resolve(), replace(options, shard=shard), time_limit_s))

        crew = _Crew(n, hire, Ledger(make_folder(out.resolve())), sends=cluster.files == "sent")
        still = "" if time_limit_s is None else f" or stood still for {time_limit_s:g} s"
        return _work_off(waiting, crew, stop, _Results(on_case), death=f"the worker that segmented it died{still}")


def _work_off(waiting: deque[_Batch], crew: _Crew, stop: Callable[[], bool], results: _Results, *, death: str) -> Outcome:
    was_told = False
    while waiting or crew.in_hand:
        if stop() and not was_told:
            was_told = True
            results.n_left += sum(len(batch.cases) for batch in waiting)
            waiting.clear()
            crew.stop()
        crew.hand_out(waiting, results)
        for batch, answer in crew.finished():
            if answer is None:
                _after_death(batch, waiting, crew, results, death=batch.said or f"{death}, {batch.n_deaths} times")
                continue
            told = deliver(answer, crew.ledger, batch.cases)
            results.n_left += answer.n_left
            for case_id, said in told.items():
                results.add(case_id, "done" if said == "skipped" and batch.was_tried else said)  # a dead worker had finished it
    return results.outcome()


def _after_death(batch: _Batch, waiting: deque[_Batch], crew: _Crew, results: _Results, *, death: str) -> None:
    for case in batch.cases:
        remove_unfinished_outputs(crew.ledger.folder / case.output)
    if batch.n_deaths < MOST_DEATHS:
        waiting.appendleft(batch)
    else:
        _take_apart(batch, waiting, crew.ledger, results, reason=death)


def _take_apart(batch: _Batch, waiting: deque[_Batch], ledger: Ledger, results: _Results, *, reason: str) -> None:
    """Each case of a batch that does not go through is tried alone; one that is alone already has failed."""
    if len(batch.cases) > 1:
        waiting.extendleft(_Batch([case], was_tried=batch.was_tried) for case in reversed(batch.cases))
        return
    ledger.put_down(batch.cases[0], reason)
    results.add(batch.cases[0].case_id, reason)


class _Worker:
    """A process on a node, by the number of its ledger."""

    def __init__(self, number: int, handle: Any) -> None:
        self.number, self.handle = number, handle
        self.opening = handle.open.remote()

    def has_opened(self) -> bool:
        """Whether it came so far as to work on a case."""
        ready, _ = ray.wait([self.opening], timeout=0)
        try:
            return bool(ready) and ray.get(self.opening) is None
        except RayActorError:
            return False


class _Crew:
    """The workers and what each has in hand; a dead one is replaced."""

    def __init__(self, n: int, hire: Callable[[int], _Worker], ledger: Ledger, *, sends: bool) -> None:
        self.hire, self.ledger, self.sends = hire, ledger, sends
        self.idle = [hire(number) for number in range(n)]
        self.in_hand: dict[Any, tuple[_Worker, _Batch]] = {}
        self.openings_left = max(MOST_DEATHS, n)

    def hand_out(self, waiting: deque[_Batch], results: _Results) -> None:
        while waiting and self.idle:
            batch = waiting.popleft()
            try:
                what = pack(batch.cases, self.ledger) if self.sends else batch.cases
            except Exception as error:
                _take_apart(batch, waiting, self.ledger, results, reason=reason_of(error, Step.READING))
                continue
            worker = self.idle.pop(0)
            self.in_hand[worker.handle.segment.remote(what)] = (worker, batch)

    def finished(self) -> Iterator[tuple[_Batch, Made | None]]:
        """Batches that are over, with their results; ``None``: the worker died of it, or it did not come through."""
        ready, _ = ray.wait(list(self.in_hand), timeout=POLL_SECONDS) if self.in_hand else ([], [])
        for reference in ready:
            worker, batch = self.in_hand.pop(reference)
            answer = None
            try:
                answer = ray.get(reference)
            except RayTaskError as error:
                cause: BaseException = error.cause or error
                if isinstance(cause, InputError | FileNotFoundError):
                    raise cause from None
                batch.said = reason_of(cause, Step.SEGMENTING)
                batch.n_deaths += 1
            except RayActorError as error:
                batch.was_tried = True
                self._count_death(worker, batch, was_ended=bool(error.preempted))
                worker = self.hire(worker.number)
            self.idle.append(worker)
            yield batch, answer

    def stop(self) -> None:
        for worker, _ in self.in_hand.values():
            worker.handle.stop.remote()

    def _count_death(self, worker: _Worker, batch: _Batch, *, was_ended: bool) -> None:
        """A death counts for the batch, unless the worker had not even opened the model."""
        if was_ended:
            return
        if worker.has_opened():
            batch.n_deaths += 1
            return
        self.openings_left -= 1
        if self.openings_left < 0:
            raise ModelError("The workers must begin with the cases, but they die while they open the model. Is memory short?")


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to the cluster, ended by its maker only.

    Args:
        address: As in ``RayOptions``.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing dials out
    ray.init(
        address=address or None, include_dashboard=None if address else False, log_to_driver=False, logging_level=logging.ERROR
    )
    try:
        yield
    finally:
        ray.shutdown()


def worker_count(cluster: RayOptions) -> int:
    """As many workers as were asked for, or as fit into the cluster as it is.

    Args:
        cluster: What each takes.

    Raises:
        SettingsError: None was asked for, and none fits.
    """
    if cluster.workers:
        return cluster.workers
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    fits = int(resources.get("CPU", 0) / cluster.cpus)
    if cluster.gpus:
        fits = min(fits, int(resources.get("GPU", 0) / cluster.gpus + 1e-6))
    if fits < 1:
        raise SettingsError(
            f"The cluster must have room for a worker of {cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs, got "
            f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs."
        )
    return fits
