from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.engines.inputs import InputCase, find_inputs
from segsuite.engines.ledger import Ledger, read_ledger
from segsuite.engines.parcels import Made, SentModel, deliver, make_of, pack
from segsuite.engines.prediction import BatchOptions, predict_cases
from tests.bright import CallsBright


@pytest.fixture
def cases(tmp_path: Path, write_nifti: Callable[..., Path]) -> list[InputCase]:
    for number in range(3):
        image = np.random.default_rng(number).normal(size=(6, 5, 4)).astype(np.float32)
        write_nifti(tmp_path / "scans" / f"p{number}" / "t2.nii.gz", image)  # all of one name
    (tmp_path / "scans" / "p2" / "t2.nii.gz").write_bytes(b"no image")
    return find_inputs([tmp_path / "scans"], n_channels=1)


def bright(cases: list[InputCase], out: Path) -> tuple[dict[str, str], int]:
    results: dict[str, str] = {}
    outcome = predict_cases(cases, CallsBright(), out, BatchOptions(), on_case=results.__setitem__)
    return results, outcome.n_left


def test_what_is_made_elsewhere_is_what_is_made_here(cases: list[InputCase], tmp_path: Path) -> None:
    here, _ = bright(cases, tmp_path / "here")
    there = tmp_path / "there"
    there.mkdir()
    parcel = pack(cases, Ledger(there))
    for case in cases:
        case.images[0].rename(case.images[0].with_name("gone"))  # the other node sees no folder of this one
    made = make_of(parcel, bright)
    assert deliver(made, Ledger(there), cases) == here
    assert made.results == here
    assert str(cases[2].images[0]) in made.results["p2/t2"]
    for case in cases[:2]:
        assert (there / case.output).read_bytes() == (tmp_path / "here" / case.output).read_bytes()
    lines = [read_ledger(folder) for folder in (tmp_path / "here", there)]
    assert [(line.case, line.status, line.input_hash, line.output_hash, line.reason) for line in lines[0].values()] == [
        (line.case, line.status, line.input_hash, line.output_hash, line.reason) for line in lines[1].values()
    ]


def test_what_is_done_travels_too_and_is_not_done_again(cases: list[InputCase], tmp_path: Path) -> None:
    bright(cases, tmp_path)
    made = make_of(pack(cases, Ledger(tmp_path)), bright)
    assert made.results["p0/t2"] == made.results["p1/t2"] == "skipped"
    assert made.files == {}
    assert [line.case for line in made.lines] == ["p2/t2"]
    (tmp_path / cases[0].output).write_bytes(b"changed")
    again = make_of(pack(cases, Ledger(tmp_path)), bright)
    assert again.results["p0/t2"] == "done"
    assert list(again.files) == [cases[0].output]


def test_an_image_in_two_files_travels_whole(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32))
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    made = make_of(pack([InputCase("a", (tmp_path / "a.mhd",), "a.nii.gz")], Ledger(tmp_path)), bright)
    assert made.results == {"a": "done"}


def test_a_file_that_is_not_there_fails_its_case(tmp_path: Path) -> None:
    made = make_of(pack([InputCase("a", (tmp_path / "a.nii.gz",), "a.nii.gz")], Ledger(tmp_path)), bright)
    assert str(tmp_path / "a.nii.gz") in made.results["a"]
    assert made.lines[0].status == "failed"


def test_a_model_is_opened_where_its_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "m" / "members").mkdir(parents=True)
    (tmp_path / "m" / "members" / "weights").write_text("7")
    seen: list[Path] = []

    def load(folder: Path) -> str:
        seen.append(folder)
        return (folder / "members" / "weights").read_text()

    sent = SentModel(tmp_path / "m", load)
    (tmp_path / "m" / "members" / "weights").unlink()
    assert sent() == "7"
    assert seen[0].is_dir()
    del sent
    assert not seen[0].exists()


def test_nothing_made_changes_nothing(tmp_path: Path) -> None:
    assert deliver(Made({}, (), {}, 0), Ledger(tmp_path), []) == {}
    assert list(tmp_path.iterdir()) == []
