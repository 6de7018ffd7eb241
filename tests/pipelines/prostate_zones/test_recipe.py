"""Training as a user starts it: both stages, fine-tuned, full size, on partly labelled cases."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.torch import load_file

from pipelines.prostate_zones.module import ZoneModule
from segsuite.data.manifest import read_manifest, write_manifest
from segsuite.engines.model_folder import read_model_folder
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ManifestError, ModelError, SettingsError
from segsuite.pipeline import Runtime
from segsuite.verbs.predicting import predict
from segsuite.verbs.runs import train

pytestmark = pytest.mark.slow
HERE = Runtime(device="cpu", workers=0)


@pytest.fixture(autouse=True)
def _stage_2_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps teach no zone, so these runs do not wait for any."""
    monkeypatch.setattr(ZoneModule, "lost_zones", lambda self: [])


def weights(run: RunFolder) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in load_file(run.model / "model.safetensors").items()}


def test_both_stages_run_and_the_model_says_so(tiny_zones: list[str], tmp_path: Path) -> None:
    run = train("prostate_zones/phantom", overrides=tiny_zones, out=tmp_path / "run", runtime=HERE)
    description = read_model_folder(run.model).description
    assert description["training"]["second_stage"]["began_at"] == pytest.approx(8 / 12, abs=1e-3)
    assert description["codes"]["peripheral_zone"]["value"] == "279706003"
    assert description["network"]["branches"] == [[1, 2, 3], [1, 2, 4]]
    history = run.history.read_text()
    assert all(f",{name}," in history for name in ("zones", "sdm", "gland", "recon", "presence", "co_training", "stage"))


def test_fine_tuning_starts_from_the_model(zone_run: RunFolder, tiny_zones: list[str], tmp_path: Path) -> None:
    """One step at a rate of zero gives the same weights; preprocessing and network come from the model."""
    still = [*tiny_zones, "training.learning_rate=1e-12", "training.max_steps=4", "training.weight_decay=0"]
    overrides = [*still, f"finetune={zone_run.model}", "network.channels=[6,8,16]", "image.spacing_mm=[2.0,2.0,2.0]"]
    tuned = train("prostate_zones/phantom", overrides=overrides, out=tmp_path / "run", runtime=HERE)
    before, after = weights(zone_run), weights(tuned)
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before)
    description = read_model_folder(tuned.model).description
    assert description["preprocessing"]["spacing_mm"] == [3.0, 3.0, 6.0]
    assert description["training"]["finetuned_from"] == str(zone_run.model)


def test_fine_tuning_on_other_labels_is_refused(zone_run: RunFolder, tiny_zones: list[str], tmp_path: Path) -> None:
    manifest = read_manifest(zone_run.root / "cohort" / "manifest.json")
    swapped = manifest.model_copy(update={"labels": {**manifest.labels, "transition_zone": 9}})
    write_manifest(zone_run.root / "cohort" / "other.json", swapped)
    overrides = [*tiny_zones, "data.phantom=null", f"data.manifest={zone_run.root / 'cohort' / 'other.json'}"]
    with pytest.raises(ModelError, match="must have the labels of the manifest"):
        train("prostate_zones/phantom", overrides=[*overrides, f"finetune={zone_run.model}"], out=tmp_path / "r", runtime=HERE)


