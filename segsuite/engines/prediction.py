"""Batch inference that loses no case: each one ends as a mask and a ledger line, or as a ledger line with its reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from segsuite.engines.case_road import CaseRoad, Travelling
from segsuite.engines.input_case import InputCase
from segsuite.engines.lanes import BusyClock, most_voxels_in_hand, run_in_lanes
from segsuite.engines.outcome import AS_USUAL, BatchOptions, Outcome, ignore
from segsuite.engines.overlap import Conveyor
from segsuite.engines.segmentation import Predictor
from segsuite.errors import InputError, ModelError
from segsuite.failures import Step, reason_of

__all__ = ["BatchOptions", "Outcome", "ignore", "open_model", "predict_cases"]


def predict_cases(
    cases: Sequence[InputCase],
    predictor: Predictor,
    out: Path,
    options: BatchOptions = AS_USUAL,
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
        on_begin: Called with each case id before the first look at its files; in another thread.
        on_case: Called with case id and ``done``, ``skipped`` or the reason of a failure; in another thread.

    Returns:
        Counts and failures.

    Raises:
        OutputFolderError: Nothing can be written to the output folder (no permission, disk full): nothing else could succeed.
        OutputError: The output folder cannot be made.
        DeviceError: The GPU does not answer any more: only another process could succeed.
    """
    road = CaseRoad(predictor, out, options, on_begin, on_case)
    if ahead and predictor.n_at_once > 1:
        return _predict_in_lanes(cases, road, predictor.n_at_once, stop)
    n_begun = 0
    with Conveyor(road.read, ahead=ahead, is_large=road.is_large) as conveyor:
        for travelling in conveyor.items(map(road.begin, _until(stop, cases))):
            if n_begun and stop():
                break
            n_begun += 1
            conveyor.put_away(partial(road.store, road.segment(travelling)))
            del travelling  # or a large one would stay while the next is read
    return replace(road.outcome(), n_left=len(cases) - n_begun, busy_share=conveyor.waiting.busy_share)


def _predict_in_lanes(cases: Sequence[InputCase], road: CaseRoad, n_lanes: int, stop: Callable[[], bool]) -> Outcome:
    clock, capacity = BusyClock(), most_voxels_in_hand()

    def size(travelling: Travelling) -> float:
        return min(road.size(travelling), capacity)

    def work(travelling: Travelling) -> None:
        road.read(travelling)
        with clock.inside():
            road.segment(travelling)
        road.store(travelling)

    n_begun = run_in_lanes(map(road.begin, cases), work, n_lanes=n_lanes, size=size, capacity=capacity, stop=stop)
    return replace(road.outcome(), n_left=len(cases) - n_begun, busy_share=clock.busy_share)


def _until(stop: Callable[[], bool], cases: Sequence[InputCase]) -> Iterator[InputCase]:
    return itertools.takewhile(lambda _: not stop(), cases)


def open_model(load: Callable[[], Predictor]) -> Predictor:
    """A model that is open, or what keeps it from it, as a sentence.

    Args:
        load: Opens it.

    Returns:
        The predictor.

    Raises:
        InputError: As ``load`` says it.
        FileNotFoundError: Likewise.
        ModelError: It raised something else.
    """
    try:
        return load()
    except (InputError, FileNotFoundError):
        raise
    except Exception as error:
        raise ModelError(f"The model must be such as can be opened here, got {reason_of(error, Step.OPENING)}") from error
