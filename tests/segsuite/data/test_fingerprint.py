from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.data.fingerprint import take_fingerprint
from segsuite.data.locate import image_paths, label_path
from segsuite.data.manifest import Manifest
from segsuite.engines.planning import make_plan
from segsuite.errors import ManifestError
from segsuite.volumes.reading import read_labels, read_volume


def test_numbers_are_those_of_the_files(cohort: Manifest, cohort_folder: Path) -> None:
    fingerprint = take_fingerprint(cohort, cohort.training, data_root=cohort_folder)
    assert fingerprint.median_shape == (24, 24, 10)
    assert fingerprint.median_spacing_mm == pytest.approx((4, 4, 6), abs=1e-4)
    values, ml = [], []
    for case in cohort.training:
        image = read_volume(image_paths(case, cohort_folder)[0])
        labels = read_labels(label_path(case, cohort_folder)).labels
        values.append(image.array[0][labels > 0])
        ml.append((labels == 1).sum() * 4 * 4 * 6 / 1000)
    assert fingerprint.intensities[0]["mean"] == pytest.approx(np.concatenate(values).mean(), rel=0.02)
    assert fingerprint.label_ml["peripheral_zone"] == pytest.approx(np.median(ml), rel=1e-3)
    assert fingerprint.label_share["peripheral_zone"] == 1


def test_region_is_as_large_as_its_labels_together(cohort: Manifest, cohort_folder: Path) -> None:
    """So that a region called after a side is seen by what plans flips, whatever its labels are called."""
    regions = {"regions": {"left gland": [1, 2, 3, 4], "stroma": [4]}, "regions_class_order": [1, 4]}
    fingerprint = take_fingerprint(cohort.model_copy(update=regions), cohort.training, data_root=cohort_folder)
    ml = [(read_labels(label_path(case, cohort_folder)).labels > 0).sum() * 4 * 4 * 6 / 1000 for case in cohort.training]
    assert fingerprint.label_ml["left gland"] == pytest.approx(np.median(ml), rel=1e-3)
    assert make_plan(fingerprint, on_gpu=False).mirror_axes == ()


def test_no_labelled_case() -> None:
    with pytest.raises(ManifestError, match="at least one labelled training case, got none"):
        take_fingerprint(Manifest(name="m"), [], data_root=Path())
