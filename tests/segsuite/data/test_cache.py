from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from segsuite.data import cache as cache_module
from segsuite.data.cache import as_classes, clear_cache, forecast_cache, prepare_cases
from segsuite.data.manifest import Case, Manifest
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.errors import GridError, OutputError
from segsuite.volumes.reading import read_volume
from segsuite.volumes.writing import write_image

PREPROCESSING = Preprocessing((4.0, 4.0, 6.0), (Normalisation(),))


def prepare(cohort: Manifest, root: Path, cache: Path, **more: object) -> list[cache_module.PreparedCase]:
    options = {"data_root": root, "cache_dir": cache, "preprocessing": PREPROCESSING, **more}
    return prepare_cases(cohort.training, cohort, **options)


def test_second_time_nothing_is_computed(
    cohort: Manifest, cohort_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(cohort, cohort_folder, tmp_path)
    monkeypatch.setattr(cache_module, "prepare_image", lambda *_: pytest.fail("computed again"))
    assert [case.folder for case in prepare(cohort, cohort_folder, tmp_path)] == [case.folder for case in first]


def test_arrays_are_mapped_and_hold_the_case(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    case = prepare(cohort, cohort_folder, tmp_path)[0]
    assert isinstance(case.image, np.memmap)
    assert abs(float(case.image.mean())) < 1e-3
    assert set(np.unique(case.label)) <= {0, 1, 2, 3, 4}
    for label, *voxel in case.foreground[::50]:
        assert case.label[tuple(voxel)] == label


def test_changed_content_or_transform_is_another_entry(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(cohort_folder, tmp_path / "data")
    first = prepare(cohort, root, tmp_path / "cache")
    other = prepare(cohort, root, tmp_path / "cache", preprocessing=Preprocessing(None, (Normalisation(),)))
    image = root / cohort.training[0].images[0]
    volume = read_volume(image)
    write_image(image, volume.array[0] + 1, like=volume)
    changed = prepare(cohort, root, tmp_path / "cache")
    assert first[0].folder != other[0].folder
    assert first[0].folder != changed[0].folder
    assert first[1].folder == changed[1].folder


def test_a_remembered_hash_that_was_cut_is_made_anew(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    first = prepare(cohort, cohort_folder, tmp_path)
    memos = sorted((tmp_path / "hashes").iterdir())
    for memo, content in zip(memos, ("", '{"path": "x"}', "[]"), strict=False):
        memo.write_text(content)
    assert [case.folder for case in prepare(cohort, cohort_folder, tmp_path)] == [case.folder for case in first]


def test_two_at_a_time_and_a_leftover_of_a_kill(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    leftover = tmp_path / ".tmp-killed"
    leftover.mkdir()
    os.utime(leftover, (time.time() - 1e6,) * 2)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: prepare(cohort, cohort_folder, tmp_path, workers=2), range(4)))
    assert all([c.folder for c in result] == [c.folder for c in results[0]] for result in results)
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.slow
def test_two_processes_fill_one_cache_and_a_kill_leaves_nothing_half(cohort_folder: Path, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from segsuite.data.cache import prepare_cases
from segsuite.data.manifest import read_manifest
from segsuite.data.transforms import Normalisation, Preprocessing
manifest = read_manifest(Path({str(cohort_folder)!r}) / "manifest.json")
preprocessing = Preprocessing((4.0, 4.0, 6.0), (Normalisation(),))
for case in prepare_cases(manifest.training, manifest, data_root=Path({str(cohort_folder)!r}),
                          cache_dir=Path({str(tmp_path)!r}), preprocessing=preprocessing):
    print(case.folder.name, float(case.image.sum()), int(case.label.sum()), flush=True)
"""
    command = [sys.executable, "-c", code]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE)
    while killed.poll() is None and not any(tmp_path.glob("*/image.npy")):
        time.sleep(0.002)
    killed.kill()
    killed.communicate()
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == 6


def test_forecast_is_what_it_becomes(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    forecast = forecast_cache(cohort.training, cohort, cohort_folder, tmp_path, PREPROCESSING)
    prepared = prepare(cohort, cohort_folder, tmp_path)
    real = sum((case.folder / name).stat().st_size for case in prepared for name in ("image.npy", "label.npy"))
    assert real == pytest.approx(forecast.n_bytes, rel=0.02)


def test_too_small_a_disk_is_told_before_filling(
    cohort: Manifest, cohort_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(OutputError, match="must have room for 0.0 GB, got 0.0 GB free"):
        prepare(cohort, cohort_folder, tmp_path)


def test_label_on_another_grid_names_the_case(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    from segsuite.volumes.grid import Grid
    from segsuite.volumes.volume import Volume
    from segsuite.volumes.writing import write_mask

    root = shutil.copytree(cohort_folder, tmp_path / "data")
    case = cohort.training[0]
    image = read_volume(root / case.images[0])
    moved = Grid(image.grid.shape, image.grid.affine + np.pad([[5.0]], ((0, 3), (3, 0))))
    write_mask(root / str(case.label), np.ones(moved.shape, dtype=np.uint8), like=Volume(image.array, moved))
    with pytest.raises(GridError, match=f"case {case.case_id}: .*must lie on one grid"):
        prepare(cohort, root, tmp_path / "cache")


def test_integers_become_class_indices() -> None:
    manifest = Manifest(name="m", labels={"background": 0, "liver": 5, "spleen": 9, "unsure": 7}, ignore_label=7)
    assert as_classes(np.array([0, 5, 9, 7]), manifest).tolist() == [0, 1, 2, -1]


def test_unlabelled_case_has_no_label(cohort: Manifest, cohort_folder: Path, tmp_path: Path) -> None:
    case = Case(image=cohort.training[0].image)
    prepared = prepare_cases([case], cohort, data_root=cohort_folder, cache_dir=tmp_path, preprocessing=PREPROCESSING)
    assert prepared[0].label is None


def test_clearing_takes_the_longest_unused_and_touches_nothing_else(
    cohort: Manifest, cohort_folder: Path, tmp_path: Path
) -> None:
    cases = prepare(cohort, cohort_folder, tmp_path / "cache")
    (tmp_path / "cache" / "mine").mkdir()
    (tmp_path / "cache" / "mine" / "image.npy").write_bytes(b"somebody's own")
    for age, case in enumerate(cases):
        os.utime(case.folder, (time.time() - 1000 * (1 + age),) * 2)
    size = sum(part.stat().st_size for part in cases[0].folder.iterdir())
    done = clear_cache(tmp_path / "cache", most_bytes=2 * size + size // 2, idle_seconds=60)
    assert (done.n_removed, done.n_kept) == (len(cases) - 2, 2)
    assert [case.folder.is_dir() for case in cases] == [True, True] + [False] * (len(cases) - 2)
    assert (tmp_path / "cache" / "mine" / "image.npy").is_file()
    assert clear_cache(tmp_path / "cache", most_bytes=0, idle_seconds=1e6).n_removed == 0, "they may be in use"
    again = prepare(cohort, cohort_folder, tmp_path / "cache")
    assert all(case.folder.is_dir() for case in again)
    assert again[-1].folder.stat().st_mtime > time.time() - 60, "taken up just now"


def test_only_a_cache_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "image.npy").write_bytes(b"x")
    with pytest.raises(OutputError, match="must be a cache of prepared cases"):
        clear_cache(tmp_path, most_bytes=0, idle_seconds=0)
    assert (tmp_path / "precious" / "image.npy").is_file()
