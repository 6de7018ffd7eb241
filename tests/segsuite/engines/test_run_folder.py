from __future__ import annotations

import json
from pathlib import Path

import pytest

from segsuite.engines.run_folder import open_run, share_waited, versions
from segsuite.errors import OutputError

SETTINGS = {"name": "a", "training": {"max_steps": 3}}


def test_same_settings_open_the_same_run(tmp_path: Path) -> None:
    first = open_run(tmp_path / "run", settings=SETTINGS, settings_yaml="name: a\n")
    assert first.settings.read_text() == "name: a\n"
    assert json.loads(first.versions.read_text())["packages"]["torch"]
    first.plan.write_text("{}")
    again = open_run(tmp_path / "run", settings=SETTINGS, settings_yaml="name: a\n", must_exist=True)
    assert again == first
    assert not again.is_trained


def test_a_run_with_other_settings_is_named_and_kept(tmp_path: Path) -> None:
    open_run(tmp_path, settings=SETTINGS, settings_yaml="").plan.write_text("{}")
    other = {**SETTINGS, "training": {"max_steps": 4}}
    with pytest.raises(OutputError, match=r"differs in training.max_steps: 3 there, 4 now"):
        open_run(tmp_path, settings=other, settings_yaml="")


def test_settings_that_were_cut_are_named(tmp_path: Path) -> None:
    open_run(tmp_path, settings=SETTINGS, settings_yaml="").plan.write_text("{}")
    (tmp_path / "settings.json").write_text('{"training": ')
    with pytest.raises(OutputError, match=r"settings\.json must be JSON, got"):
        open_run(tmp_path, settings=SETTINGS, settings_yaml="")


def test_a_run_that_was_refused_at_once_gives_way(tmp_path: Path) -> None:
    open_run(tmp_path / "run", settings=SETTINGS, settings_yaml="name: a\n")
    open_run(tmp_path / "run", settings={"name": "b"}, settings_yaml="name: b\n")
    assert (tmp_path / "run" / "settings.yaml").read_text() == "name: b\n"


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(OutputError, match=r"must be empty or a run, got a folder with \['thesis.docx'\]"):
        open_run(tmp_path, settings=SETTINGS, settings_yaml="")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_resume_wants_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must hold a run to resume, got none"):
        open_run(tmp_path / "run", settings=SETTINGS, settings_yaml="", must_exist=True)


def test_versions_tell_packages_that_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segsuite.engines.run_folder.PACKAGES", ("no-such-package",))
    assert versions()["packages"] == {"no-such-package": "not installed"}


def test_waits_are_read_from_the_history(tmp_path: Path) -> None:
    assert share_waited(tmp_path / "history.csv") is None
    rows = ["step,minutes,name,value", "50,0.1,loss,2", "50,0.1,data_wait_share,0.25", "100,0.2,data_wait_share,0.5"]
    (tmp_path / "history.csv").write_text("\n".join(rows) + "\n")
    assert share_waited(tmp_path / "history.csv") == 0.375
