from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.engines.run_folder import RunFolder
from segsuite.verbs import runs

pytestmark = pytest.mark.slow
Command = Callable[..., tuple[int, str, str]]


def test_predict_evaluate_report(segsuite: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    manifest = tiny_run.root / "cohort" / "manifest.json"
    (tmp_path / "papers").mkdir()
    shutil.copy(tiny_run.root / "cohort" / "images" / "phantom_0000.nii.gz", tmp_path / "papers" / "a.nii.gz")
    (tmp_path / "papers" / "letter.doc").write_text("text")
    code, out, err = segsuite(
        "predict", tiny_run.root, tmp_path / "papers", "--out", tmp_path / "beside", "--json", "--no-isolate"
    )
    assert (code, json.loads(out)["left_out"]) == (0, {"file ending in .doc": 1})
    assert "left out: 1 file ending in .doc" in err
    code, out, _ = segsuite(
        "predict", tiny_run.root, manifest, "--fold", 1, "--out", tmp_path / "predictions", "--json", "--isolate"
    )
    assert (code, json.loads(out)["done"]) == (0, 2)
    words = (tmp_path / "predictions", manifest, "--fold", 1, "--out", tmp_path / "evaluation", "-j", 1, "--json")
    code, out, _ = segsuite("evaluate", *words)
    assert (code, json.loads(out)["n_expected"]) == (0, 2)
    table = (tmp_path / "predictions" / "labels.tsv").read_text().splitlines()
    assert table[:3] == ["index\tname", "0\tbackground", "1\tperipheral_zone"]
    code, _, err = segsuite("report", tmp_path)
    assert code == 0
    assert "report.html" in err


def test_shards_together_are_everything(segsuite: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    images = tiny_run.root / "cohort" / "images"
    for number in (1, 2):
        assert segsuite("predict", tiny_run.model, images, "--out", tmp_path, "--shard", f"{number}/2", "-q")[0] == 0
    assert {path.name for path in tmp_path.glob("*.nii.gz")} == {path.name for path in images.iterdir()}


def test_killed_prediction_goes_on_to_the_same_bytes(tiny_run: RunFolder, segsuite: Command, tmp_path: Path) -> None:
    images = tiny_run.root / "cohort" / "images"
    assert segsuite("predict", tiny_run.model, images, "--out", tmp_path / "whole", "--device", "cpu", "-q")[0] == 0
    command = [sys.executable, "-m", "segsuite", "predict", str(tiny_run.model), str(images)]
    command += ["--out", str(tmp_path / "killed"), "--device", "cpu", "-q"]
    process = subprocess.Popen(command)
    ledger = tmp_path / "killed" / "ledger.jsonl"
    while process.poll() is None and not (ledger.is_file() and ledger.read_text().count("\n") >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {json.loads(line)["case"]: json.loads(line)["time"] for line in ledger.read_text().splitlines() if line.endswith("}")}
    subprocess.run(command, check=True)
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert {line["case"] for line in lines} == {path.name.removesuffix(".nii.gz") for path in images.iterdir()}
    assert all(sum(line["case"] == case for line in lines) == 1 for case in done), "what was done is not done again"
    for mask in (tmp_path / "whole").glob("*.nii.gz"):
        assert mask.read_bytes() == (tmp_path / "killed" / mask.name).read_bytes()


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "asked to end"])
def test_interrupt_exits_with_130(tiny_run: RunFolder, tmp_path: Path, signal_: signal.Signals) -> None:
    """SIGTERM lets the case in hand finish: every mask that is there is in the ledger."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(200):  # so many that no machine is done before the signal comes
        os.link(tiny_run.root / "cohort" / "images" / "phantom_0000.nii.gz", scans / f"scan_{number}.nii.gz")
    command = [sys.executable, "-m", "segsuite", "predict", str(tiny_run.model), str(scans)]
    here = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would the child
    process = subprocess.Popen([*command, "--out", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True, env=os.environ)
    signal.signal(signal.SIGINT, here)
    ledger = tmp_path / "out" / "ledger.jsonl"
    while process.poll() is None and not ledger.is_file():
        time.sleep(0.01)
    process.send_signal(signal_)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: what is finished is kept" in err
    if signal_ == signal.SIGTERM:
        done = {json.loads(line)["case"] for line in ledger.read_text().splitlines()}
        assert done == {path.name.removesuffix(".nii.gz") for path in (tmp_path / "out").glob("*.nii.gz")}


@pytest.mark.data
def test_phantom_model_predicts_dicom_and_nifti_on_their_own_grids(
    segsuite: Command, tiny_run: RunFolder, real_data: Path, tmp_path: Path
) -> None:
    cases = real_data / "prostate_t2"
    inputs = [cases / "ProstateX-0217" / "t2w.nii.gz", cases / "ProstateX-0218" / "t2w_dicom"]
    assert segsuite("predict", tiny_run.model, *inputs, "--out", tmp_path, "-q")[0] == 0
    image, mask = nib.load(inputs[0]), nib.load(tmp_path / "t2w.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    series = nib.load(tmp_path / "t2w_dicom.nii.gz")
    peer = nib.load(cases / "ProstateX-0218" / "t2w.nii.gz")
    assert sorted(series.shape) == sorted(peer.shape)


def test_model_is_applied_as_told(segsuite: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    image = tiny_run.root / "cohort" / "images" / "phantom_0000.nii.gz"
    words = ("predict", tiny_run.model, image, "--device", "cpu", "-q", "--out", tmp_path)
    assert segsuite(*words)[0] == 0
    code, out, _ = segsuite(*words, "--json")
    assert json.loads(out)["skipped"] == 1
    code, out, _ = segsuite(*words, "--set", "overlap=0.75", "--json")
    assert (code, json.loads(out)["done"]) == (0, 1)
    code, _, err = segsuite(*words, "--set", "overlapp=0.75")
    assert code == 1
    assert "got `overlapp`. Did you mean `overlap`" in err
    (tmp_path / "known.tsv").write_text("case\tpsa\nstranger\t4\n")
    code, _, err = segsuite(*words, "--attributes", tmp_path / "known.tsv")
    assert code == 1
    assert "must name cases of the input, got ['stranger']" in err


@pytest.mark.parametrize(("share", "is_told"), [(0.3, True), (0.04, False)])
def test_a_training_that_waits_for_data_says_what_helps(
    share: float, is_told: bool, segsuite: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run" / "fold_0")
    run.root.mkdir(parents=True)
    # the first epoch also starts the loaders
    shares = (0.9, share, share)
    rows = "".join(f"{50 * n},1,data_wait_share,{value}\n" for n, value in enumerate(shares))
    run.history.write_text(f"step,minutes,name,value\n{rows}")
    monkeypatch.setattr(runs, "train", lambda *_, **__: RunFolder(tmp_path / "run"))
    code, _, told = segsuite("train", "supervised/phantom", "--out", tmp_path / "run")
    assert code == 0
    assert (f"fold_0: the network waited for data {share:.0%} of the time. More loader processes" in told) is is_told
