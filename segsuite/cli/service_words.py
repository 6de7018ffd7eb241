"""The word that opens a door to others: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segsuite.cli.options import Device, Quiet, Verbose, Workers
from segsuite.cli.terminal import end_on_sigterm, say
from segsuite.extras import require_extra

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the word."""
    app.command("serve", epilog="Example: segsuite serve RUN/model --port 8000")(serve)


def serve(
    model: Annotated[Path, typer.Argument(help="A model folder, or the run folder that holds it.")],
    host: Annotated[str, typer.Option("--host", help="Address; others than this machine's need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    token: Annotated[str | None, typer.Option("--token", envvar="SEGSUITE_TOKEN", help="What clients must show.")] = None,
    most_mb: Annotated[float, typer.Option("--most-mb", min=0.001, help="Of one request.")] = 512,
    most_waiting: Annotated[int, typer.Option("--most-waiting", min=1, help="Jobs; one more is told to come later.")] = 8,
    most_kept: Annotated[int, typer.Option("--most-kept", min=1, help="Results that can still be fetched.")] = 20,
    time_limit: Annotated[float, typer.Option("--time-limit", min=1, help="Seconds for one case.")] = 600,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value of `inference` in model.json.")] = None,
    device: Device = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve a model: a page to drop a volume on, and `curl -F image=@t2.nii.gz localhost:8000/segment -o mask.nii.gz`."""
    require_extra("serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client", purpose="`segsuite serve`")
    from segsuite.service.running import Door
    from segsuite.service.running import serve as run_service

    door = Door(host, port, token, most_mb, most_waiting, most_kept, time_limit)
    with end_on_sigterm():
        run_service(model, door, device=device, threads=workers, overrides=set_ or (), on_start=say)
