from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segsuite.data.cache import PreparedCase, prepare_cases
from segsuite.data.datasets import PatchDataset
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
    prepared: list[PreparedCase], seed: int = 0, share: float = 0.5, size: tuple[int, int, int] = (8, 8, 4)
) -> PatchDataset:
    return PatchDataset(
        prepared, patch_size=size, spacing_mm=(4, 4, 6), seed=seed, foreground_share=share, spatial=SpatialAugmentation()
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
    assert (item["image"].dtype, item["label"].dtype) == (torch.float32, torch.int64)


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
