"""Training as a user starts it: killed, resumed, with early stop, in 2-D, over folds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file

from pipelines.supervised.network import build_network
from segsuite.engines import training
from segsuite.engines.model_folder import read_model_folder
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError
from segsuite.pipeline import Runtime
from segsuite.verbs.predicting import predict
from segsuite.verbs.runs import train
from segsuite.volumes.reading import read_labels
from segsuite.volumes.writing import is_side_volume, side_volume

pytestmark = pytest.mark.slow
HERE = Runtime(device="cpu", workers=0)


def test_killed_training_ends_with_the_same_weights(tiny_overrides: list[str], tmp_path: Path) -> None:
    """kill -9 once the first checkpoint is there, then the same command again."""
    longer = [text for text in tiny_overrides if "max_steps" not in text] + ["training.max_steps=20"]
    unbroken = train("supervised/phantom", overrides=longer, out=tmp_path / "unbroken", runtime=HERE)
    command = [sys.executable, "-m", "segsuite", "train", "supervised/phantom", *longer, "--fold", "0"]
    command += ["--out", str(tmp_path / "killed"), "--device", "cpu", "-j", "2", "-q"]
    process = subprocess.Popen(command)
    while process.poll() is None and not (tmp_path / "killed" / "checkpoints" / "last.ckpt").is_file():
        time.sleep(0.05)
    assert process.poll() is None, "the training must still run when its first checkpoint appears"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not RunFolder(tmp_path / "killed").is_trained
    subprocess.run(command, check=True)
    first, second = (load_file(run / "model" / "model.safetensors") for run in (unbroken.root, tmp_path / "killed"))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name].numpy(), second[name].numpy()) for name in first)
    history = (tmp_path / "killed" / "history.csv").read_text().splitlines()
    assert len(history) == len((unbroken.root / "history.csv").read_text().splitlines())


def test_finished_run_is_not_trained_again(tiny_overrides: list[str], tiny_run: RunFolder) -> None:
    before = (tiny_run.model / "model.safetensors").stat().st_mtime_ns
    train("supervised/phantom", overrides=tiny_overrides, out=tiny_run.root, runtime=HERE)
    assert (tiny_run.model / "model.safetensors").stat().st_mtime_ns == before


def test_early_stop_exports_the_best(tiny_overrides: list[str], tmp_path: Path) -> None:
    stopping = [
        "training.patience=1",
        "training.epochs_per_validation=1",
        "training.max_steps=40",
        "training.learning_rate=1e-9",
    ]
    run = train("supervised/phantom", overrides=[*tiny_overrides, *stopping], out=tmp_path / "run", runtime=HERE)
    assert (run.checkpoints / "best.ckpt").is_file()
    steps = [int(line.split(",")[0]) for line in run.history.read_text().splitlines()[1:]]
    assert max(steps) < 40


def test_training_ends_when_the_target_is_reached(tiny_overrides: list[str], tmp_path: Path) -> None:
    wanted = ["training.target=0.000001", "training.epochs_per_validation=1", "training.max_steps=400"]
    run = train("supervised/phantom", overrides=[*tiny_overrides, *wanted], out=tmp_path / "run", runtime=HERE)
    steps = [int(line.split(",")[0]) for line in run.history.read_text().splitlines()[1:]]
    assert max(steps) < 400
    assert read_model_folder(run.model).description["training"]["validation_dice"]


def test_slices_are_trained_and_predicted_too(tiny_overrides: list[str], tmp_path: Path) -> None:
    flat = [text for text in tiny_overrides if "patch_size" not in text and "max_steps" not in text]
    flat += ["plan.dimensions=2", "plan.patch_size=[32,32,1]", "training.max_steps=4", "plan.batch_size=4"]
    run = train("supervised/phantom", overrides=flat, out=tmp_path / "run", runtime=HERE)
    outcome = predict(run.model, [run.root / "cohort" / "images"], tmp_path / "masks", device="cpu")
    assert (outcome.n_done, outcome.failures) == (6, {})


def test_regions_are_trained_predicted_and_written_by_their_order(tiny_overrides: list[str], tmp_path: Path) -> None:
    run = train("supervised/regions_phantom", overrides=tiny_overrides, out=tmp_path / "run", runtime=HERE)
    description = read_model_folder(run.model).description
    assert description["network"]["out_channels"] == len(description["regions"]) == 4
    assert set(description["training"]["validation_dice"]) == set(description["regions"])
    assert "| inner gland | 2, 3, 4 | 2 |" in (run.model / "README.md").read_text()
    images = run.root / "cohort" / "images"
    outcome = predict(run.model, [images], tmp_path / "masks", device="cpu", save_regions=True)
    assert (outcome.n_done, outcome.failures) == (6, {})
    masks = sorted(path for path in (tmp_path / "masks").glob("*.nii.gz") if not is_side_volume(path))
    assert len(masks) == 6
    for path in masks:
        expected = np.zeros_like(read_labels(path).labels)
        for value, word in enumerate(("gland", "inner-gland", "urethra", "stroma"), start=1):
            expected[read_labels(side_volume(path, f"region_{word}")).labels == 1] = value
        assert np.array_equal(read_labels(path).labels, expected)


def test_single_labels_are_trained_where_the_settings_say_so(tiny_overrides: list[str], tmp_path: Path) -> None:
    told: list[str] = []
    overrides = [*tiny_overrides, "training.regions=false", "training.max_steps=1"]
    listening = Runtime(device="cpu", workers=0, progress=lambda doing, *_: told.append(doing))
    run = train("supervised/regions_phantom", overrides=overrides, out=tmp_path / "run", runtime=listening)
    description = read_model_folder(run.model).description
    assert "regions" not in description
    assert description["network"]["out_channels"] == 5
    assert any("training the single labels, not the regions gland, inner gland" in text for text in told)
    with pytest.raises(SettingsError, match="--save-regions must have a model that was trained on regions"):
        predict(run.model, [run.root / "cohort" / "images"], tmp_path / "masks", save_regions=True)


def test_two_processes_train_the_weights_of_one_although_a_rank_dies(
    tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with several GPUs: torchrun, one process per device. The second is killed once the first checkpoint is
    there; the first must not wait for it for ever, and the same command goes on. One process with the same patches in each step,
    taken one after the other, must reach the same weights."""
    n_steps = 12
    longer = [text for text in tiny_overrides if "max_steps" not in text] + [f"training.max_steps={n_steps}"]
    longer += ["plan.batch_size=1"]
    run = RunFolder(tmp_path / "run")
    with _two_processes(longer, run.root) as process:
        while process.poll() is None and not (run.checkpoints / "last.ckpt").is_file():
            time.sleep(0.02)
        workers = psutil.Process(process.pid).children()
        next(worker for worker in workers if worker.environ()["RANK"] == "1").kill()
        process.communicate(timeout=120)
    assert process.returncode != 0
    assert not psutil.wait_procs(workers, timeout=60)[1]
    assert not run.is_trained
    with _two_processes(longer, run.root) as process:
        said = process.communicate()[1]
    assert process.returncode == 0, said[-2000:]
    assert run.is_trained
    rows = [line.split(",") for line in run.history.read_text().splitlines()[1:]]
    steps = [int(row[0]) for row in rows if row[2] == "loss"]
    assert steps == sorted(set(steps))
    assert steps[-1] == n_steps
    outcome = predict(run.model, [run.root / "cohort" / "images"], tmp_path / "masks", device="cpu")
    assert outcome.failures == {}
    both_at_once = partial(pl.Trainer, accumulate_grad_batches=2)
    monkeypatch.setattr(training.pl, "Trainer", both_at_once)
    alone = [*longer, "training.steps_per_epoch=8", "data.fold=0"]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in each of the two: sums in another order would grow into other weights
    try:
        other = train("supervised/phantom", overrides=alone, out=tmp_path / "alone", runtime=HERE)
    finally:
        torch.set_num_threads(n_threads)
    two, one = (_trained_weights(found.checkpoints / "last.ckpt") for found in (run, other))
    fresh = read_model_folder(other.model).description["network"]
    torch.manual_seed(0)
    start = build_network(fresh).state_dict()
    for name, weight in one.items():  # Adam enlarges the rounding of single weights whose gradient is almost 0
        moved, apart = (weight - start[name]).norm(), (two[name] - weight).norm()
        assert moved > 0
        assert apart < 0.01 * moved, f"{name}: moved by {moved:.4f}, apart {apart:.6f}"


