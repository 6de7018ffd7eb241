"""Everything that users get wrong, through the command line: each message names case, file, what came and what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from segsuite.engines.run_folder import RunFolder

pytestmark = pytest.mark.slow
Command = Callable[..., tuple[int, str, str]]


class Bench:
    """A copy of the cohort to break, and the model to use."""

    def __init__(self, folder: Path, run: RunFolder) -> None:
        self.folder, self.run = folder, run
        self.image, self.label = folder / "images" / "phantom_0000.nii.gz", folder / "labels" / "phantom_0000.nii.gz"
        self.manifest = folder / "manifest.json"

    def change_image(self, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
        self._change(self.image, change, affine)

    def change_label(self, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
        self._change(self.label, change, affine)

    def change_row(self, **values: object) -> None:
        content = json.loads(self.manifest.read_text())
        content["training"][0].update(values)
        self.manifest.write_text(json.dumps(content))

    def _change(self, path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None) -> None:
        image = nib.load(path)
        nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine if affine is None else affine), path)


@pytest.fixture
def bench(cohort_folder: Path, tiny_run: RunFolder, tmp_path: Path) -> Bench:
    return Bench(Path(shutil.copytree(cohort_folder, tmp_path / "data")), tiny_run)


def zero_spacing(bench: Bench) -> None:
    image = nib.load(bench.image)
    header = image.header.copy()
    data = np.asarray(image.dataobj)
    bench.image.unlink()
    bench.image = bench.image.with_name("phantom_0000.nii")
    header["pixdim"][1] = 0
    bench.image.write_bytes(header.binaryblock + b"\0" * 4 + data.tobytes(order="F"))
    bench.change_row(image="images/phantom_0000.nii")


CHECKED: dict[str, tuple[Callable[[Bench], Any], list[str]]] = {
    "4-D image": (
        lambda b: b.change_image(lambda a: np.stack([a, a], axis=-1)),
        ["phantom_0000", "must be one 3-D image", "got 4-D of shape (24, 24, 10, 2)", "Split the time points"],
    ),
    "other grid": (
        lambda b: b.change_label(lambda a: a, np.diag([4.0, 4.0, 6.0, 1.0])),
        ["phantom_0000", "must lie on one grid", "voxels apart", "Resample the mask onto the image"],
    ),
    "other shape": (
        lambda b: b.change_label(lambda a: a[:-1]),
        ["phantom_0000", "got shapes (24, 24, 10) and (23, 24, 10)", "Resample"],
    ),
    "undeclared label": (
        lambda b: b.change_label(lambda a: np.where(a == 1, 255, a).astype(np.uint8)),
        ["phantom_0000", "declared labels [0, 1, 2, 3, 4], got [0, 2, 3, 4, 255]", '"label_mapping": {"255": 1}'],
    ),
    "NaN voxels": (
        lambda b: b.change_image(lambda a: np.where(a == a.max(), np.nan, a).astype(np.float32)),
        ["phantom_0000", "must have finite voxels", "Replace them"],
    ),
    "constant image": (
        lambda b: b.change_image(lambda a: a * 0),
        ["phantom_0000", "must not be constant, got the single value 0", "leave the case out"],
    ),
    "zero spacing": (zero_spacing, ["phantom_0000", "above zero", "Correct the header"]),
    "truncated gzip": (
        lambda b: b.image.write_bytes(b.image.read_bytes()[:500]),
        ["phantom_0000", "must be a complete image file, got 500 bytes", "copy or export it again"],
    ),
    "missing file": (
        lambda b: b.image.unlink(),
        ["phantom_0000", "must be an image file, but nothing is there", "--data-root"],
    ),
    "patient in two splits": (
        lambda b: b.change_row(patient_id="P0003"),
        ["P0003", "Split by patient"],
    ),
}


@pytest.mark.parametrize("name", CHECKED)
def test_check_names_it(segsuite: Command, bench: Bench, name: str) -> None:
    spoil, parts = CHECKED[name]
    spoil(bench)
    code, out, _ = segsuite("manifest", "check", bench.manifest, "--json")
    text = " ".join(f"{finding['case']}: {finding['message']}" for finding in json.loads(out))
    assert code == 1
    assert not [part for part in parts if part not in text], text


@pytest.mark.parametrize("name", CHECKED)
def test_training_refuses_it_before_it_starts(
    segsuite: Command, bench: Bench, tiny_overrides: list[str], name: str, tmp_path: Path
) -> None:
    CHECKED[name][0](bench)
    own = [text for text in tiny_overrides if "phantom" not in text]
    words = (
        "train",
        "supervised/default",
        "--manifest",
        bench.manifest,
        "--fold",
        0,
        "--out",
        tmp_path / "run",
        "--device",
        "cpu",
    )
    code, _, err = segsuite(*words, "-j", 0, *own)
    assert code == 1
    assert "Traceback" not in err
    assert "P0003" in err if name == "patient in two splits" else "phantom_0000" in err
    assert not (tmp_path / "run" / "model").exists()


def test_empty_label_is_a_warning(segsuite: Command, bench: Bench) -> None:
    bench.change_label(lambda a: a * 0)
    code, out, _ = segsuite("manifest", "check", bench.manifest, "--json")
    assert code == 0
    assert "no declared structure in it" in json.loads(out)[0]["message"]


PREDICTED = ["4-D image", "NaN voxels", "constant image", "truncated gzip"]


@pytest.mark.parametrize("name", PREDICTED)
def test_prediction_names_it_and_finishes_the_others(segsuite: Command, bench: Bench, name: str, tmp_path: Path) -> None:
    spoil, parts = CHECKED[name]
    spoil(bench)
    code, _, err = segsuite("predict", bench.run.model, bench.folder / "images", "--out", tmp_path / "out", "--device", "cpu")
    assert code == 2
    assert not [part for part in parts if part not in err], err
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 5


SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "misspelt key": (
        ["supervised/phantom", "training.max_stps=3"],
        ["`training.max_stps` is unknown", "Did you mean `max_steps`"],
    ),
    "wrong type": (["supervised/phantom", "training.max_steps=many"], ["`training.max_steps`", "got 'many'"]),
    "unknown config": (["supervised/fantom"], ["got `supervised/fantom`", "Did you mean `supervised/phantom`"]),
    "unknown pipeline": (["supervised/phantom", "pipeline=superviced"], ["got `superviced`", "Did you mean `supervised`"]),
    "unknown device": (["supervised/phantom", "--device", "cuda:7"], ["got `cuda:7`", "--device cpu"]),
    "no cases": (["supervised/default"], ["give --manifest M.json"]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_refused_with_the_way_out(segsuite: Command, name: str, tmp_path: Path) -> None:
    words, parts = SETTINGS[name]
    code, _, err = segsuite("train", *words, "--out", tmp_path / "run")
    assert code == 1
    assert "Traceback" not in err
    assert not [part for part in parts if part not in err], err


def test_changed_weights(segsuite: Command, bench: Bench, tmp_path: Path) -> None:
    model = Path(shutil.copytree(bench.run.model, tmp_path / "model"))
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(bytes(content))
    code, _, err = segsuite("predict", model, bench.folder / "images", "--out", tmp_path / "out")
    assert code == 1
    assert "must have the sha256" in err
    assert "copy the model folder again" in err


def test_output_folder_of_another_run(segsuite: Command, bench: Bench) -> None:
    before = sorted(path.name for path in bench.run.root.iterdir())
    code, _, err = segsuite("train", "supervised/phantom", "--out", bench.run.root, "seed=5")
    assert code == 1
    assert "must be empty or a run with the same settings" in err
    assert sorted(path.name for path in bench.run.root.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: the permission of a folder cannot stop it")
def test_no_write_permission(segsuite: Command, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    code, _, err = segsuite("predict", bench.run.model, bench.folder / "images", "--out", tmp_path / "locked" / "out")
    assert code == 1
    assert "must be writable, got: Permission denied" in err


def test_a_file_in_the_place_of_the_output_folder(segsuite: Command, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("notes")
    code, _, err = segsuite("predict", bench.run.model, bench.folder / "images", "--out", tmp_path / "out")
    assert code == 1
    assert "A file is in the way" in err
    assert (tmp_path / "out").read_text() == "notes"


def test_disk_full_while_writing(segsuite: Command, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from segsuite.volumes import writing

    def full(array: object, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(writing._WRITERS, ".nii", full)
    code, _, err = segsuite("predict", bench.run.model, bench.folder / "images", "--out", tmp_path / "out", "--device", "cpu")
    assert code == 1
    assert "No space left on device" in err
    assert "Free some space" in err
    assert not list((tmp_path / "out").glob("*.nii.gz"))
