"""Folders of empty files, for tests in which names and places are all that counts; and folders that nobody may list."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def touch(folder: Path, *names: str) -> Path:
    """Make empty files of these relative paths."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As for a user without permission; whoever runs the tests may have all."""
    honest = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path)

    monkeypatch.setattr(os, "scandir", scandir)
