from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.engines import doctor


def test_this_installation_is_sound(tmp_path: Path) -> None:
    found = doctor.examine(tmp_path)
    assert [test["problem"] for test in found["tests"]] == ["", ""]
    assert int(found["machine"]["cores"].split(" of ")[0]) >= 1


def test_48_orientations_are_48() -> None:
    assert len({matrix.tobytes() for matrix in doctor.all_orientations()}) == 48


def test_a_broken_way_back_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "back_to_grid", lambda labels, network, native: doctor.asymmetric_object()[::-1])
    assert "did not come back" in doctor.examine(tmp_path)["tests"][0]["problem"]
