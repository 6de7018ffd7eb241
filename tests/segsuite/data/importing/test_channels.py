from __future__ import annotations

import pytest

from segsuite.data.importing.channels import channel_findings, group_channels, image_ending_of


def groups(*stems: str, masks: tuple[str, ...] = (), n_channels: int | None = None) -> dict[str, list[str]]:
    found = group_channels([f"{stem}.nii.gz" for stem in stems], [f"{mask}.nii.gz" for mask in masks], n_channels=n_channels)
    return {
        first.removesuffix(".nii.gz"): [path.removesuffix(".nii.gz") for path in files] for first, files in found.files.items()
    }


def lacks(*stems: str, n_channels: int | None = None) -> dict[str, str]:
    found = group_channels([f"{stem}.nii.gz" for stem in stems], [], n_channels=n_channels)
    return {case: str(finding) for finding in channel_findings(found, {"1": "ADC"}) for case in finding.subjects}


def test_channels_are_found_where_several_names_have_them() -> None:
    assert groups("i/a_0000", "i/a_0001", "i/b_0000", "i/b_0001") == {
        "i/a_0000": ["i/a_0000", "i/a_0001"],
        "i/b_0000": ["i/b_0000", "i/b_0001"],
    }


def test_other_numbers_are_no_channels_of_the_case() -> None:
    stems = ("ok_0000", "ok_0001", "gap_0000", "gap_0002", "shift_0001", "shift_0002", "lone_0001")
    assert groups(*stems)["gap_0000"] == ["gap_0000", "gap_0001"]
    found = lacks(*stems)
    assert set(found) == {"gap", "shift", "lone"}
    assert "_0001 (ADC) not there and _0002 not declared" in found["gap"]
    assert "_0000 (0) not there" in found["lone"]


def test_a_missing_channel_everywhere_is_no_smaller_case() -> None:
    assert set(lacks("a_0000", "a_0002", "b_0000", "b_0002")) == {"a", "b"}


def test_numbered_scans_are_scans() -> None:
    stems = [f"scan_{number:04d}" for number in range(3)]
    assert list(groups(*stems)) == stems
    stems = ["a_0000", "a_0001", "b_0000", "b_0001"]
    assert list(groups(*stems, masks=tuple(f"{stem}_seg" for stem in stems))) == stems
    assert list(groups("P_0012", "Q_0034")) == ["P_0012", "Q_0034"]


def test_declared_channels_hold_for_every_case() -> None:
    found = lacks("a_0000", "b_0001", "c", n_channels=2)
    assert {case: "_0001 (ADC) not there" in text for case, text in found.items()} == {"a": True, "b": False, "c": True}
    assert lacks("a_0000", "b_0001", n_channels=1).keys() == {"b"}
    assert lacks("a_0000", n_channels=1) == {}


@pytest.mark.parametrize(("path", "ending"), [("a/b.NII.GZ", ".NII.GZ"), ("b.mha", ".mha"), ("slices", "")])
def test_ending(path: str, ending: str) -> None:
    assert image_ending_of(path) == ending
