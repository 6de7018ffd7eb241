"""The desk of the service: takes a bounded number of jobs, hands them to the worker one by one, keeps the last results."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from segsuite.engines.input_case import InputCase
from segsuite.failures import Step, reason_of
from segsuite.files import make_folder
from segsuite.service.worker import DONE

__all__ = ["Desk", "FullError", "Job"]

CASE = "scan"
Segment = Callable[[InputCase, Path], str]


class FullError(Exception):
    """So many jobs wait that no other is taken."""


@dataclass(eq=False)
class Job:
    """One request.

    Attributes:
        number: Unguessable, and the name of its folder.
        folder: Holds everything of it and nothing else.
        state: ``receiving``, ``waiting``, ``running``, ``done`` or ``failed``.
        reason: Of a failure.
        seconds: That the worker took.
        images: One per channel.
        name: What the client calls them.
        ended: Resolves when the job is over.
    """

    number: str
    folder: Path
    state: str = "receiving"
    reason: str = ""
    seconds: float = 0.0
    images: tuple[Path, ...] = ()
    name: str = ""
    ended: Future[Job] = field(default_factory=Future)

    @property
    def is_over(self) -> bool:
        """Whether it is done or failed."""
        return self.state in ("done", "failed")

    @property
    def mask(self) -> Path:
        """Where its mask is, once it is done and if it has one."""
        return self.folder / "out" / "mask.nii.gz"

    @property
    def report(self) -> Path:
        """Where the pipeline's report is, if it writes one."""
        return self.folder / "out" / "mask_report.json"


class Desk:
    """Every method may be called from any thread."""

    def __init__(self, segment: Segment, root: Path, *, most_waiting: int, most_kept: int) -> None:
        """Open.

        Args:
            segment: Case and folder to ``done`` or a reason; never called twice at a time.
            root: Folder of the jobs.
            most_waiting: Jobs that are not over; one more is refused.
            most_kept: Jobs that are over and still there; the oldest goes first.
        """
        self.segment, self.root = segment, make_folder(root)
        self.most_waiting, self.most_kept = most_waiting, most_kept
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._hand = ThreadPoolExecutor(1, thread_name_prefix="desk")

    @property
    def n_waiting(self) -> int:
        """Jobs that are not over."""
        with self._lock:
            return self._n_waiting()

    def open_job(self) -> Job:
        """Take a place before anything is uploaded.

        Returns:
            A job that receives its images.

        Raises:
            FullError: No place is left.
        """
        with self._lock:
            if self._n_waiting() >= self.most_waiting:
                raise FullError
            number = uuid.uuid4().hex
            job = Job(number, make_folder(self.root / number))
            self._jobs[number] = job
            return job

    def hand_in(self, job: Job, images: tuple[Path, ...]) -> None:
        """The images of a job are there: let it wait for the worker.

        Args:
            job: From ``open_job``.
            images: One per channel, in its folder.
        """
        job.images, job.state = images, "waiting"
        self._hand.submit(self._work, job)

    def find(self, number: str) -> Job | None:
        """A job by its number, as long as it is kept."""
        with self._lock:
            return self._jobs.get(number)

    def drop(self, job: Job) -> bool:
        """Delete a job that does not wait for the worker, with its files.

        Args:
            job: Any.

        Returns:
            Whether it was dropped.
        """
        with self._lock:
            if job.state in ("waiting", "running"):
                return False
            self._jobs.pop(job.number, None)
        shutil.rmtree(job.folder, ignore_errors=True)
        return True

    def close(self) -> None:
        """Take the worker nothing more; the job in hand is finished first."""
        self._hand.shutdown(wait=True, cancel_futures=True)

    def _n_waiting(self) -> int:
        return sum(not job.is_over for job in self._jobs.values())

    def _work(self, job: Job) -> None:
        job.state, started = "running", time.monotonic()
        try:
            result = self.segment(InputCase(CASE, job.images, job.mask.name), job.mask.parent)
        except Exception as error:
            result = reason_of(error, Step.SEGMENTING)
        job.seconds = round(time.monotonic() - started, 3)
        job.reason = "" if result == DONE else result.replace(f"{job.folder}/", "")
        job.state = "failed" if job.reason else "done"
        job.ended.set_result(job)
        with self._lock:
            over = [other for other in self._jobs.values() if other.is_over]
        for other in over[: max(0, len(over) - self.most_kept)]:
            self.drop(other)
