from __future__ import annotations

import json
import warnings

import pytest

from segsuite.cli import main, terminal
from segsuite.errors import Advice


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


def test_advice_is_a_sentence_and_other_warnings_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        terminal.set_verbosity(quiet=False, verbose=False)
        warnings.warn("take more", Advice, stacklevel=1)
        warnings.warn("old", UserWarning, stacklevel=1)
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "note: take more"
        assert "test_terminal.py" in lines[1]
        assert lines[1].endswith("UserWarning: old")
        terminal.set_verbosity(quiet=True, verbose=False)
        warnings.warn("take more", Advice, stacklevel=1)
        assert capsys.readouterr().err == ""
    terminal.set_verbosity(quiet=False, verbose=False)


def test_a_file_name_that_is_no_text_is_printed_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"\udcff.nii.gz": "ä"})
    assert json.loads(capsys.readouterr().out) == {"\udcff.nii.gz": "ä"}


def test_where_nobody_knows_how_many_come_no_time_is_promised(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "SECONDS_BETWEEN_LINES", -1.0)
    terminal.CaseProgress("watching", None).case("a")
    assert capsys.readouterr().err == "watching: 1, a, 0 failed\n"


def test_a_file_name_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.CaseProgress("testing", None).case("\x1b[31mred\n", "it broke")
    assert capsys.readouterr().err.splitlines() == ["segsuite: case ?[31mred? failed: it broke"]


def test_what_nobody_has_foreseen_is_a_sentence_and_a_trace_only_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise KeyError("pixdim")

    monkeypatch.setattr("segsuite.pipeline.find_pipelines", broken)
    said = {}
    for words in (["list"], ["list", "--verbose"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 1
        said[len(words)] = capsys.readouterr().err
    assert said[1].startswith("segsuite: KeyError: 'pixdim'. It came while the command ran. If it comes again, report this")
    assert "Traceback" not in said[1]
    assert "Traceback" in said[2]
    terminal.set_verbosity(quiet=False, verbose=False)
