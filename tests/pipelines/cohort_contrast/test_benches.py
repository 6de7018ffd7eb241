from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipelines.cohort_contrast.benches import BENCHES


@pytest.mark.parametrize("name", BENCHES)
def test_benches_are_made_by_seed_and_know_their_factors(name: str) -> None:
    bench, again, other = (BENCHES[name](seed=seed, n_training=40, n_test=20) for seed in (0, 0, 1))
    np.testing.assert_array_equal(bench.training.images, again.training.images)
    assert np.abs(bench.training.images - other.training.images).max() > 0
    assert bench.training.images.dtype == np.float32
    assert len(bench.training) == 80
    assert not set(bench.training.subjects) & set(bench.test.subjects)
    for attribute in bench.salient:
        known = ~np.isnan(bench.training.attributes[attribute])
        np.testing.assert_array_equal(known, bench.training.is_diseased)
    for attribute in bench.common:
        assert not np.isnan(bench.training.attributes[attribute]).any()


@pytest.mark.slow
def test_the_factors_can_be_seen_in_the_pictures() -> None:
    bench = BENCHES["B"](seed=0, n_training=300, n_test=100)
    pixels = [scans.images.reshape(len(scans), -1)[scans.is_diseased] for scans in (bench.training, bench.test)]
    for name, least in (("quadrant", 0.9), ("ventricle", 0.9)):
        known, truth = (np.asarray(s.attributes[name])[s.is_diseased] for s in (bench.training, bench.test))
        assert LogisticRegression(max_iter=500).fit(pixels[0], known).score(pixels[1], truth) > least
