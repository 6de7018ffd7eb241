from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from segsuite.cli import main
from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import read_manifest
from segsuite.engines.inputs import find_inputs
from segsuite.errors import ManifestError, OutputError
from segsuite.verbs.data import import_data, mask, split
from segsuite.volumes.reading import read_labels


def test_imported_manifest_finds_its_data_from_anywhere(cohort_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    out = tmp_path / "deep" / "m.json"
    manifest = import_data(cohort_folder, out, layout="folder", images="images/*.nii.gz", labels="labels/*.nii.gz")
    assert manifest.labels == {"background": 0, **{f"label_{n}": n for n in (1, 2, 3, 4)}}
    table, stratified = split(out, n_folds=3, seed=0, data_root=None, workers=1)
    assert stratified
    assert [row["cases"] for row in table] == [2, 2, 2]
    assert read_manifest(out).folds == [0, 1, 2]


def test_labels_are_taken_from_a_known_manifest(cohort_folder: Path, tmp_path: Path) -> None:
    manifest = import_data(cohort_folder, tmp_path / "m.json", layout="folder", images="images/*.nii.gz", like="prostatex_zones")
    assert manifest.structures[3] == "distal_prostatic_urethra"
    assert manifest.licence


def test_split_without_data_says_so(cohort_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text((cohort_folder / "manifest.json").read_text())
    assert split(tmp_path / "m.json", n_folds=2, seed=0, data_root=None, workers=1, overwrite=True)[1] is False


def test_folds_that_models_were_trained_on_are_not_lost_unasked(cohort_folder: Path, tmp_path: Path) -> None:
    source = cohort_folder / "manifest.json"
    first = tmp_path / "m.json"
    split(source, n_folds=3, seed=1, data_root=None, workers=1, out=first)
    before = first.read_bytes()
    split(source, n_folds=3, seed=1, data_root=None, workers=1, out=first)
    assert first.read_bytes() == before, "the same folds are no loss"
    with pytest.raises(OutputError, match=r"has folds already, and \d of 6 cases would get another one"):
        split(first, n_folds=2, seed=1, data_root=None, workers=1)
    assert first.read_bytes() == before
    split(first, n_folds=2, seed=1, data_root=None, workers=1, overwrite=True)
    assert read_manifest(first).folds == [0, 1]


def test_a_manifest_of_other_labels_is_not_lost_to_a_split(cohort_folder: Path, tmp_path: Path) -> None:
    source, other = tmp_path / "source.json", tmp_path / "other.json"
    import_data(cohort_folder, source, layout="auto")
    content = json.loads(source.read_text())
    content["labels"] = {name if value == 0 else f"organ_{value}": value for name, value in content["labels"].items()}
    other.write_text(json.dumps(content))
    before = other.read_text()
    with pytest.raises(OutputError, match="differs in more than folds"):
        split(source, n_folds=2, seed=0, data_root=None, workers=1, out=other)
    assert other.read_text() == before
    split(source, n_folds=2, seed=0, data_root=None, workers=1, out=other, overwrite=True)
    assert json.loads(other.read_text())["labels"] == json.loads(source.read_text())["labels"]


def test_masks_of_a_model_become_labels(cohort_folder: Path, tmp_path: Path) -> None:
    source, masks = cohort_folder / "manifest.json", tmp_path / "masks"
    masks.mkdir()
    cases = find_inputs([source], n_channels=1)
    for case, row in zip(cases[1:], read_manifest(source).cases[1:], strict=True):
        shutil.copyfile(label_path(row, cohort_folder), masks / case.output)
    (masks / "labels.tsv").write_text("index\tname\n0\tbackground\n1\tgland\n")
    with pytest.raises(ManifestError, match=f"got none for 1 of 6, first {cases[0].output}. Make them: segsuite predict MODEL"):
        mask(source, masks, tmp_path / "deep" / "m.json")
    shutil.copyfile(label_path(read_manifest(source).cases[0], cohort_folder), masks / cases[0].output)
    with pytest.raises(SystemExit):
        main(["manifest", "mask", str(source), "--masks", str(masks), "--out", str(tmp_path / "deep" / "m.json")])
    made = read_manifest(tmp_path / "deep" / "m.json")
    assert (made.structures, made.folds) == ({1: "gland"}, read_manifest(source).folds)
    root = find_data_root(made, tmp_path / "deep" / "m.json", None)
    for row, case in zip(made.cases, cases, strict=True):
        assert image_paths(row, root)[0].resolve() == case.images[0].resolve()
        assert label_path(row, root).resolve() == (masks / case.output).resolve()
        assert read_labels(label_path(row, root)).labels.any()


def test_a_fold_per_site(cohort_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((cohort_folder / "manifest.json").read_text())
    for number, row in enumerate(content["training"]):
        row["site"] = "ab"[number % 2]
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        main(["manifest", "split", str(tmp_path / "m.json"), "--by", "site", "--json", "--overwrite"])
    assert [row["cases"] for row in json.loads(capsys.readouterr().out)] == [3, 3]
    assert {(case.site, case.fold) for case in read_manifest(tmp_path / "m.json").cases} == {("a", 0), ("b", 1)}
    with pytest.raises(SystemExit) as ended:
        main(["manifest", "split", str(tmp_path / "m.json"), "--by", "scanner"])
    assert ended.value.code == 1
    assert "--by must be patient or site, got `scanner`" in capsys.readouterr().err
