"""A run never goes on with other cases than it began with."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segsuite.data.cache import prepare_cases
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.cohort import open_cohort
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.split_record import (
    recorded_scans,
    require_apart,
    require_same_cases,
    require_same_content,
    require_same_manifest,
)
from segsuite.errors import ManifestError, OutputError
from segsuite.volumes.reading import read_volume
from segsuite.volumes.voxel_hash import voxel_hash

AS_IT_IS = Preprocessing(None, (Normalisation(),))


def cases(*names: str) -> list[Case]:
    return [Case(image=f"{name}.nii.gz", label="m.nii.gz") for name in names]


def prepared(**images: str) -> list[Any]:
    return [SimpleNamespace(case=case, content={"image": images[case.case_id], "label": "m"}) for case in cases(*images)]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "split.json"
    path.parent.mkdir()
    require_same_content(path, {"training": prepared(a="1", b="2"), "held_out": prepared(c="3")})
    return path


def test_the_same_cases_go_on_in_any_order_and_nothing_is_written_anew(record: Path) -> None:
    before = record.stat().st_mtime_ns
    require_same_cases(record, cases("b", "a"), cases("c"))
    require_same_content(record, {"training": prepared(b="2", a="1"), "held_out": prepared(c="3")})
    assert record.stat().st_mtime_ns == before
    assert recorded_scans(record)[0] == ["1", "2"]
    require_same_content(record, {"unlabelled": prepared(u="7")})
    assert recorded_scans(record)[0] == ["1", "2", "7"]


@pytest.mark.parametrize(
    ("training", "held_out", "told"),
    [
        (("a", "c"), ("b",), "b trained on before and held out now; c held out before and trained on now"),
        (("a",), ("c",), "b not there any more"),
        (("a", "b", "d"), ("c",), "d new"),
        (("a", "b", *"efghi"), ("c",), "e, f, g, h and 1 more new"),
    ],
)
def test_a_training_goes_on_after_the_manifest_was_split_anew(
    record: Path, training: tuple[str, ...], held_out: tuple[str, ...], told: str
) -> None:
    with pytest.raises(OutputError) as caught:
        require_same_cases(record, cases(*training), cases(*held_out))
    assert str(caught.value).startswith(f"{record.parent} must go on with the cases that it began with, got {told}. Give another")


def test_an_image_of_a_known_name_with_other_voxels_is_another_case(record: Path) -> None:
    with pytest.raises(OutputError, match="got b with another image than before"):
        require_same_content(record, {"training": prepared(a="1", b="5"), "held_out": prepared(c="3")})


def test_other_meanings_of_the_same_files_are_another_training(tmp_path: Path) -> None:
    """Two labels that swapped names, or a healthy case that became a diseased one."""
    path, parts = tmp_path / "split.json", {"training": prepared(a="1"), "held_out": prepared(b="2")}
    require_same_content(path, parts, declared={"labels": {"x": 1, "y": 2}})
    require_same_content(path, parts, declared={"labels": {"y": 2, "x": 1}})
    with pytest.raises(OutputError, match=r"must go on with labels and channels that mean what they did, got .*'x': 2"):
        require_same_content(path, parts, declared={"labels": {"x": 2, "y": 1}})
    parts["training"][0].case = parts["training"][0].case.model_copy(update={"group": "diseased"})
    with pytest.raises(OutputError, match="got a with another group, site or `labelled` than before"):
        require_same_content(path, parts)


def test_one_image_under_two_names_on_both_sides_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"the same voxels as case a \(to train on\) and case c \(held out\)"):
        require_apart(prepared(a="1", b="2"), prepared(c="1"))


@pytest.fixture
def copied(cohort_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """The cohort with other folds."""

    def write(move: dict[str, int]) -> Path:
        manifest: Manifest = read_manifest(cohort_folder / "manifest.json")
        rows = [case.model_copy(update={"fold": move.get(case.case_id, case.fold)}) for case in manifest.training]
        write_manifest(tmp_path / "m.json", manifest.model_copy(update={"training": rows, "data_root": str(cohort_folder)}))
        return tmp_path / "m.json"

    return write


def test_a_cohort_of_other_folds_is_refused_where_a_run_has_begun(copied: Callable[..., Path], tmp_path: Path) -> None:
    """Also where it is over: its model would be shown as that of the new split."""
    run = RunFolder(tmp_path / "run")
    run.root.mkdir()
    path = copied({})
    values = {"manifest": str(path), "data_root": None, "fold": 0, "cache_dir": str(tmp_path / "cache"), "phantom": None}

    def opened() -> Any:
        return open_cohort(values, run, workers=0, tell=lambda *_, **__: None)

    cohort = opened()
    training, _ = cohort.prepare(AS_IT_IS, tell=lambda *_, **__: None)
    opened().prepare(AS_IT_IS, tell=lambda *_, **__: None)
    require_same_manifest(run.split, str(path), 0)
    found = json.loads(run.split.read_text())["training"][training[0].case.case_id]
    assert found["image"] == voxel_hash(read_volume(cohort.data_root / training[0].case.images[0]))
    held_out = next(case for case in cohort.held_out)
    copied({held_out.case_id: 1})
    for ask in (opened, lambda: require_same_manifest(run.split, str(path), 0)):
        with pytest.raises(OutputError, match=f"{held_out.case_id} held out before and trained on now"):
            ask()
    path.unlink()
    require_same_manifest(run.split, str(path), 0)


def test_a_file_compressed_again_is_the_same_case_and_old_caches_learn_their_content(
    cohort_folder: Path, cohort: Manifest, tmp_path: Path
) -> None:
    case = cohort.training[0]
    packed = cohort_folder / case.images[0]
    (tmp_path / "again.nii.gz").write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), 1))
    again = case.model_copy(update={"image": str(tmp_path / "again.nii.gz")})

    def content(row: Case) -> dict[str, str]:
        made = prepare_cases([row], cohort, data_root=cohort_folder, cache_dir=tmp_path / "cache", preprocessing=AS_IT_IS)
        return made[0].content

    assert content(case) == content(again)
    entry = next((tmp_path / "cache").glob("*/content.json"))
    entry.unlink()
    content(case), content(again)
    assert json.loads(entry.read_text()) == content(case)
