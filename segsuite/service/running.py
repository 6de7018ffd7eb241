"""The word serve: one model, one worker, one desk, until the process is told to stop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from segsuite.engines.model_folder import ModelFolder, read_model_folder
from segsuite.engines.prediction import BatchOptions
from segsuite.errors import SettingsError
from segsuite.service.app import Served, make_app
from segsuite.service.desk import Desk
from segsuite.service.limits import LOOPBACK, Limits, is_loopback
from segsuite.service.worker import Worker
from segsuite.verbs.predicting import open_watchful

__all__ = ["Door", "limits_of", "serve"]


@dataclass(frozen=True)
class Door:
    """Where the service listens and what it takes.

    Attributes:
        host: Address; anything but this machine's own needs a token.
        port: TCP port.
        token: What clients must show; ``None``: nothing.
        most_mb: Of one request.
        most_waiting: Jobs that are not over; one more is refused.
        most_kept: Results that can still be fetched.
        time_limit_s: For one case.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    most_mb: float = 512.0
    most_waiting: int = 8
    most_kept: int = 20
    time_limit_s: float | None = 600.0


def serve(
    model: Path,
    door: Door,
    *,
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
    on_start: Callable[[str], None] = print,
) -> None:
    """Serve a model until SIGINT or SIGTERM; nothing that was uploaded is left behind.

    Args:
        model: Model or run folder.
        door: Where and what.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: Of the network on a CPU; ``None``: one per core.
        overrides: ``key=value`` of how the model is applied.
        on_start: Told the address.

    Raises:
        ModelError: The model cannot be opened.
        SettingsError: Open to others and no token.
    """
    folder, limits = read_model_folder(model), limits_of(door)
    load = partial(open_watchful, folder.path, device=device, overrides=tuple(overrides), threads=threads)
    with (
        tempfile.TemporaryDirectory(prefix="segsuite_serve_") as root,
        closing(Worker(load, BatchOptions(), time_limit_s=door.time_limit_s)) as worker,
        closing(Desk(worker.segment, Path(root), most_waiting=door.most_waiting, most_kept=door.most_kept)) as desk,
    ):
        app = make_app(desk, _served(folder), limits)
        on_start(f"serving {folder.path} at http://{door.host}:{door.port}")
        uvicorn.run(app, host=door.host, port=door.port, log_level="warning", server_header=False)


def limits_of(door: Door) -> Limits:
    """What a door takes; on the loopback only calls by its own names, so that no page elsewhere can reach it by DNS.

    Args:
        door: Where the service listens.

    Returns:
        The limits.

    Raises:
        SettingsError: Open to others and no token.
    """
    is_own = is_loopback(door.host)
    if not is_own and not door.token:
        raise SettingsError(
            f"A service that others can reach ({door.host}) must have a token, got none. Give --token, or set SEGSUITE_TOKEN."
        )
    return Limits(round(door.most_mb * 1e6), token=door.token, hosts=(*LOOPBACK, door.host) if is_own else ())


def _served(folder: ModelFolder) -> Served:
    described = folder.description
    channels = tuple(str(name) for name in described["channels"].values())
    return Served(described.get("name", folder.path.name), folder.pipeline, folder.sha256, channels, folder.labels)
