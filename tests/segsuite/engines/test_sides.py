from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from segsuite.data.manifest import Case
from segsuite.engines.sides import mirrored_in_prepared, names_a_side, why_not_mirrored


def test_names_that_say_a_side() -> None:
    sided = ["left_kidney", "kidney-R", "Hippocampus rh", "LeftKidney", "KidneyL", "right1"]
    assert [name for name in (*sided, "liver", "bright", "clear", "vertebrae_L1", "l2", "R3") if names_a_side(name)] == sided


def test_flips_are_off_where_labels_mirror_each_other_although_their_names_say_nothing() -> None:
    assert why_not_mirrored(["a", "b"], []) == ""
    assert "`a` and `b` mirror each other" in why_not_mirrored(["a", "b", "c"], [["a", "b"]])
    assert "`left_b` names a side" in why_not_mirrored(["a", "left_b"], [["a", "left_b"]])


def test_pairs_of_prepared_cases_are_named() -> None:
    image = np.zeros((1, 20, 10, 10), np.float32)
    image[:, 2:18, 2:8] = 1
    label = np.full((20, 10, 10), -1, np.int8)
    label[3:6, 4:6, 4:6], label[14:17, 4:6, 4:6], label[9:11, 2:8] = 1, 2, 3
    case = SimpleNamespace(case=Case(image="a.nii", label="b.nii"), image=image, label=label)
    bare = SimpleNamespace(case=Case(image="a.nii"), image=image, label=None)
    names = {1: "one", 2: "two", 3: "three"}
    assert mirrored_in_prepared([bare, case], names, (1.0, 1.0, 2.0)) == [["one", "two"]]
    assert mirrored_in_prepared([bare], names, (1.0, 1.0, 2.0)) == []
