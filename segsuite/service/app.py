"""The routes of the service: hand an image in, ask how it stands, fetch mask, report and viewer."""

from __future__ import annotations

import asyncio
import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from segsuite.failures import Step, reason_of
from segsuite.reports.rendering import render
from segsuite.reports.viewer import LayeredCase, write_view
from segsuite.service.desk import Desk, FullError, Job
from segsuite.service.limits import Gate, Limits
from segsuite.service.uploads import ENDINGS_TAKEN, image_in, stem_of, taken_ending
from segsuite.volumes.reading import image_ending, read_grid

__all__ = ["Served", "make_app"]

SECONDS = (0.3, 1, 3, 10, 30, 100, 300)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Served:
    """What the service says of its model.

    Attributes:
        name: Of the model.
        pipeline: That made it.
        sha256: Of its weights and description.
        channels: Names, in the order in which images must come.
        labels: Name to integer in the mask.
    """

    name: str
    pipeline: str
    sha256: str
    channels: tuple[str, ...]
    labels: Mapping[str, int]


def make_app(desk: Desk, served: Served, limits: Limits) -> FastAPI:
    """The application.

    Args:
        desk: Takes the jobs.
        served: The model.
        limits: What is refused.

    Returns:
        For any ASGI server.
    """
    # no documentation page: its scripts would come from elsewhere
    app = FastAPI(title=f"segsuite serve {served.name}", docs_url=None, redoc_url=None)
    routes = _Routes(desk, served, limits)
    for path, method, answer in (
        ("/", "GET", routes.page),
        ("/health", "GET", routes.health),
        ("/metrics", "GET", routes.metrics),
        ("/segment", "POST", routes.segment),
        ("/jobs", "POST", routes.start),
        ("/jobs/{number}", "GET", routes.state),
        ("/jobs/{number}", "DELETE", routes.drop),
        ("/jobs/{number}/mask", "GET", routes.mask),
        ("/jobs/{number}/report", "GET", routes.report),
        ("/jobs/{number}/view", "GET", routes.view),
    ):
        app.add_api_route(path, answer, methods=[method], response_model=None)
    app.add_middleware(Gate, limits=limits)
    return app


