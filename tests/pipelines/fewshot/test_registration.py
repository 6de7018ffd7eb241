"""Bad supports: each a clear error that names class, shot and file, and nothing is written."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.numpy import load_file

from pipelines.fewshot.predictor import load_predictor
from pipelines.fewshot.registration import Support, described_supports, label_for, register
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import GridError, OutputError, SettingsError, VolumeError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(fewshot_run: RunFolder) -> tuple[Path, Path]:
    folder = fewshot_run.root / "cohort"
    return folder / "images" / "phantom_0001.nii.gz", folder / "labels" / "phantom_0001.nii.gz"


def run(fewshot_run: RunFolder, support: Support, out: Path, name: str = "thing", **more: object) -> object:
    predictor = load_predictor(fewshot_run.root / "base_model", device="cpu", overrides={})
    return register(predictor, name, [support], out, **more)


def test_mask_without_the_structure(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"thing, shot 1, .*0001.nii.gz: the mask must have voxels of value 9, got labels"):
        run(fewshot_run, Support((pair[0],), pair[1], 9), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_mask_on_another_grid(
    fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path, write_nifti: Callable[..., Path]
) -> None:
    mask = write_nifti(tmp_path / "mask.nii.gz", np.ones((32, 32, 12), dtype=np.uint8))
    with pytest.raises(GridError, match="must lie on one grid"):
        run(fewshot_run, Support((pair[0],), mask, 1), tmp_path / "m")


def test_other_protocol_is_refused_unless_forced(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    image, mask = (nib.load(path) for path in pair)
    for name, volume in (("i", image), ("m", mask)):
        affine = volume.affine @ np.diag([0.2, 0.2, 1.0, 1.0])
        nib.save(nib.Nifti1Image(np.asarray(volume.dataobj), affine), tmp_path / f"{name}.nii.gz")
    support = Support((tmp_path / "i.nii.gz",), tmp_path / "m.nii.gz", 5)
    with pytest.raises(VolumeError, match="must be like those of the model's training, about 3 x 3 x 6 mm, got 0.6"):
        run(fewshot_run, support, tmp_path / "out")
    run(fewshot_run, support, tmp_path / "out", force=True)


def test_names_values_and_places_that_are_taken(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """I10."""
    support = Support((pair[0],), pair[1], 5)
    with pytest.raises(SettingsError, match="`rectum` must be a new name"):
        run(fewshot_run, support, tmp_path / "m", name="rectum")
    for value, owner in ((6, "rectum"), (0, "background"), (255, "reserved")):
        with pytest.raises(SettingsError, match=rf"got {value} \({owner}\)"):
            run(fewshot_run, support, tmp_path / "m", value=value)
    mask = nib.load(pair[1])
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj) + np.float32(0.4), mask.affine), tmp_path / "half.nii.gz")
    with pytest.raises(VolumeError, match=r"half.nii.gz.* whole numbers"):
        run(fewshot_run, Support((pair[0],), tmp_path / "half.nii.gz", 5), tmp_path / "m")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError, match="must be a new or empty folder"):
        run(fewshot_run, support, tmp_path / "full")
    assert not (tmp_path / "m").exists()


def test_one_mask_may_show_two_new_structures(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """I10: they are told apart by their values."""
    first = run(fewshot_run, Support((pair[0],), pair[1], 5), tmp_path / "one")
    predictor = load_predictor(tmp_path / "one", device="cpu", overrides={})
    second = register(predictor, "other", [Support((pair[0],), pair[1], 7)], tmp_path / "two")
    assert {**first.labels, "other": second.labels["other"]} == second.labels
    bank = load_predictor(tmp_path / "two", device="cpu", overrides={}).bank
    assert bank["thing"].supports[0].digest != bank["other"].supports[0].digest


def test_next_free_value_and_few_slices(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    whole = run(fewshot_run, Support((pair[0],), pair[1], 5), tmp_path / "whole")
    assert whole.labels["thing"] == 5
    run(fewshot_run, Support((pair[0],), pair[1], 5), tmp_path / "thin", slices=1)
    counts = [described_supports(load_predictor(tmp_path / name, device="cpu", overrides={}))[0] for name in ("whole", "thin")]
    assert 0 < counts[1]["voxels"] < counts[0]["voxels"]
    assert counts[0]["expected_dice"] is None


def test_mask_of_one_voxel_is_enough(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """I9."""
    mask = nib.load(pair[1])
    single = np.zeros(mask.shape, dtype=np.uint8)
    single[3, 4, 5] = 1
    nib.save(nib.Nifti1Image(single, mask.affine), tmp_path / "one.nii.gz")
    run(fewshot_run, Support((pair[0],), tmp_path / "one.nii.gz", 1), tmp_path / "m")


def test_sides_need_a_model_that_tells_them_apart(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """I23: where training flipped patients and the network is not told places, left and right cannot be told apart."""
    predictor = load_predictor(fewshot_run.root / "base_model", device="cpu", overrides={})
    assert predictor.preprocessing.with_place
    register(predictor, "left_thing", [Support((pair[0],), pair[1], 5)], tmp_path / "a")
    predictor.model.description["flipped_axes"] = [0]
    predictor.preprocessing = replace(predictor.preprocessing, with_place=False)
    with pytest.raises(SettingsError, match="must be registered into a model that tells left from right"):
        register(predictor, "left_thing", [Support((pair[0],), pair[1], 5)], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_structure_gets_its_data_set_s_integer_where_it_is_free(
    fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Else masks and references call it differently, and an evaluation by number says that it is missed."""
    predictor = load_predictor(fewshot_run.root / "base_model", device="cpu", overrides={})
    taken = predictor.model.labels["rectum"]
    assert label_for(predictor, "thing", wanted=9) == 9
    assert label_for(predictor, "thing", wanted=taken) == label_for(predictor, "thing", wanted=None) == 5
    assert label_for(predictor, "thing", wanted=40_000) == label_for(predictor, "thing", wanted=0) == 5
    run(fewshot_run, Support((pair[0],), pair[1], 5), tmp_path / "m", value=9)
    assert label_for(load_predictor(tmp_path / "m", device="cpu", overrides={}), "thing", wanted=7) == 9


def test_a_mapping_holds_for_the_supports(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Two values of the files are one structure: as many voxels as both have, on the grid of the network."""
    found = {}
    for name, mapping, value in (("both", {5: 40, 7: 40}, 40), ("first", {}, 5), ("second", {}, 7)):
        run(fewshot_run, Support((pair[0],), pair[1], value, mapping), tmp_path / name)
        found[name] = described_supports(load_predictor(tmp_path / name, device="cpu", overrides={}))[0]["voxels"]
    assert found["both"] > max(found["first"], found["second"])


def test_packed_supports_teach_what_the_files_in_them_do(fewshot_run: RunFolder, pair: tuple[Path, Path], tmp_path: Path) -> None:
    for name, path in zip(("image.zip", "mask.zip"), pair, strict=True):
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            packed.write(path, path.name)
    learned = []
    for number, (image, mask) in enumerate((pair, (tmp_path / "image.zip", tmp_path / "mask.zip"))):
        run(fewshot_run, Support((image,), mask, 5), tmp_path / f"out{number}")
        tensors = load_file(tmp_path / f"out{number}/model.safetensors")
        learned.append({re.sub("[0-9a-f]{64}", "the support", key): value for key, value in tensors.items()})
    assert learned[0].keys() == learned[1].keys()
    for key, value in learned[0].items():
        np.testing.assert_array_equal(value, learned[1][key], err_msg=key)
