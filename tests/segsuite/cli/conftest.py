from __future__ import annotations

from collections.abc import Callable

import pytest

from segsuite.cli import main


@pytest.fixture
def segsuite(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        captured = capfd.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run
