from __future__ import annotations

from collections.abc import Callable

import pytest

from segsuite.cli import main


@pytest.fixture
def segsuite(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, standard output, standard error.

    So is prediction, unless a test says ``--isolate``: a process of its own takes seconds to start, and has tests of its own.
    """

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        if words[0] == "predict" and len(words) > 1 and not {"--isolate", "--no-isolate"} & set(words):
            words = (*words, "--no-isolate")
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        captured = capfd.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run
