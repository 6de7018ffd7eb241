from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.prostate_zones.losses import DISTANCE_LIMIT_MM
from pipelines.prostate_zones.targets import ZoneTargets
from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case

NAMES = ("background", "pz", "tz")


def case(**more: object) -> PreparedCase:
    return PreparedCase(Case(image="a.nii.gz", **more), Path())


def test_distances_are_in_mm_with_thick_slices_and_signed() -> None:
    """Invariant 19: anisotropy is honoured."""
    label = np.zeros((5, 5, 5), dtype=np.int16)
    label[2, 2, 2] = 1
    targets = ZoneTargets(NAMES, (1.0, 1.0, 3.0), with_distances=True)(case(), label)
    distance = targets["distances"][0]
    assert distance[2, 2, 2] == 1
    assert distance[2, 3, 2] == -1
    assert distance[2, 2, 3] == -3
    assert (targets["distances"][1] == -DISTANCE_LIMIT_MM).all()


def test_labelled_zones_are_the_manifests() -> None:
    label = np.zeros((2, 2, 2), dtype=np.int16)
    plain = ZoneTargets(NAMES, (1.0, 1.0, 3.0), with_distances=False)
    assert plain(case(), label)["labelled"].tolist() == [True, True, True]
    assert plain(case(labelled=["tz"]), label)["labelled"].tolist() == [True, False, True]
    assert "distances" not in plain(case(), label)
