from __future__ import annotations

from pathlib import Path

from segsuite.engines.input_case import InputCase


def test_the_place_is_the_users_even_of_a_copy() -> None:
    images = (Path("/unpacked/1/a.nii"), Path("/unpacked/1/b.nii"))
    assert InputCase("a", images, "a.nii").place == images[0]
    assert InputCase("a", images, "a.nii", source="/data/s.zip/a.nii\n/data/s.zip/b.nii").place == Path("/data/s.zip/a.nii")


def test_a_sentence_never_names_the_folder_that_an_archive_was_unpacked_into() -> None:
    images = (Path("/out/.unpacked-x/1/s.zip/p/a.nii"), Path("/out/.unpacked-x/1/s.zip/q/b.nii"))
    case = InputCase("a", images, "a.nii", source="/data/s.zip/p/a.nii\n/data/s.zip/q/b.nii")
    assert case.as_given(f"{images[0]} must not be empty, nor {images[1]}.") == (
        "/data/s.zip/p/a.nii must not be empty, nor /data/s.zip/q/b.nii."
    )
    series = InputCase("ser", (images[0].parent,), "ser.nii.gz", source="/data/s.zip/p")
    assert series.as_given(f"{images[0].parent}/IM7 must be whole.") == "/data/s.zip/p/IM7 must be whole."
    assert InputCase("a", images, "a.nii").as_given(f"{images[0]} is bad.") == f"{images[0]} is bad."
