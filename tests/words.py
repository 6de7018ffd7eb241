"""The words of the command line, for tests that must try each."""

from __future__ import annotations

import typer

from segsuite.cli import app
from segsuite.pipeline import find_pipelines


def own_words() -> set[str]:
    """Without those of pipelines, which are there once a command has asked for one."""
    of_pipelines = {pipeline.word or name for name, pipeline in find_pipelines().items()}
    return set(typer.main.get_command(app).commands) - of_pipelines  # type: ignore[attr-defined]
