from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.cohort_contrast.predictor import load_predictor
from segsuite.engines.segmentation import Request
from segsuite.errors import SettingsError
from segsuite.pipeline import Runtime
from segsuite.verbs.predicting import predict
from segsuite.verbs.runs import train
from segsuite.volumes.reading import read_volume
from tests.pipelines.cohort_contrast.conftest import QUICK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    return train("cohort_contrast/phantom", overrides=QUICK, out=folder, runtime=Runtime(workers=0)).root


def test_scores_are_those_of_the_reports_and_maps_lie_on_the_scan(trained: Path) -> None:
    predictor = load_predictor(trained, device="cpu", overrides={})
    path = sorted((trained / "cohort" / "images").glob("*"))[0]
    volume = read_volume(path)
    found = predictor.segment(volume, Request(case_id="somebody"))
    assert found.mask.shape == volume.grid.shape
    assert found.volumes["saliency"].shape == volume.grid.shape
    assert found.report is not None
    assert 0 < found.report["p"] <= 1
    if not found.report["stands_out"]:
        assert not found.mask.any()
    again = predictor.segment(volume, Request(case_id="somebody"))
    assert again.report == found.report
    np.testing.assert_array_equal(again.volumes["saliency"], found.volumes["saliency"])


def test_without_maps_a_report_is_all_there_is_and_a_restart_skips_it(trained: Path, tmp_path: Path) -> None:
    images = trained / "cohort" / "images"
    outcome = predict(trained, [images], tmp_path, overrides=["maps=none"])
    assert outcome.n_done == len(list(images.glob("*")))
    assert not list(tmp_path.rglob("*.nii.gz"))
    line = json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[0])
    assert line["output"].endswith("_report.json")
    assert predict(trained, [images], tmp_path, overrides=["maps=none"]).n_skipped == outcome.n_done


def test_options_are_checked(trained: Path) -> None:
    with pytest.raises(SettingsError, match="--set maps must be one of .* got `gradient`. Did you mean `gradients`"):
        load_predictor(trained, device="cpu", overrides={"maps": "gradient"})
    with pytest.raises(SettingsError, match="--set must name how the model is applied, got `map`"):
        load_predictor(trained, device="cpu", overrides={"map": "none"})


def test_a_scan_unlike_training_is_flagged(trained: Path) -> None:
    predictor = load_predictor(trained, device="cpu", overrides={"maps": "occlusion"})
    volume = read_volume(sorted((trained / "cohort" / "images").glob("*"))[0])
    draw = np.random.default_rng(0)
    odd = volume.__class__((draw.normal(size=volume.array.shape) ** 4).astype(np.float32), volume.grid, volume.path)
    tiny = odd.cropped((slice(0, 4), slice(0, 4), slice(0, 4)))
    assert any("covers less than half" in note for note in predictor.segment(tiny, Request()).notes)
