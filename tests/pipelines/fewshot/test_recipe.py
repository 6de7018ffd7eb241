"""Base training and registration as a user starts them, and what a registration must never change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from pipelines.fewshot.bank import is_novel
from pipelines.fewshot.predictor import load_predictor
from pipelines.fewshot.registration import forget, register
from pipelines.fewshot.rules import BaseKernels, Rule, make_kernel
from pipelines.fewshot.supports import supports_of_manifest
from segsuite.data.phantoms.anatomy import SURROUNDINGS, ZONES
from segsuite.engines.model_folder import read_model_folder
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.seen_scans import has_seen
from segsuite.engines.segmentation import Request
from segsuite.errors import SettingsError
from segsuite.pipeline import Runtime
from segsuite.verbs.predicting import predict
from segsuite.verbs.runs import train
from segsuite.volumes.reading import read_labels, read_volume
from segsuite.volumes.voxel_hash import voxel_hash

pytestmark = pytest.mark.slow
HERE = Runtime(device="cpu", workers=0)
BASE = {1, 2, 3, 4, 6, 7}


def image(run: RunFolder, number: int = 0) -> Path:
    return run.root / "cohort" / "images" / f"phantom_{number:04d}.nii.gz"


def opened(folder: Path, **overrides: object):
    return load_predictor(folder, device="cpu", overrides=overrides)


def test_base_training_never_sees_a_novel_label(fewshot_run: RunFolder) -> None:
    """I20: in every lesson bladder (5) and vesicles (8) are regions or background."""
    manifest = json.loads((fewshot_run.root / "cohort" / "manifest.json").read_text())
    lessons = list((fewshot_run.root / "lessons" / "training").glob("*.npy"))
    assert len(lessons) == 4
    assert all(np.load(path).max() <= 6 + 6 for path in lessons)
    description = read_model_folder(fewshot_run.root / "base_model").description
    assert set(description["labels"]) == set(manifest["labels"]) - {"bladder", "seminal_vesicles"}
    assert description["hidden"] == ["bladder", "seminal_vesicles"]
    assert description["rule"] == "with_base"


def test_base_structures_are_bit_identical_after_registration(fewshot_run: RunFolder) -> None:
    """I1, I2: logits of base classes, and masks of base structures, with and without new structures."""
    volume = read_volume(image(fewshot_run))
    base, both = opened(fewshot_run.root / "base_model"), opened(fewshot_run.model)
    before, after = (predictor.segment(volume, Request()).labels for predictor in (base, both))
    for label in BASE:
        assert np.array_equal(before == label, after == label)
    prepared = np.random.default_rng(0).normal(size=(4, 32, 32, 8)).astype(np.float32)
    first, second = (np.concatenate(list(p.rows(prepared)), axis=1) for p in (base, both))
    assert np.array_equal(first, second[: len(first)])
    assert len(second) == len(first) + 2


def test_every_session_keeps_the_network(fewshot_run: RunFolder) -> None:
    """I13: the base tensors have the same bytes in all three models."""
    folders = [fewshot_run.root / name for name in ("base_model", "session_1", "model")]
    tensors = [load_file(folder / "model.safetensors") for folder in folders]
    base = {name for name in tensors[0] if not is_novel(name)}
    for later in tensors[1:]:
        assert {name for name in later if not is_novel(name)} == base
        assert all(np.array_equal(tensors[0][name].numpy(), later[name].numpy()) for name in base)
    sessions = [entry["session"] for entry in read_model_folder(fewshot_run.model).description["kernels"]]
    assert sessions == [1, 2]


def test_a_scan_that_a_structure_was_registered_from_is_known_as_learned_from(fewshot_run: RunFolder) -> None:
    """Whether it was in the base training or not."""
    base, model = (read_model_folder(fewshot_run.root / name).description for name in ("base_model", "model"))
    supports = {support["scan"] for entry in model["kernels"] for support in entry["supports"]}
    assert supports == set(model["data"]["training_scans"]["later_hashes"])
    assert "later_hashes" not in base["data"]["training_scans"]
    known = sum(has_seen(model, voxel_hash(read_volume(image(fewshot_run, number)))) for number in range(6))
    assert known == len({*base["data"]["training_scans"]["hashes"], *supports})


def test_forgetting_gives_the_same_bytes_as_before(fewshot_run: RunFolder, tmp_path: Path) -> None:
    """I11."""
    forget(opened(fewshot_run.model), "seminal_vesicles", tmp_path / "m")
    for name in ("model.safetensors", "model.json", "README.md"):
        assert (tmp_path / "m" / name).read_bytes() == (fewshot_run.root / "session_1" / name).read_bytes()
    forget(opened(tmp_path / "m"), "bladder", tmp_path / "n")
    assert (tmp_path / "n" / "model.safetensors").read_bytes() == (
        fewshot_run.root / "base_model" / "model.safetensors"
    ).read_bytes()


def test_order_of_registration_does_not_matter(fewshot_run: RunFolder, tmp_path: Path) -> None:
    """I3 and I14, through files: vesicles first, bladder in two steps."""
    manifest = fewshot_run.root / "cohort" / "manifest.json"
    draw = lambda name, shots: supports_of_manifest(manifest, None, name, shots=shots, seed=0)
    register(opened(fewshot_run.root / "base_model"), "seminal_vesicles", draw("seminal_vesicles", 2), tmp_path / "a", value=8)
    register(opened(tmp_path / "a"), "bladder", draw("bladder", 3)[:1], tmp_path / "b", value=5)
    register(opened(tmp_path / "b"), "bladder", draw("bladder", 3)[1:], tmp_path / "c")
    register(opened(fewshot_run.root / "base_model"), "bladder", draw("bladder", 3), tmp_path / "d", value=5)
    one, other = (make_kernel(opened(tmp_path / name).bank["bladder"].supports, Rule(), BaseKernels(np.eye(8))) for name in "cd")
    assert np.array_equal(one.weights, other.weights)
    assert one.threshold == other.threshold


def test_new_structures_are_predicted_and_named(fewshot_run: RunFolder, tmp_path: Path) -> None:
    predict(fewshot_run.model, [image(fewshot_run)], tmp_path, overrides=["probability_maps=true"], device="cpu")
    assert (tmp_path / "phantom_0000_map_bladder.nii.gz").is_file()
    assert "5\tbladder" in (tmp_path / "labels.tsv").read_text()
    assert 5 in np.unique(read_labels(tmp_path / "phantom_0000.nii.gz").labels)


def test_open_competition_may_take_from_the_base(fewshot_run: RunFolder) -> None:
    volume = read_volume(image(fewshot_run))
    closed = opened(fewshot_run.model).segment(volume, Request()).labels
    rival = opened(fewshot_run.model, competition="open").segment(volume, Request()).labels
    base = np.isin(closed, list(BASE))
    assert not np.isin(rival[base], list(BASE)).all()
    with pytest.raises(SettingsError, match="competition must be one of"):
        opened(fewshot_run.model, competition="fair")


def test_same_prediction_alone_and_in_a_batch(fewshot_run: RunFolder) -> None:
    """I17: nothing of a prediction depends on other cases."""
    predictor = opened(fewshot_run.model)
    volumes = [read_volume(image(fewshot_run, number)) for number in (0, 1)]
    alone = opened(fewshot_run.model).segment(volumes[1], Request()).labels
    predictor.segment(volumes[0], Request())
    assert np.array_equal(predictor.segment(volumes[1], Request()).labels, alone)


def test_frozen_features_of_a_supervised_model(tiny_run: RunFolder, tiny_fewshot: list[str], tmp_path: Path) -> None:
    overrides = [*tiny_fewshot, f"extractor={tiny_run.model}", "training.max_steps=4", "register_novel.shots=1"]
    run = train("fewshot/phantom", overrides=overrides, out=tmp_path / "run", runtime=HERE)
    own = load_file(tiny_run.model / "model.safetensors")
    kept = load_file(run.model / "model.safetensors")
    pairs = [(own[name], kept[f"network.extractor.{name}"]) for name in own if not name.startswith("heads")]
    assert pairs
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)


def test_slices_are_taught_registered_and_predicted_too(tiny_fewshot: list[str], tmp_path: Path) -> None:
    flat = [text for text in tiny_fewshot if "patch_size" not in text] + [
        "plan.dimensions=2",
        "plan.batch_size=4",
        "training.max_steps=4",
    ]
    run = train("fewshot/phantom", overrides=flat, out=tmp_path / "run", runtime=HERE)
    assert read_model_folder(run.model).description["network"]["extractor"]["kind"] == "slice_network"
    assert predict(run.model, [image(run)], tmp_path / "p", device="cpu").n_done == 1
    assert read_labels(tmp_path / "p" / "phantom_0000.nii.gz").labels.shape == read_volume(image(run)).grid.shape


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("novel=[blader]", "got `blader`. Did you mean `bladder`"),
        (f"novel=[{','.join([*ZONES, *SURROUNDINGS])}]", "must leave structures to train on"),
        ("extractor=a", "Give either `extractor`"),
    ],
)
def test_what_cannot_be_is_named(tiny_fewshot: list[str], override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        train("fewshot/phantom", overrides=[*tiny_fewshot, override, "finetune=b"], out=tmp_path / "run", runtime=HERE)


def test_gate_and_foreground_train_deploy_and_predict(tiny_fewshot: list[str], tmp_path: Path) -> None:
    more = [
        "features.update=regions",
        "foreground.weight=1",
        "foreground.regions=true",
        "kernels.rule=gated",
        "kernels.bias=hard",
    ]
    run = train("fewshot/phantom", overrides=[*tiny_fewshot, *more], out=tmp_path / "run", runtime=HERE)
    checkpoint = load_file(run.model / "model.safetensors")
    assert any(name.startswith("network.update.") for name in checkpoint)
    predict(run.model, [image(run)], tmp_path / "p", overrides=["foreground_map=true"], device="cpu")
    objects = read_volume(tmp_path / "p" / "phantom_0000_map_unknown_foreground.nii.gz").array
    assert 0 <= objects.min() <= objects.max() <= 1
    again = [*tiny_fewshot, f"finetune={run.model}", "training.max_steps=4", "training.validation_cases=1"]
    assert train("fewshot/phantom", overrides=again, out=tmp_path / "again", runtime=HERE).is_trained
