from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import pytest

from segsuite.engines.inputs import find_inputs
from segsuite.engines.ledger import read_ledger
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ModelError, OutputError
from segsuite.files import hash_of_file
from segsuite.verbs.predicting import predict
from tests.slices import save_volume


def test_a_process_that_only_hands_out_cases_does_not_load_torch() -> None:
    code = "import sys, segsuite.verbs.predicting, segsuite.verbs.spreading; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_model_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model folder with model.json, got no such folder"):
        predict(tmp_path / "gone", [tmp_path], tmp_path / "out", isolate=True)


@pytest.mark.slow
def test_a_process_of_its_own_makes_the_same_masks(tiny_run: RunFolder, tmp_path: Path) -> None:
    images = tiny_run.root / "cohort" / "images"
    heard: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for isolate, said in heard.items():
        out = tmp_path / str(isolate)
        outcome = predict(
            tiny_run.model, [images], out, device="cpu", isolate=isolate, on_case=lambda *words, said=said: said.append(words)
        )
        assert outcome.n_done == 6
    assert heard[True] == heard[False]
    for mask in (tmp_path / "True").glob("*.nii.gz"):
        assert mask.read_bytes() == (tmp_path / "False" / mask.name).read_bytes()


@pytest.mark.slow
def test_only_what_is_chosen_is_segmented(tiny_run: RunFolder, tmp_path: Path) -> None:
    images = tiny_run.root / "cohort" / "images"
    outcome = predict(tiny_run.model, [images], tmp_path, choose=lambda cases: list(cases[:1]), device="cpu")
    assert outcome.n_done == 1
    assert predict(tiny_run.model, [images], tmp_path, choose=lambda _: [], device="cpu").n_done == 0


@pytest.mark.parametrize("way", ["the folder", "one scan", "a link", "a manifest"])
def test_scans_are_never_replaced_by_their_masks(tiny_run: RunFolder, tmp_path: Path, way: str) -> None:
    scans = Path(shutil.copytree(tiny_run.root / "cohort" / "images", tmp_path / "scans"))
    first = sorted(scans.iterdir())[0]
    (tmp_path / "link").symlink_to(scans)
    rows = [{"image": str(path), "case_id": path.name.partition(".")[0]} for path in sorted(scans.iterdir())]
    (tmp_path / "M.json").write_text(json.dumps({"name": "m", "training": rows}))
    inputs, out = {
        "the folder": (scans, scans),
        "one scan": (first, scans),
        "a link": (scans, tmp_path / "link"),
        "a manifest": (tmp_path / "M.json", scans),
    }[way]
    before = hash_of_file(scans)
    with pytest.raises(OutputError, match="must not be an input"):
        predict(tiny_run.model, [inputs], out, device="cpu", isolate=True)
    assert hash_of_file(scans) == before


def test_rows_of_one_file_name_outside_the_data_root_get_the_names_of_their_cases(tiny_run: RunFolder, tmp_path: Path) -> None:
    (image, *_) = sorted((tiny_run.root / "cohort" / "images").iterdir())
    rows = []
    for site in ("a", "b"):
        (tmp_path / site).mkdir()
        shutil.copy(image, tmp_path / site / "t2.nii.gz")
        rows.append({"image": str(tmp_path / site / "t2.nii.gz"), "case_id": f"case_{site}"})
    (tmp_path / "M.json").write_text(json.dumps({"name": "m", "training": rows}))
    cases = find_inputs([tmp_path / "M.json"], n_channels=1)
    assert [case.output for case in cases] == ["case_a.nii.gz", "case_b.nii.gz"]


def test_the_labels_of_masks_that_are_there_keep_their_names(tiny_run: RunFolder, tmp_path: Path) -> None:
    scan = sorted((tiny_run.root / "cohort" / "images").iterdir())[0]
    (tmp_path / "labels.tsv").write_text("index\tname\n1\tspleen\n")
    with pytest.raises(OutputError, match=r"got other ones \('1\\tspleen'\): the masks beside it are of another model"):
        predict(tiny_run.model, [scan], tmp_path, device="cpu")
    assert predict(tiny_run.model, [scan], tmp_path, device="cpu", overwrite=True).n_done == 1
    named = (tmp_path / "labels.tsv").read_text()
    (tmp_path / "labels.tsv").write_text("".join(named.splitlines(keepends=True)[:2]))
    assert predict(tiny_run.model, [scan], tmp_path, device="cpu").n_skipped == 1, "more structures than before are no others"
    assert (tmp_path / "labels.tsv").read_text() == named