def test_fine_tuning_another_pipelines_model_is_refused(tiny_run: RunFolder, tiny_zones: list[str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model of `prostate_zones`, got one of `supervised`"):
        train("prostate_zones/phantom", overrides=[*tiny_zones, f"finetune={tiny_run.model}"], out=tmp_path / "r", runtime=HERE)


def test_partly_labelled_cases_train_beside_whole_ones(tiny_zones: list[str], zone_run: RunFolder, tmp_path: Path) -> None:
    """Half of the cases lose DPU and AFS to TZ and background, as in a two-zone data set."""
    source = zone_run.root / "cohort"
    manifest = read_manifest(source / "manifest.json")
    rows = []
    for number, case in enumerate(manifest.training):
        if case.label is not None and number % 2:
            image = nib.load(source / case.label)
            labels = np.array([0, 1, 2, 2, 0], dtype=np.uint8)[np.asarray(image.dataobj)]
            nib.save(nib.Nifti1Image(labels, image.affine, image.header), tmp_path / Path(case.label).name)
            update = {"label": str(tmp_path / Path(case.label).name), "labelled": ["peripheral_zone", "transition_zone"]}
            case = case.model_copy(update=update)
        rows.append(case)
    write_manifest(tmp_path / "m.json", manifest.model_copy(update={"training": rows, "data_root": str(source)}))
    overrides = [*tiny_zones, "data.phantom=null", f"data.manifest={tmp_path / 'm.json'}"]
    run = train("prostate_zones/phantom", overrides=overrides, out=tmp_path / "run", runtime=HERE)
    assert run.is_trained


def test_zones_that_the_manifest_lacks_are_named(tiny_zones: list[str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="got `periferal_zone`. .*peripheral_zone"):
        train(
            "prostate_zones/phantom",
            overrides=[*tiny_zones, "network.branches=[[periferal_zone]]", "co_training.share=0"],
            out=tmp_path / "a",
            runtime=HERE,
        )
    with pytest.raises(SettingsError, match=r"must hold every structure of the manifest, got none with \['anterior"):
        train(
            "prostate_zones/phantom",
            overrides=[
                *tiny_zones,
                "network.branches=[[peripheral_zone,transition_zone,distal_prostatic_urethra]]",
                "co_training.share=0",
            ],
            out=tmp_path / "b",
            runtime=HERE,
        )


def test_swapped_labels_are_refused_before_training(zone_run: RunFolder, tiny_zones: list[str], tmp_path: Path) -> None:
    source = zone_run.root / "cohort"
    manifest = read_manifest(source / "manifest.json")
    labels = {**manifest.labels, "distal_prostatic_urethra": 4, "anterior_fibromuscular_stroma": 3}
    update = {"labels": dict(sorted(labels.items(), key=lambda item: item[1])), "data_root": str(source)}
    write_manifest(tmp_path / "m.json", manifest.model_copy(update=update))
    overrides = [*tiny_zones, "data.phantom=null", f"data.manifest={tmp_path / 'm.json'}"]
    with pytest.raises(ManifestError, match="the AFS is not before the TZ"):
        train("prostate_zones/phantom", overrides=overrides, out=tmp_path / "run", runtime=HERE)


def test_full_size_recipe_starts(tmp_path: Path) -> None:
    """The network and spacing of Meyer et al. for one step on phantoms of that size; the patch is a third as wide, for time."""
    overrides = [
        "data.phantom={n_cases: 2, n_folds: 2, shape: [168, 168, 28], spacing_mm: [0.5, 0.5, 3.0]}",
        "image.patch_size=[56,56,32]",
        "training.max_steps=1",
        "training.steps_per_epoch=1",
        "training.batch_size=1",
        "training.validation_cases=1",
        "training.epochs_per_validation=0",
        "inference.mirror=false",
        "inference.overlap=0.0",
    ]
    run = train("prostate_zones/meyer2019", overrides=overrides, out=tmp_path / "run", runtime=HERE)
    assert sum(array.size for name, array in weights(run).items() if "running" not in name and "num_" not in name) == 6_098_245


def test_prediction_writes_mask_uncertainty_and_report(zone_run: RunFolder, tmp_path: Path) -> None:
    image = zone_run.root / "cohort" / "images" / "phantom_0000.nii.gz"
    (tmp_path / "known.tsv").write_text("case\tpsa\nphantom_0000\t6\n")
    outcome = predict(zone_run.model, [image], tmp_path, attributes=tmp_path / "known.tsv", force=True, device="cpu")
    assert outcome.n_done == 1
    mask, doubt = (nib.load(tmp_path / f"phantom_0000{name}.nii.gz") for name in ("", "_map_uncertainty"))
    assert mask.get_data_dtype() == np.uint8
    assert doubt.shape == mask.shape == nib.load(image).shape
    assert 0 <= doubt.get_fdata().min() < doubt.get_fdata().max() <= 1
    assert json.loads((tmp_path / "phantom_0000_report.json").read_text())["psa_ng_per_ml"] == 6
    assert (tmp_path / "labels.tsv").read_text().startswith("index\tname\n0\tbackground\n1\tperipheral_zone\n")
