from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pipelines.cohort_contrast.judging import map_cohort, probe_cohort, read_judged, score_cohort
from pipelines.cohort_contrast.predictor import load_predictor
from segsuite.data.manifest import Manifest, read_manifest, write_manifest
from segsuite.engines.segmentation import Request
from segsuite.errors import ManifestError, VolumeError
from segsuite.pipeline import Runtime
from segsuite.verbs.runs import train
from segsuite.volumes.reading import read_volume
from segsuite.volumes.writing import write_mask
from tests.pipelines.cohort_contrast.conftest import QUICK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged") / "run"
    return train("cohort_contrast/phantom", overrides=QUICK, out=folder, runtime=Runtime(workers=0)).root


def test_scores_stand_in_one_table_and_shards_share_it(trained: Path, tmp_path: Path) -> None:
    manifest = trained / "cohort" / "manifest.json"
    predictor = load_predictor(trained, device="cpu", overrides={"maps": "none"})
    parts = [score_cohort(predictor, manifest, tmp_path, shard=(number, 2)) for number in (1, 2)]
    with (tmp_path / "scores.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) == sum(part.n_done for part in parts)
    assert {row["group"] for row in rows} == {"healthy", "diseased"}
    assert all(float(row["score"]) >= 0 and 0 < float(row["p"]) <= 1 for row in rows)
    assert all(row["subject"] not in row["nearest"].split() for row in rows)


def test_a_model_within_masks_wants_masks(heads: tuple[Path, Manifest], tmp_path: Path) -> None:
    folder, manifest = heads
    cases = []
    for case in manifest.training:
        volume, mask = read_volume(folder / str(case.image)), tmp_path / f"{case.case_id}.nii.gz"
        write_mask(mask, (volume.array[0] > 200).astype(np.uint8), like=volume)
        cases.append(case.model_copy(update={"image": str(folder / str(case.image)), "label": str(mask)}))
    update = {"training": cases, "labels": {"background": 0, "head": 1}}
    write_manifest(tmp_path / "m.json", manifest.model_copy(update=update))
    words = [word for word in QUICK if not word.startswith("data.brains")]
    words += [f"data.manifest={tmp_path / 'm.json'}", "data.brains=null", "image.within_label=true"]
    run = train("cohort_contrast/phantom", overrides=words, out=tmp_path / "run", runtime=Runtime(workers=0))
    predictor = load_predictor(run.root, device="cpu", overrides={"maps": "none"})
    outcome = score_cohort(predictor, tmp_path / "m.json", tmp_path / "scores")
    assert outcome.n_done == len(cases)
    volume = read_volume(folder / str(manifest.training[0].image))
    with pytest.raises(VolumeError, match="must come with its organ's mask"):
        predictor.segment(volume, Request())
    empty = tmp_path / "empty.nii.gz"
    write_mask(empty, np.zeros(volume.grid.shape, np.uint8), like=volume)
    with pytest.raises(VolumeError, match="must not be empty"):
        predictor.segment(volume, Request(attributes={"mask": str(empty)}))


def test_maps_and_the_map_of_the_cohort(trained: Path, tmp_path: Path) -> None:
    predictor = load_predictor(trained, device="cpu", overrides={"maps": "occlusion"})
    outcome, found = map_cohort(predictor, trained / "cohort" / "manifest.json", tmp_path, n_permutations=20)
    assert outcome.exit_code == 0
    assert found.t.shape == (16, 16, 16)
    written = read_volume(tmp_path / "cohort_t.nii.gz")
    assert written.grid.shape == (16, 16, 16)
    assert (tmp_path / "cohort_map.json").is_file()
    assert not (tmp_path / "maps.npy").exists()


def test_probes_are_fitted_on_training_scans(trained: Path) -> None:
    predictor = load_predictor(trained, device="cpu", overrides={})
    judged = read_judged(predictor, trained / "cohort" / "manifest.json")
    assert 0 < judged.is_training.sum() < len(judged.scans)
    matrix = probe_cohort(predictor, judged, ["age", "site"])
    assert set(matrix) == {"age", "site"}
    assert matrix["age"]["common"] is not None
    with pytest.raises(ManifestError, match="--attributes must name attributes of the manifest, got `agee`. Did you mean `age`"):
        probe_cohort(predictor, judged, ["agee"])


def test_scans_of_the_training_are_known_under_any_name(trained: Path, tmp_path: Path) -> None:
    """A renamed copy was probed as a new scan, and a new scan that bears a training case's name as a known one."""
    predictor = load_predictor(trained, device="cpu", overrides={})
    path = trained / "cohort" / "manifest.json"
    manifest = read_manifest(path)
    others = [*manifest.training[1:], manifest.training[0]]
    rows = [row.model_copy(update={"case_id": other.case_id}) for row, other in zip(manifest.training, others, strict=True)]
    write_manifest(tmp_path / "m.json", manifest.model_copy(update={"training": rows, "data_root": str(path.parent)}))
    first, renamed = (read_judged(predictor, place).is_training for place in (path, tmp_path / "m.json"))
    known = set(predictor.model.description["data"]["training_cases"])
    assert first.tolist() == renamed.tolist() == [row.case_id in known for row in manifest.cases]
