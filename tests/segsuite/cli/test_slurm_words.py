from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from segsuite.cli import app
from segsuite.cli.slurm_words import NOT_FORWARDED, OF_THE_ARRAY

Run = Callable[..., tuple[int, str, str]]
GIVEN: dict[str, tuple[list[str], Any]] = {
    "data_root": (["--data-root", "."], None),
    "fold": (["--fold", "2"], "2"),
    "save_probabilities": (["--save-probabilities"], True),
    "save_regions": (["--save-regions"], True),
    "series_uid": (["--series-uid", "1.2.3"], "1.2.3"),
    "series_description": (["--series-description", "*t2 w*"], "*t2 w*"),
    "attributes": (["--attributes", "the table.tsv"], None),
    "set_": (["--set", "overlap=0.25", "--set", "flips=false"], ["overlap=0.25", "flips=false"]),
    "force": (["--force"], True),
    "strict": (["--strict"], True),
    "out_of_fold": (["--out-of-fold"], True),
    "isolate": (["--no-isolate"], False),
    "time_limit": (["--time-limit", "90"], 90.0),
    "device": (["--device", "cuda:1"], "cuda:1"),
}
"""For each option that goes into the script: words of the user, and the value that `predict` then has."""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder: what is in it is not asked here."""
    monkeypatch.setattr("segsuite.verbs.spreading.read_model_folder", lambda path: path)
    return tmp_path / "model"


def command(name: str) -> Any:
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


def names(word: str) -> set[str]:
    return {option.name for option in command(word).params if option.name != "help"}


def test_slurm_takes_every_option_of_predict_or_says_why_not() -> None:
    assert names("slurm") - set(OF_THE_ARRAY) == names("predict") - set(NOT_FORWARDED) - set(OF_THE_ARRAY)
    assert set(NOT_FORWARDED) <= names("predict")
    assert set(GIVEN) == names("slurm") - set(OF_THE_ARRAY), "each must be tried here"


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_given_reaches_predict(
    name: str, model: Path, segsuite: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of the script are read by `predict`'s own parser."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "the table.tsv").write_text("case\tsite\n")
    words, wanted = GIVEN[name]
    wanted = {"data_root": tmp_path, "attributes": tmp_path / "the table.tsv"}.get(name, wanted)
    code, _, said = segsuite("slurm", model, tmp_path, "--out", tmp_path / "out", "--jobs", "3", *words)
    assert code == 0, said
    line = next(line for line in Path("segsuite.sbatch").read_text().splitlines() if line.startswith("exec "))
    parsed = command("predict").make_context("predict", shlex.split(line.replace("$SLURM_CPUS_PER_TASK", "1"))[3:])
    untouched = {option.name: option.default for option in command("predict").params if option.name in GIVEN}
    assert {key: parsed.params[key] or untouched[key] for key in GIVEN if key != name} == {
        key: untouched[key] for key in GIVEN if key != name
    }
    value = parsed.params[name]
    assert (list(value) if isinstance(value, tuple) else value) == wanted


def test_what_a_job_would_refuse_is_refused_at_once(model: Path, segsuite: Run, tmp_path: Path) -> None:
    start = ("slurm", model, tmp_path, "--out", tmp_path / "out", "--script", tmp_path / "a.sbatch", "--jobs", "3")
    for words, reason in (
        (("--time-limit", "9", "--no-isolate"), "got --no-isolate"),
        (("--fold", "all"), "--fold must be a number"),
        (("--attributes", tmp_path / "gone.tsv"), "gone.tsv must exist"),
    ):
        code, _, said = segsuite(*start, *words)
        assert (code, reason in " ".join(said.split())) == (1, True), said
    assert not (tmp_path / "a.sbatch").exists()
