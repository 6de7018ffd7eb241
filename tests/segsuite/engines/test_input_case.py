from __future__ import annotations

from pathlib import Path

from segsuite.engines.input_case import InputCase


def test_the_place_is_the_users_even_of_a_copy() -> None:
    images = (Path("/work/1/a.nii"), Path("/work/1/b.nii"))
    assert InputCase("a", images, "a.nii").place == images[0]
    assert InputCase("a", images, "a.nii", source="/data/s.zip/a.nii\n/data/s.zip/b.nii").place == Path("/data/s.zip/a.nii")
