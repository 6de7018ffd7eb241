"""Every word of the command line that writes, with its output on each of its inputs: nothing that was there has changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from segsuite.cli import main
from segsuite.engines.run_folder import RunFolder
from segsuite.volumes.reading import read_volume
from segsuite.volumes.writing import write_mask
from tests.words import own_words

pytestmark = pytest.mark.slow
MAY_CHANGE = ("ledger.jsonl",)


@dataclass(frozen=True)
class Place:
    """A small data set with masks, predictions, a model and an evaluation; all of it belongs to somebody."""

    root: Path

    @property
    def paths(self) -> dict[str, Path]:
        images, labels = sorted((self.root / "images").iterdir()), sorted((self.root / "labels").iterdir())
        return {
            "images": self.root / "images",
            "labels": self.root / "labels",
            "image": images[0],
            "mask": labels[0],
            "manifest": self.root / "manifest.json",
            "model": self.root / "model",
            "table": self.root / "labels.tsv",
            "series": self.root / "series",
            "slice": self.root / "series" / "2.dcm",
            "drawn": self.root / "drawn.nii.gz",
            "root": self.root,
        }


WORDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "predict": ("predict {model} {image} --out {out} -d cpu --no-isolate", ("image", "images", "model", "root")),
    "predict a folder": ("predict {model} {images} --out {out} -d cpu --no-isolate --overwrite", ("images",)),
    "predict a manifest": ("predict {model} {manifest} --out {out} -d cpu --no-isolate", ("images", "labels", "root")),
    "evaluate": ("evaluate {labels} {labels} --labels {table} --out {out} -j 1", ("labels", "images", "table", "root")),
    "overlay": ("overlay {image} --mask {mask} --out {out}", ("image", "mask")),
    "view": ("view {image} {mask} --labels {table} --out {out}", ("image", "mask", "table")),
    "export": ("export {model} --out {out} --format onnx", ("model",)),
    "slurm": ("slurm {model} {images} --out {out} --jobs 2", ("images", "model")),
    "dicomseg": (
        "dicomseg {drawn} --series {series} --labels {table} --out {out}",
        ("drawn", "slice", "series", "table", "image"),
    ),
    "dicomseg of one slice": (
        "dicomseg {drawn} --series {root}/series/1.dcm --labels {table} --out {out}",
        ("slice",),
    ),
    "import": ("manifest import {root} --out {out}", ("manifest", "image", "table")),
    "mask": ("manifest mask {manifest} --masks {labels} --labels {table} --out {out}", ("manifest", "table", "image")),
    "resample": ("manifest resample {manifest} --out {out}", ("manifest", "image", "labels", "images", "root")),
    "combine": ("manifest combine {labels} --out {out} --structures {{case}}_{{structure}}.nii.gz", ("labels", "mask", "root")),
    "combine a manifest": ("manifest combine {manifest} --out {out} --overwrite", ("manifest", "image", "labels", "root")),
    "split": ("manifest split {manifest} --folds 2 --out {out}", ("image", "table")),
    "copy": ("copy supervised/default {out}", ("manifest", "table", "image")),
    "zones convert": ("prostate_zones convert {labels} --table prostate158 --out {out}", ("labels",)),
    "fewshot register": (
        "fewshot register {model} --name new --image {image} --mask {mask} --out {out}",
        ("model", "image", "labels"),
    ),
}
"""A command with `{out}`, and the inputs that this is put on."""
BY_DESIGN = {
    "train": "its folder is a run; a folder that is none is refused",
    "demo": "trains, predicts, evaluates and reports",
    "accelerate": "adds to the model folder what it is for",
    "report": "writes the run's own page",
    "serve": "writes where nobody else does",
}
READ_ONLY = ("list", "show", "doctor", "plan", "compare", "cache")


@pytest.fixture
def place(tiny_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_series: Callable[..., Path]) -> Place:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")  # slurm writes its script there
    root = Path(shutil.copytree(tiny_run.root / "cohort", tmp_path / "set"))
    shutil.copytree(tiny_run.model, root / "model")
    (root / "labels.tsv").write_text("index\tname\n0\tbackground\n1\ta\n2\tb\n3\tc\n4\td\n")
    shutil.copytree(write_series("s"), root / "series")
    scan = read_volume(root / "series")
    write_mask(root / "drawn.nii.gz", (scan.array[0] > scan.array.mean()).astype(np.uint8), like=scan)
    return Place(root)


def test_the_segmentation_is_written_where_nothing_is(place: Place, run_main: Callable[[list[str]], int]) -> None:
    pytest.importorskip("highdicom", reason="needs the extra that writes segmentations")
    words = WORDS["dicomseg"][0].format(out=place.root / "new.dcm", **place.paths).split()
    assert run_main(words) == 0
    assert (place.root / "new.dcm").is_file(), "else the commands below would prove nothing"


def hashes(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file() and path.name not in MAY_CHANGE]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("word", "on"), [(word, on) for word, (_, places) in WORDS.items() for on in places])
@pytest.mark.parametrize("linked", [False, True], ids=["itself", "by a link"])
def test_what_was_there_is_as_it_was(
    word: str, on: str, linked: bool, place: Place, tmp_path: Path, run_main: Callable[[list[str]], int]
) -> None:
    before, out = hashes(place.root), place.paths[on]
    if linked:
        (tmp_path / "link").symlink_to(out)
        out = tmp_path / "link"
    words = [part.format(out=out, **place.paths) for part in WORDS[word][0].split()]
    code = run_main(words)
    after = hashes(place.root)
    assert {name: after.get(name) for name in before} == before, f"{' '.join(words)} ended with {code}"


@pytest.fixture
def run_main(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], int]:
    def run(words: list[str]) -> int:
        try:
            main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert "Usage:" not in said, said
        return code

    return run


def test_every_word_that_writes_is_tried() -> None:
    tried = {words.split()[0] for words, _ in WORDS.values()}
    assert own_words() <= tried | set(BY_DESIGN) | set(READ_ONLY) | {"manifest"}


def test_the_hashes_see_a_change(place: Place) -> None:
    before = hashes(place.root)
    content = json.loads(place.paths["manifest"].read_text())
    place.paths["manifest"].write_text(json.dumps({**content, "name": "another"}))
    assert hashes(place.root) != before
