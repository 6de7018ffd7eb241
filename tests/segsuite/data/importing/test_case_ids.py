from __future__ import annotations

import os

from segsuite.data.importing.case_ids import case_ids_of


def test_the_stem_where_it_is_enough() -> None:
    assert case_ids_of(["imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz"]) == {
        "imagesTr/a_0000.nii.gz": "a",
        "imagesTr/b_0000.nii.gz": "b",
    }
    assert list(case_ids_of(["P1/t2.nii", "P2/t2.nii"]).values()) == ["P1_t2", "P2_t2"]


def test_names_that_fall_together_are_counted() -> None:
    found = case_ids_of(["a/b_c.nii", "a_b/c.nii", "x/c.nii", "y/b_c.nii"])
    assert len(set(found.values())) == 4


def test_bytes_that_are_no_utf8() -> None:
    assert case_ids_of([os.fsdecode(b"K\xf6ln.nii"), "Köln.nii"]) == {"K\udcf6ln.nii": "KxF6ln", "Köln.nii": "Köln"}
