from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.cohort_contrast.predictor import load_predictor
from segsuite.engines.model_predictor import model_of_pipeline
from segsuite.errors import ManifestError, ModelError
from segsuite.pipeline import Runtime
from segsuite.verbs.runs import demo, train
from segsuite.volumes.reading import read_volume
from tests.pipelines.cohort_contrast.conftest import QUICK

pytestmark = pytest.mark.slow


def test_the_phantom_config_trains_scores_maps_and_reports(tmp_path: Path) -> None:
    run, evaluation = demo("cohort_contrast", tmp_path / "run", overrides=QUICK, runtime=Runtime(workers=0))
    description = json.loads((run.model / "model.json").read_text())
    held_out = description["data"]["held_out_cases"]
    assert evaluation.n_cases == len(held_out)
    assert len(description["reference"]["healthy_scores"]) == len(description["reference"]["healthy_subjects"]) > 0
    report = json.loads(next(run.predictions.rglob(f"{held_out[0]}_report.json")).read_text())
    assert report["use"] == "deviation score, research use only"
    maps = sorted(run.predictions.rglob("*map_saliency*"))
    assert len(maps) == len(held_out)
    like = read_volume(next((run.root / "cohort" / "images").glob(f"{held_out[0]}*")))
    saliency = read_volume(next(path for path in maps if path.name.startswith(held_out[0])))
    np.testing.assert_allclose(saliency.grid.affine, like.grid.affine, atol=1e-5)
    assert saliency.array.shape == like.array.shape
    assert "Cohort contrast" in run.report.read_text()
    again = train("cohort_contrast/phantom", overrides=QUICK, out=tmp_path / "run", runtime=Runtime(workers=0))
    assert again.model == run.model


def test_fine_tuning_starts_from_weights_and_forgets_the_null_point(tmp_path: Path) -> None:
    first = train("cohort_contrast/phantom", overrides=QUICK, out=tmp_path / "a", runtime=Runtime(workers=0))
    second = train(
        "cohort_contrast/phantom", overrides=[*QUICK, f"finetune={first.root}", "training.max_steps=1"], out=tmp_path / "b",
        runtime=Runtime(workers=0),
    )  # fmt: skip
    assert second.is_trained
    with pytest.raises(ModelError, match="must be a model of `supervised`, got one of `cohort_contrast`"):
        model_of_pipeline(first.model, pipeline="supervised")


def test_site_and_group_that_are_one_thing_are_refused_with_the_numbers(tmp_path: Path) -> None:
    confounded = [*QUICK, "data.brains.site_share=1.0"]
    with pytest.raises(ManifestError, match=r"Cramer's V of site and group is 1.00 \(site_0: 8 healthy and 0 diseased"):
        train("cohort_contrast/phantom", overrides=confounded, out=tmp_path / "a", runtime=Runtime(workers=0))
    forced = [*confounded, "sampling.allow_confounded=true", "sampling.match_sites=false"]
    run = train("cohort_contrast/phantom", overrides=forced, out=tmp_path / "b", runtime=Runtime(workers=0))
    facts = json.loads((run.model / "model.json").read_text())["facts"]
    assert facts["site_flagged"]
    assert "CONFOUNDED" in run.report.read_text()


def test_attributes_take_the_place_of_views(tmp_path: Path) -> None:
    asked = [*QUICK, "attributes=[lesion_size, octant]"]
    run = train("cohort_contrast/phantom", overrides=asked, out=tmp_path / "run", runtime=Runtime(workers=0))
    predictor = load_predictor(run.model, device="cpu", overrides={})
    assert predictor.network.salient.bottleneck.out_features == 2