def _two_processes(overrides: list[str], out: Path) -> subprocess.Popen[str]:
    """A training by torchrun on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "segsuite"]
    command += ["train", "supervised/phantom", *overrides, "--fold", "0", "--out", str(out), "--device", "cpu", "-j", "0", "-q"]
    loopback = "lo" if sys.platform == "linux" else "lo0"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _trained_weights(checkpoint: Path, prefix: str = "network.") -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}


def test_all_folds_make_an_ensemble(tiny_overrides: list[str], tmp_path: Path) -> None:
    from segsuite.data.phantoms.cohort import PhantomCohort, write_phantom_cohort

    write_phantom_cohort(tmp_path / "c", PhantomCohort(n_cases=4, n_folds=2, shape=(32, 32, 12), spacing_mm=(3, 3, 6)))
    own = [text for text in tiny_overrides if "phantom" not in text]
    own += ["data.phantom=null", f"data.manifest={tmp_path / 'c' / 'manifest.json'}"]
    run = train("supervised/phantom", overrides=own, out=tmp_path / "run", folds=[0, 1], runtime=HERE)
    outcome = predict(run.model, [tmp_path / "c" / "manifest.json"], tmp_path / "masks", fold=0, device="cpu")
    assert (outcome.n_done, outcome.failures) == (2, {})


def test_fine_tuning_takes_over_network_and_preprocessing(tiny_run: RunFolder, tiny_overrides: list[str], tmp_path: Path) -> None:
    still = [*tiny_overrides, "training.learning_rate=1e-12", "training.max_steps=4", "plan.base_channels=6"]
    overrides = [*still, f"finetune={tiny_run.model}", "data.phantom.seed=5", "training.weight_decay=0"]
    tuned = train("supervised/phantom", overrides=overrides, out=tmp_path / "run", runtime=HERE)
    before, after = (load_file(run.model / "model.safetensors") for run in (tiny_run, tuned))
    assert all(np.allclose(before[name].numpy(), after[name].numpy(), atol=1e-6) for name in before)
