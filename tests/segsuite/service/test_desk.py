"""A bounded number of places, one job at a time, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segsuite.engines.inputs import InputCase
from segsuite.service.desk import Desk, FullError, Job


class Hand:
    """Waits until it is let go; says `bad` of images of that name."""

    def __init__(self) -> None:
        self.go, self.n_at_once, self.most_at_once = threading.Event(), 0, 0

    def __call__(self, case: InputCase, out: Path) -> str:
        self.n_at_once += 1
        self.most_at_once = max(self.most_at_once, self.n_at_once)
        assert self.go.wait(20)
        out.mkdir()
        (out / case.output).write_bytes(b"mask")
        self.n_at_once -= 1
        if case.images[0].name == "raises":
            raise OSError("no disk")
        return "done" if case.images[0].name != "bad" else f"{case.images[0]} must be better"


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def desk(hand: Hand, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(hand, tmp_path / "jobs", most_waiting=3, most_kept=2)
    yield desk
    hand.go.set()
    desk.close()


def hand_in(desk: Desk, name: str = "image") -> Job:
    job = desk.open_job()
    desk.hand_in(job, (job.folder / name,))
    return job


def test_the_place_beyond_the_last_is_refused_and_free_again_later(desk: Desk, hand: Hand) -> None:
    jobs = [desk.open_job(), hand_in(desk), hand_in(desk)]
    with pytest.raises(FullError):
        desk.open_job()
    assert desk.n_waiting == 3
    hand.go.set()
    assert jobs[1].ended.result(20).state == jobs[2].ended.result(20).state == "done"
    assert (desk.n_waiting, hand.most_at_once) == (1, 1)
    desk.open_job()


def test_a_job_that_still_receives_can_be_dropped_and_one_that_waits_cannot(desk: Desk, hand: Hand) -> None:
    job = desk.open_job()
    assert desk.drop(job)
    assert not job.folder.exists()
    assert desk.find(job.number) is None
    waiting = hand_in(desk)
    assert not desk.drop(waiting)
    hand.go.set()
    waiting.ended.result(20)
    assert desk.drop(waiting)
    assert not waiting.folder.exists()


def test_the_oldest_results_go_with_their_files(desk: Desk, hand: Hand) -> None:
    hand.go.set()
    jobs = []
    for _ in range(4):
        jobs.append(hand_in(desk))
        jobs[-1].ended.result(20)
    desk.close()  # what follows a job's end has been done
    assert [job.folder.exists() for job in jobs] == [False, False, True, True]
    assert [desk.find(job.number) is not None for job in jobs] == [False, False, True, True]
    assert jobs[-1].mask.read_bytes() == b"mask"


@pytest.mark.parametrize(("name", "reason"), [("bad", "bad must be better"), ("raises", "OSError: no disk")])
def test_a_failure_has_a_reason_without_our_paths_and_stops_nobody(desk: Desk, hand: Hand, name: str, reason: str) -> None:
    hand.go.set()
    job, following = hand_in(desk, name), hand_in(desk)
    assert job.ended.result(20).state == "failed"
    assert job.reason.startswith(reason)
    assert following.ended.result(20).state == "done"
