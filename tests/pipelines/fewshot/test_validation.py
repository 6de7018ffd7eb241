"""Measured Dice is that of the predicted masks, and never of a support."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipelines.fewshot.predictor import FewshotPredictor, load_predictor
from pipelines.fewshot.registration import Support, register
from pipelines.fewshot.validation import measured_dice
from segsuite.data.manifest import read_manifest, write_manifest
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.segmentation import Request
from segsuite.errors import ManifestError
from segsuite.metrics.overlap import dice_score
from segsuite.volumes.reading import read_labels, read_volume

pytestmark = pytest.mark.slow


@pytest.fixture
def predictor(fewshot_run: RunFolder, tmp_path: Path) -> FewshotPredictor:
    """Bladder from three slices of phantom 2."""
    cohort = fewshot_run.root / "cohort"
    support = Support((cohort / "images" / "phantom_0002.nii.gz",), cohort / "labels" / "phantom_0002.nii.gz", 5)
    base = load_predictor(fewshot_run.root / "base_model", device="cpu", overrides={})
    register(base, "bladder", [support], tmp_path / "model", value=5, slices=3)
    return load_predictor(tmp_path / "model", device="cpu", overrides={})


def test_scores_are_those_of_the_masks_and_supports_are_left_out(predictor: FewshotPredictor, fewshot_run: RunFolder) -> None:
    cohort = fewshot_run.root / "cohort"
    rows = list(measured_dice(predictor, cohort / "manifest.json", data_root=None, fold=None))
    assert len(rows) == 6
    assert [row["case"] for row in rows if row["dice"] is None] == ["phantom_0002"]
    image, reference = (cohort / part / "phantom_0000.nii.gz" for part in ("images", "labels"))
    mask = predictor.segment(read_volume(image), Request()).mask
    expected = dice_score(mask == 5, read_labels(reference).labels == 5)
    assert next(row["dice"] for row in rows if row["case"] == "phantom_0000") == pytest.approx(expected, nan_ok=True)


def test_references_whose_files_store_the_axes_in_another_order_score_the_same(
    predictor: FewshotPredictor, fewshot_run: RunFolder, tmp_path: Path
) -> None:
    cohort = fewshot_run.root / "cohort"
    expected = list(measured_dice(predictor, cohort / "manifest.json", data_root=None, fold=None))
    shutil.copytree(cohort, tmp_path / "turned")
    for path in (tmp_path / "turned" / "labels").iterdir():
        turned = nib.load(path).as_reoriented(np.array([[1, 1], [2, -1], [0, -1]]))
        nib.save(nib.Nifti1Image.from_bytes(turned.to_bytes()), path)
    found = list(measured_dice(predictor, tmp_path / "turned" / "manifest.json", data_root=None, fold=None))
    np.testing.assert_equal(found, expected)  # of which some are nan


def test_a_manifest_without_the_structure_or_cases_is_refused(
    predictor: FewshotPredictor, fewshot_run: RunFolder, tmp_path: Path
) -> None:
    path = fewshot_run.root / "cohort" / "manifest.json"
    with pytest.raises(ManifestError, match="labelled cases of fold 77, got none"):
        list(measured_dice(predictor, path, data_root=None, fold=77))
    manifest = read_manifest(path)
    labels = {("bladdder" if name == "bladder" else name): value for name, value in manifest.labels.items()}
    write_manifest(tmp_path / "M.json", manifest.model_copy(update={"labels": labels}))
    with pytest.raises(ManifestError, match="must name `bladder`. Did you mean `bladdder`"):
        list(measured_dice(predictor, tmp_path / "M.json", data_root=path.parent, fold=None))
