from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.doctor import all_orientations
from segsuite.engines.model_folder import read_model_folder, write_ensemble, write_model_folder
from segsuite.engines.model_predictor import ModelPredictor, model_of_pipeline
from segsuite.engines.segmentation import Request
from segsuite.errors import ModelError, SettingsError
from segsuite.volumes.grid import Grid, network_grid, resample
from segsuite.volumes.volume import Volume

IMAGE = np.random.default_rng(0).normal(size=(1, 9, 8, 8)).astype(np.float32)


def build(arguments: dict[str, Any]) -> torch.nn.Module:
    return torch.nn.Conv3d(1, 2, arguments["kernel"], padding=arguments["kernel"] // 2)


def write(folder: Path, seed: int, components: tuple[int, ...] = ()) -> Path:
    torch.manual_seed(seed)
    inference = {"patch_size": [8, 8, 8], "overlap": 0.5, "mirror_axes": [], "precision": "float32"}
    description = {
        "pipeline": "p",
        "labels": {"background": 0, "x": 3},
        "class_labels": [0, 3],
        "channels": {"0": "t2"},
        "preprocessing": Preprocessing(None, (Normalisation(),)).to_json(),
        "network": {"kernel": 3},
        "inference": {**inference, "largest_component": list(components)},
    }
    write_model_folder(folder, weights=build({"kernel": 3}).state_dict(), description=description, card="")
    return folder


def opened(folder: Path, pipeline: str = "p", builder: Any = build, **overrides: Any) -> ModelPredictor:
    return ModelPredictor(model_of_pipeline(folder, pipeline=pipeline), builder, device="cpu", overrides=overrides)


def probabilities(predictor: ModelPredictor) -> np.ndarray:
    return np.concatenate(list(predictor.rows(IMAGE)), axis=1)


def test_ensemble_is_the_mean_of_its_members(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(seed), seed, components) for seed, components in ((0, (3,)), (1, ()))]
    write_ensemble(tmp_path / "e", folders, card="")
    single = [probabilities(opened(folder)) for folder in folders]
    ensemble = opened(tmp_path / "e")
    np.testing.assert_allclose(probabilities(ensemble), (single[0] + single[1]) / 2, atol=1e-6)
    assert ensemble.largest_component == ()
    assert ensemble.class_labels == (0, 3)


def test_another_model_has_another_hash(tmp_path: Path) -> None:
    hashes = {opened(write(tmp_path / str(s), s)).sha256 for s in (0, 1)}
    assert len(hashes) == 2


def test_model_of_another_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model of `q`, got one of `p`"):
        opened(write(tmp_path / "m", 0), "q")


def test_weights_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must hold the weights of its own network"):
        opened(write(tmp_path / "m", 0), builder=lambda _: build({"kernel": 5}))


