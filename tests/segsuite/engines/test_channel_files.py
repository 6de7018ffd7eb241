"""Which files are the channels of one case; a wrong number never becomes another channel in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.channel_files import ChannelGroup, group_channels

Grouped = Callable[..., dict[str, ChannelGroup]]


@pytest.fixture
def grouped(write_nifti: Callable[..., Path], tmp_path: Path) -> Grouped:
    """Groups of files with these names and shapes."""

    def group(*names: str, n_channels: int = 2, shape: tuple[int, ...] = (3, 3, 3)) -> dict[str, ChannelGroup]:
        files = {name: write_nifti(tmp_path / name, np.zeros(shape, np.uint8)) for name in names}
        found = group_channels(files, n_channels=n_channels, names=("T2", "ADC"))
        return {entry.name: entry for entry in found}

    return group


def test_numbered_files_are_one_case_in_their_order(grouped: Grouped) -> None:
    found = grouped("a_0001.nii.gz", "a_0000.nii.gz", "sub/a_0000.nii.gz", "sub/a_0001.nii.gz")
    assert list(found) == ["a.nii.gz", "sub/a.nii.gz"]
    assert [path.name for path in found["a.nii.gz"].files] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert not any(entry.problem for entry in found.values())


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("gap_0000.nii", "gap_0002.nii"), "got gap_0000.nii, gap_0002.nii: _0001 (ADC) missing and _0002 too much"),
        (("x_0001.nii", "x_0002.nii"), "got x_0001.nii, x_0002.nii: _0000 (T2) missing and _0002 too much"),
        (("x_0001.nii",), "got x_0001.nii: _0000 (T2) missing."),
        (("x_0000.nii", "x_0001.nii", "x_0002.nii"), "x_0002.nii: _0002 too much."),
        (("p_0117.nii",), "_0000 (T2), _0001 (ADC) missing and _0117 too much"),
    ],
)
def test_a_missing_modality_fails_its_case_by_name(grouped: Grouped, names: tuple[str, ...], told: str) -> None:
    found = grouped(*names, "ok_0000.nii", "ok_0001.nii")
    assert found.pop("ok.nii").problem == ""
    (entry,) = found.values()
    assert told in entry.problem
    assert len(entry.files) == len(names)


def test_files_that_hold_all_channels_are_cases_whatever_their_numbers(grouped: Grouped) -> None:
    names = ["p_0000.nii.gz", "p_0001.nii.gz", "p_0012.nii.gz"]
    found = grouped(*names, shape=(3, 3, 3, 2))
    assert list(found) == names
    assert [(len(entry.files), entry.problem) for entry in found.values()] == [(1, "")] * 3


def test_names_without_four_digits_and_models_of_one_channel_are_left_alone(grouped: Grouped) -> None:
    assert list(grouped("a_001.nii", "a_00.nii", "0000.nii", "b.nii")) == ["a_001.nii", "a_00.nii", "0000.nii", "b.nii"]
    found = grouped("a_0000.nii", "a_0001.nii", "b.nii", n_channels=1)
    assert list(found) == ["a_0000.nii", "a_0001.nii", "b.nii"]
    assert not any(entry.problem for entry in found.values())


def test_another_modality_is_not_a_case_of_a_model_of_one_channel(grouped: Grouped) -> None:
    found = grouped("a_0000.nii", "a_0001.nii", "b_0000.nii", "b_0001.nii", "c.nii", n_channels=1)
    assert [name for name, entry in found.items() if entry.problem] == ["a_0001.nii", "b_0001.nii"]
    assert "got _0001 beside a _0000 in each of 2 cases" in found["a_0001.nii"].problem
    for names in (("a_0000.nii", "b_0000.nii"), ("a_0000.nii", "a_0001.nii", "b_0000.nii"), ("a_0001.nii", "b_0001.nii")):
        assert not any(entry.problem for entry in grouped(*names, n_channels=1).values())


@pytest.mark.parametrize("names", [("a_0000.nii", "a_0001.nii.gz"), ("a_0001.nii.gz", "a_0000.nii")])
def test_channels_whose_endings_differ_are_one_case(grouped: Grouped, names: tuple[str, str]) -> None:
    (found,) = grouped(*names, "a_0002.nii.gz", n_channels=3).values()
    assert [path.name for path in found.files] == ["a_0000.nii", "a_0001.nii.gz", "a_0002.nii.gz"]
    assert not found.problem


def test_a_channel_that_is_there_twice_is_not_chosen_for_anybody(grouped: Grouped) -> None:
    found = grouped("a_0000.nii", "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii", "b_0001.nii", "b_0001.nii.gz", n_channels=2)
    assert {name: bool(entry.problem) for name, entry in found.items()} == {
        "a.nii": True,
        "a.nii.gz": False,
        "b.nii": False,
        "b.nii.gz": True,
    }
