from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from segsuite.data.cache import PreparedCase, prepare_cases
from segsuite.data.datasets import PatchDataset, collate_views, looked_at
from segsuite.data.manifest import Case, Manifest
from segsuite.data.spatial import SpatialAugmentation
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.errors import ManifestError


@pytest.fixture(scope="module")
def prepared(cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    from segsuite.data.manifest import read_manifest

    manifest: Manifest = read_manifest(cohort_folder / "manifest.json")
    cache = tmp_path_factory.mktemp("cache")
    preprocessing = Preprocessing((4.0, 4.0, 6.0), (Normalisation(),))
    return prepare_cases(manifest.training, manifest, data_root=cohort_folder, cache_dir=cache, preprocessing=preprocessing)


def patches(
    prepared: list[PreparedCase], seed: int = 0, share: float = 0.5, size: tuple[int, int, int] = (8, 8, 4), **more: object
) -> PatchDataset:
    return PatchDataset(
        prepared, patch_size=size, spacing_mm=(4, 4, 6), seed=seed, foreground_share=share, spatial=SpatialAugmentation(), **more
    )


def test_patch_depends_on_seed_and_number_alone(prepared: list[PreparedCase]) -> None:
    first, again, other = patches(prepared), patches(prepared), patches(prepared, seed=1)
    [again[n] for n in range(5)]  # drawing others before changes nothing
    assert torch.equal(first[17]["image"], again[17]["image"])
    assert not torch.equal(first[17]["image"], other[17]["image"])


def test_item_has_the_declared_shapes(prepared: list[PreparedCase]) -> None:
    item = patches(prepared)[3]
    assert item["image"].shape == (1, 8, 8, 4)
    assert item["label"].shape == (8, 8, 4)
    assert (item["image"].dtype, item["label"].dtype) == (torch.float32, torch.int16)


@pytest.mark.parametrize("size", [(8, 8, 4), (40, 40, 16)])
def test_patches_that_a_gpu_turns_are_the_same(prepared: list[PreparedCase], size: tuple[int, int, int]) -> None:
    here, later = patches(prepared, size=size), patches(prepared, size=size, turn_on_gpu=True)
    numbers = range(12)
    batch = collate_views([later[n] for n in numbers])
    assert {tuple(image.shape[1:]) for image in batch["image"]} != {size}
    found = looked_at(batch["image"], batch["label"], batch["view"])
    assert torch.equal(batch["index"], torch.arange(12))
    for name in ("image", "label"):
        assert torch.equal(found[name], torch.stack([here[n][name] for n in numbers]))


def test_what_needs_the_finished_label_is_turned_here(prepared: list[PreparedCase]) -> None:
    with_targets = patches(prepared, turn_on_gpu=True, more_targets=lambda case, label: {"n": np.array(label.size)})
    assert with_targets[0]["n"] == 8 * 8 * 4


def test_every_second_patch_holds_a_structure(prepared: list[PreparedCase]) -> None:
    always = patches(prepared, share=1.0)
    assert all((always[n]["label"] > 0).any() for n in range(20))


def test_patch_larger_than_the_case_is_padded(prepared: list[PreparedCase]) -> None:
    item = patches(prepared, size=(40, 40, 16))[0]
    assert item["image"].shape == (1, 40, 40, 16)
    assert (item["label"] == -1).any()


def test_unlabelled_cases_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="at least one labelled case, got 1 cases without labels"):
        patches([PreparedCase(Case(image="a.nii"), tmp_path)])


def test_unlabelled_cases_come_as_often_as_asked_with_nothing_scored(prepared: list[PreparedCase], tmp_path: Path) -> None:
    (tmp_path / "u").mkdir()
    np.save(tmp_path / "u" / "image.npy", np.full((1, 12, 12, 6), 5.0, dtype=np.float32))
    bare = PreparedCase(Case(image="u.nii.gz"), tmp_path / "u")
    dataset = PatchDataset(
        prepared, patch_size=(8, 8, 4), spacing_mm=(4, 4, 6), seed=0, foreground_share=0.5, spatial=SpatialAugmentation(),
        unlabelled=[bare], unlabelled_share=0.25,
    )  # fmt: skip
    items = [dataset[n] for n in range(16)]
    from_bare = [bool(torch.isclose(item["image"], torch.tensor(5.0)).all()) for item in items]
    assert sum(from_bare) == 4
    assert all((item["label"] == -1).all() for item, bare in zip(items, from_bare, strict=True) if bare)


def more(case: PreparedCase, label: np.ndarray) -> dict[str, np.ndarray]:
    return {"twice": 2 * label, "known": np.array([case.case.label is not None])}


def test_more_targets_are_computed_from_the_label_of_the_patch(prepared: list[PreparedCase]) -> None:
    dataset = PatchDataset(
        prepared, patch_size=(8, 8, 4), spacing_mm=(4, 4, 6), seed=0, foreground_share=1.0, spatial=None, more_targets=more
    )
    item = dataset[0]
    assert torch.equal(item["twice"].long(), 2 * item["label"])
    assert item["known"].tolist() == [True]