def test_overrides_change_how_the_model_is_applied_and_its_hash(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", 0)
    plain, wide = opened(folder), opened(folder, overlap=0.75, patch_size=[4, 4, 4])
    assert plain.sha256 != wide.sha256
    assert not np.allclose(probabilities(plain), probabilities(wide))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"overlapp": 0.5}, "got `overlapp`.*overlap"), ({"overlap": "much"}, "overlap must be like 0.5, got 'much'")],
)
def test_override_that_does_not_exist_or_fit(tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        opened(write(tmp_path / "m", 0), **overrides)


def with_regions(folder: Path, seed: int, *, components: tuple[str, ...] = (), **changes: Any) -> Path:
    """A model of two regions, its bias so that regions are in pieces."""
    torch.manual_seed(seed)
    content = read_model_folder(write(folder / "plain", seed)).description
    content |= {"regions": {"whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2], "class_labels": [0, 1, 2], **changes}
    content["labels"] = {"background": 0, "shell": 1, "core": 2}
    content["inference"] = {**content["inference"], "largest_component": list(components)}
    network = build({"kernel": 3})
    torch.nn.init.constant_(network.bias, -0.7)
    write_model_folder(folder, weights=network.state_dict(), description=content, card="")
    return folder


VOLUME = Volume(IMAGE, Grid((9, 8, 8), np.diag([-1.0, 1.0, 2.0, 1.0])))


def test_regions_of_an_ensemble_are_decided_on_the_mean_of_its_members(tmp_path: Path) -> None:
    folders = [with_regions(tmp_path / str(seed), seed) for seed in (0, 1)]
    write_ensemble(tmp_path / "e", folders, card="")
    single = [probabilities(opened(folder)) for folder in folders]
    mean = (single[0] + single[1]) / 2
    ensemble = opened(tmp_path / "e")
    np.testing.assert_allclose(probabilities(ensemble), mean, atol=1e-6)
    request = Request("a", keep_probabilities=True, keep_regions=True)
    found = ensemble.segment(VOLUME, request)
    in_space = found.probabilities
    assert np.array_equal(found.mask, np.where(in_space[1] >= 0.5, 2, np.where(in_space[0] >= 0.5, 1, 0)))
    assert ensemble.regions is not None
    assert found.channel_words == ("whole", "core")
    assert ensemble.segment(VOLUME, Request("a")).region_codes is None


def test_only_the_largest_component_of_a_region_is_kept_where_its_model_says_so(tmp_path: Path) -> None:
    plain = opened(with_regions(tmp_path / "a", 0)).segment(VOLUME, Request("a", keep_regions=True))
    reduced = opened(with_regions(tmp_path / "b", 0, components=("core",))).segment(VOLUME, Request("a", keep_regions=True))
    before, after = dict(plain.region_masks()), dict(reduced.region_masks())
    n_parts = ndimage.label(before["core"], np.ones((3, 3, 3)))[1]
    assert n_parts > 1
    assert ndimage.label(after["core"], np.ones((3, 3, 3)))[1] == 1
    assert np.array_equal(after["whole"], before["whole"])
    assert np.array_equal(reduced.mask, np.where(after["core"], 2, np.where(after["whole"], 1, 0)))


def test_region_to_reduce_that_is_none_is_named(tmp_path: Path) -> None:
    folder = with_regions(tmp_path / "a", 0)
    with pytest.raises(SettingsError, match="must name regions, got `wole`. Did you mean `whole`"):
        opened(folder, largest_component=["wole"])


def test_members_with_other_regions_are_no_ensemble(tmp_path: Path) -> None:
    first = with_regions(tmp_path / "0", 0)
    second = with_regions(tmp_path / "1", 1, regions_class_order=[2, 1])
    with pytest.raises(ModelError, match="must agree in `regions_class_order`, got .1, 2. in"):
        write_ensemble(tmp_path / "e", [first, second], card="")
    with pytest.raises(ModelError, match="must agree in `labels`"):
        write_ensemble(tmp_path / "e", [first, write(tmp_path / "2", 2)], card="")


@pytest.mark.parametrize("matrix", all_orientations()[::11], ids=lambda m: Grid((2, 2, 2), m).orientation)
def test_regions_are_the_same_in_whatever_order_a_file_stores_the_axes(tmp_path: Path, matrix: np.ndarray) -> None:
    predictor = opened(with_regions(tmp_path / "a", 0, components=("core",)))
    upright = Volume(IMAGE, Grid((9, 8, 8), np.eye(4)))
    native = network_grid(upright.grid, spacing_mm=None).affine @ matrix
    size = tuple(int(n) for n in np.abs(matrix[:3, :3]).T @ np.array([9, 8, 8]))
    corner = [np.where(matrix[:3, axis].sum() < 0, n - 1, 0) for axis, n in enumerate(size)]
    native[:3, 3] = -matrix[:3, :3] @ np.array(corner)
    stored = resample(IMAGE, upright.grid, Grid(size, native), interpolation="nearest").astype(np.float32)
    request = Request("a", keep_regions=True)
    expected = predictor.segment(upright, request)
    found = predictor.segment(Volume(stored, Grid(size, native)), request)
    for name, mask in found.region_masks():
        whole = dict(expected.region_masks())[name]
        assert np.array_equal(mask, resample(whole.astype(np.uint8), upright.grid, Grid(size, native), interpolation="nearest"))
