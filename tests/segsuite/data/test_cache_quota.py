"""More data than the cache may hold: the same patches, and never more on disk than allowed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from segsuite.data import cache_quota
from segsuite.data.cache import PreparedCase, clear_cache, prepare_cases
from segsuite.data.cache_quota import keep_within
from segsuite.data.datasets import PatchDataset
from segsuite.data.manifest import Manifest
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.errors import OutputError

HOW = Preprocessing(None, (Normalisation(),))


def prepared(cohort: Manifest, root: Path, cache: Path, **more: int | None) -> list[PreparedCase]:
    return prepare_cases(cohort.training, cohort, data_root=root, cache_dir=cache, preprocessing=HOW, **more)


def images(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/image.npy"))


def patches(cases: list[PreparedCase]) -> PatchDataset:
    how = {"patch_size": (16, 16, 8), "spacing_mm": (4.0, 4.0, 6.0), "seed": 0, "foreground_share": 0.5, "spatial": None}
    return PatchDataset(cases, **how)


def test_patches_are_the_same_from_a_cache_that_is_too_small(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    whole = prepared(cohort, cohort_folder, tmp_path / "whole")
    size = images(tmp_path / "whole")[0].stat().st_size
    cases = prepared(cohort, cohort_folder, tmp_path / "small", most_bytes=2 * size)
    assert len(images(tmp_path / "small")) == 2
    assert len(list((tmp_path / "small").glob("*/label.npy"))) == len(cohort.training)
    few, all_of_them = patches(pickle.loads(pickle.dumps(cases))), patches(whole)
    for number in range(24):
        for name, expected in all_of_them[number].items():
            assert np.array_equal(few[number][name].numpy(), expected.numpy())
        assert len(images(tmp_path / "small")) <= 2
    assert len(images(tmp_path / "whole")) == len(cohort.training)


def test_without_a_limit_all_images_come_back(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    prepared(cohort, cohort_folder, tmp_path, most_bytes=1)
    assert len(images(tmp_path)) <= 1
    assert clear_cache(tmp_path, most_bytes=10**12, idle_seconds=0).n_kept == len(cohort.training)
    cases = prepared(cohort, cohort_folder, tmp_path)
    assert len(images(tmp_path)) == len(cohort.training)
    assert all(case.image is case.image for case in cases), "opened once"


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    import os

    for number, name in enumerate(("old", "new", "middle")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.npy").write_bytes(bytes(100))
        os.utime(tmp_path / name / "image.npy", (0, (number * 7) % 10))
    keep_within(tmp_path, 200, keep=tmp_path / "none")
    assert [path.parent.name for path in images(tmp_path)] == ["middle", "new"]
    keep_within(tmp_path, 0, keep=tmp_path / "middle")
    assert [path.parent.name for path in images(tmp_path)] == ["middle"]


def test_images_that_others_take_away_at_once_are_an_error(
    cohort: Manifest, cohort_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = prepared(cohort, cohort_folder, tmp_path, most_bytes=1)[0]
    (case.folder / "image.npy").unlink(missing_ok=True)
    monkeypatch.setattr(cache_quota, "make_image", lambda *_: None)
    with pytest.raises(OutputError, match="Raise `data.cache_gb`"):
        _ = case.image


def test_a_cache_that_is_filled_is_searched_once_per_tenth_of_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searches, most = [0], 2000
    search = cache_quota.keep_within

    def counted(*places: object, **how: object) -> int:
        searches[0] += 1
        return search(*places, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_quota, "keep_within", counted)
    room = cache_quota.Room(tmp_path, most)
    for number in range(200):
        folder = tmp_path / f"{number:03d}"
        folder.mkdir()
        (folder / "image.npy").write_bytes(bytes(100))
        room.take(folder)
        assert sum(path.stat().st_size for path in images(tmp_path)) <= most
    assert searches[0] <= 1 + 200 * 100 / (0.1 * most)
    assert (tmp_path / "199" / "image.npy").is_file()