def test_an_image_whose_path_no_file_can_have_costs_only_itself(tiny_run: RunFolder, tmp_path: Path) -> None:
    scan = sorted((tiny_run.root / "cohort" / "images").iterdir())[0]
    images = {"good": str(scan), "long": f"{'x' * 300}.nii.gz", "null": "a\0b.nii.gz", "no_text": "\ud800.nii.gz"}
    rows = [{"image": image, "case_id": case} for case, image in images.items()]
    (tmp_path / "M.json").write_text(json.dumps({"name": "m", "training": rows}))
    outcome = predict(tiny_run.model, [tmp_path / "M.json"], tmp_path / "out", device="cpu", data_root=tmp_path)
    assert (outcome.n_done, set(outcome.failures)) == (1, {"long", "null", "no_text"})
    assert {case: line.status for case, line in read_ledger(tmp_path / "out").items()} == {
        "good": "done", "long": "failed", "null": "failed", "no_text": "failed",
    }  # fmt: skip


@pytest.mark.slow
def test_packed_scans_and_series_are_segmented_once_and_nothing_of_them_stays(tiny_run: RunFolder, tmp_path: Path) -> None:
    first, second, *_ = sorted((tiny_run.root / "cohort" / "images").iterdir())
    scans = tmp_path / "scans"
    save_volume(nib.load(first), scans / "ser")
    with zipfile.ZipFile(scans / "p1.zip", "w") as packed:
        packed.write(second, f"study/{second.name}")
    with tarfile.open(scans / "p2.tar.gz", "w:gz") as packed:
        packed.add(scans / "ser", "IMAGES")
    (scans / "letter.doc").write_text("text")
    (scans / "broken.zip").write_bytes((scans / "p1.zip").read_bytes()[:100])
    before, left_out = hash_of_file(scans), []
    found = [
        predict(tiny_run.model, [scans], tmp_path / "out", device="cpu", isolate=isolate, on_left_out=left_out.append, force=True)
        for isolate in (True, False)
    ]
    assert [(outcome.n_done, outcome.n_skipped, list(outcome.failures)) for outcome in found] == [
        (3, 0, ["broken"]), (0, 3, ["broken"]),
    ]  # fmt: skip
    stem = second.name.removesuffix(".nii.gz")
    masks = {f"p1/study/{stem}.nii.gz", "p2/IMAGES.nii.gz", "ser.nii.gz"}
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == masks | {"ledger.jsonl", "labels.tsv"}
    assert (tmp_path / "out/ser.nii.gz").read_bytes() == (tmp_path / "out/p2/IMAGES.nii.gz").read_bytes()
    assert left_out[0] == left_out[1] == {"file ending in .doc": 1}
    assert hash_of_file(scans) == before


def test_what_is_written_beside_a_mask_is_no_other_case_s_mask(tiny_run: RunFolder, tmp_path: Path) -> None:
    image = sorted((tiny_run.root / "cohort" / "images").iterdir())[0]
    (tmp_path / "scans").mkdir()
    for name in ("a", "a_probability_1"):
        shutil.copy(image, tmp_path / "scans" / f"{name}.nii.gz")
    with pytest.raises(OutputError, match=r"a_probability_1.nii.gz twice: for case a_probability_1 and for probability_1 of"):
        predict(tiny_run.model, [tmp_path / "scans"], tmp_path / "masks", device="cpu", save_probabilities=True)
    assert not (tmp_path / "masks").exists()


def test_a_ledger_that_is_a_link_is_not_followed_out_of_the_folder(tiny_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "masks" / "ledger.jsonl").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OutputError, match="the ledger"):
        predict(tiny_run.model, [tiny_run.root / "cohort" / "images"], tmp_path / "masks", device="cpu")
    assert (tmp_path / "mine.txt").read_text() == "mine"
