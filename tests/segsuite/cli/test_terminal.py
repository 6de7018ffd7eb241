from __future__ import annotations

import json

import pytest

from segsuite.cli import terminal


def test_machine_output_is_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"a": 1, "b": [float("nan")]})
    terminal.say("for people")
    terminal.print_table(("x",), [("y",)])
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": 1, "b": [None]}


def test_failures_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.case_progress("testing") as progress:
        progress.start(3)
        for case, result in (("a", "done"), ("b", "it broke"), ("c", "skipped")):
            progress.case(case, result)
    assert (progress.n_seen, progress.n_failed) == (3, 1)