class _Routes:
    def __init__(self, desk: Desk, served: Served, limits: Limits) -> None:
        self.desk, self.served, self.limits = desk, served, limits
        self.registry = CollectorRegistry()
        self.answered = Counter("segsuite_jobs", "Jobs by how they ended", ["result"], registry=self.registry)
        self.seconds = Histogram("segsuite_job_seconds", "Time of the worker", buckets=SECONDS, registry=self.registry)
        waiting = Gauge("segsuite_jobs_waiting", "Jobs that are not over", registry=self.registry)
        waiting.set_function(lambda: float(desk.n_waiting))

    async def page(self) -> HTMLResponse:
        return HTMLResponse(render("serve.html", served=self.served, needs_token=self.limits.token is not None))

    async def health(self) -> dict[str, Any]:
        served = self.served
        about = {"model": served.name, "pipeline": served.pipeline, "sha256": served.sha256}
        shape = {"channels": list(served.channels), "labels": dict(served.labels)}
        return {"status": "ok", **about, **shape, "waiting": self.desk.n_waiting}

    async def metrics(self) -> PlainTextResponse:
        return PlainTextResponse(generate_latest(self.registry).decode(), media_type=CONTENT_TYPE_LATEST)

    async def segment(self, request: Request) -> Response:
        """Wait for the mask."""
        job = await self._receive(request)
        await asyncio.wrap_future(job.ended)
        if job.state == "failed":
            return PlainTextResponse(f"{job.reason}\n", 422)
        return _file(job.mask if job.mask.is_file() else job.report, f"{job.name}_mask")

    async def start(self, request: Request) -> JSONResponse:
        job = await self._receive(request)
        return JSONResponse(_described(job), 202, {"Location": f"/jobs/{job.number}"})

    async def state(self, number: str) -> dict[str, Any]:
        return _described(self._found(number))

    async def drop(self, number: str) -> Response:
        if not self.desk.drop(self._found(number)):
            raise HTTPException(409, "The job must be over before it can be dropped, but it waits or runs.")
        return Response(status_code=204)

    async def mask(self, number: str) -> FileResponse:
        return _file(self._done(number).mask, "mask")

    async def report(self, number: str) -> FileResponse:
        return _file(self._done(number).report, "report")

    async def view(self, number: str) -> FileResponse:
        job = self._done(number)
        masks = [("mask", job.mask)] if job.mask.is_file() else []
        names = {value: name for name, value in self.served.labels.items()}
        page = functools.partial(write_view, LayeredCase(job.name, job.images[0], masks), names, job.folder / "view.html")
        return FileResponse(await asyncio.to_thread(page), media_type="text/html")

    async def _receive(self, request: Request) -> Job:
        """Take a place, then the files, then let the job wait."""
        try:
            job = self.desk.open_job()
        except FullError:
            self.answered.labels("refused").inc()
            raise HTTPException(429, f"{self.desk.most_waiting} jobs wait already.", {"Retry-After": "10"}) from None
        try:
            async with request.form(max_files=len(self.served.channels) + 1, max_fields=0) as form:
                files = [part for part in form.getlist("image") if isinstance(part, UploadFile)]
                images = await self._stored(files, job.folder)
                job.name = _stem(files[0].filename or "")
        except BaseException:  # also when the client hangs up
            self.desk.drop(job)
            raise
        job.ended.add_done_callback(self._count)
        self.desk.hand_in(job, images)
        return job

    async def _stored(self, files: Sequence[UploadFile], folder: Path) -> tuple[Path, ...]:
        """The uploads under names of our own: of a client's name only the ending counts."""
        channels = self.served.channels
        if len(files) != len(channels):
            raise HTTPException(
                422, f"A request must have {len(channels)} files `image` ({', '.join(channels)}), got {len(files)}."
            )
        paths = []
        for number, file in enumerate(files):
            ending = taken_ending(file.filename or "")
            if not ending:
                raise HTTPException(415, f"An image must be {' or '.join(ENDINGS_TAKEN)}, got `{file.filename}`.")
            paths.append(folder / f"image_{number:04d}{ending}")
            with paths[-1].open("wb") as stream:
                while chunk := await file.read(_CHUNK_BYTES):
                    stream.write(chunk)
            try:
                paths[-1] = await asyncio.to_thread(image_in, paths[-1], most_voxels=self.limits.most_voxels)
                n_voxels = math.prod((await asyncio.to_thread(read_grid, paths[-1])).shape)
            except Exception as error:
                raise HTTPException(422, reason_of(error, Step.READING).replace(f"{folder}/", "")) from error
            if n_voxels > self.limits.most_voxels:
                raise HTTPException(413, f"An image must have at most {self.limits.most_voxels:,} voxels, got {n_voxels:,}.")
        return tuple(paths)

    def _found(self, number: str) -> Job:
        job = self.desk.find(number)
        if job is None:
            raise HTTPException(404, "The job must be one that is still kept. Old ones are deleted; hand the image in again.")
        return job

    def _done(self, number: str) -> Job:
        job = self._found(number)
        if job.state != "done":
            raise HTTPException(409, f"The job must be done, but it is {job.state}. {job.reason}")
        return job

    def _count(self, ended: Any) -> None:
        job: Job = ended.result()
        self.answered.labels(job.state).inc()
        self.seconds.observe(job.seconds)


def _described(job: Job) -> dict[str, Any]:
    return {"job": job.number, "state": job.state, "reason": job.reason, "seconds": job.seconds, "mask": job.mask.is_file()}


def _stem(name: str) -> str:
    """A client's file name without folder, ending and whatever might mean something to a shell."""
    return re.sub(r"[^\w.-]", "_", stem_of(name))


def _file(path: Path, stem: str) -> FileResponse:
    if not path.is_file():
        raise HTTPException(404, "The pipeline of this model writes no such file.")
    return FileResponse(path, filename=f"{stem}{image_ending(path) or path.suffix}")
