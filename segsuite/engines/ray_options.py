"""What the workers on a Ray cluster take of it, and how that is written on a command line. Ray itself is not needed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from segsuite.errors import SettingsError
from segsuite.extras import require_extra

__all__ = ["RayOptions", "parse_engine"]

KINDS: dict[str, Callable[[str], Any]] = {
    "workers": int,
    "cpus": float,
    "gpus": float,
    "batch": int,
    "address": str,
    "files": str,
}
WAYS = ("shared", "sent")


@dataclass(frozen=True)
class RayOptions:
    """What each worker takes of the cluster.

    Attributes:
        workers: How many; 0: as many as the cluster holds now. More than that lets an autoscaling cluster grow.
        cpus: Of one worker.
        gpus: Of one worker; shares such as 0.25 put several on one device.
        batch: Cases that travel together.
        address: Of the cluster; empty: ``RAY_ADDRESS``, a cluster on this machine, or a new one.
        files: ``shared``: all nodes see inputs, model and output folder under the same paths; ``sent``: they see none of
            them, and everything but files that attributes name travels through Ray's object store.
    """

    workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    batch: int = 8
    address: str = ""
    files: str = "shared"


def parse_engine(text: str | None) -> RayOptions | None:
    """``ray`` or ``ray:key=value,...`` as options.

    Args:
        text: What the user gave.

    Returns:
        The options; ``None`` if nothing was given: this process does the work.

    Raises:
        SettingsError: Another engine, an unknown key, a value that does not fit, or no Ray.
    """
    if text is None:
        return None
    engine, _, words = text.partition(":")
    if engine != "ray":
        raise SettingsError(f"--engine must be `ray` or `ray:key=value,...`, got `{text}`.")
    found: dict[str, Any] = {}
    for word in filter(None, words.split(",")):
        key, _, value = word.partition("=")
        if key not in KINDS:
            raise SettingsError(f"--engine ray must have {', '.join(KINDS)}, each with a value, got `{word}`.")
        try:
            found[key] = KINDS[key](value)
        except ValueError as error:
            raise SettingsError(f"--engine ray must have a number as `{key}`, got `{value}`.") from error
    options = RayOptions(**found)
    if options.workers < 0 or options.batch < 1 or options.cpus <= 0 or options.gpus < 0:
        raise SettingsError(f"--engine ray must have cpus and batch above 0, workers and gpus not below, got `{words}`.")
    if options.files not in WAYS:
        raise SettingsError(f"--engine ray must have files=shared or files=sent, got `{options.files}`.")
    require_extra("ray", "ray", purpose="--engine ray")
    return options
