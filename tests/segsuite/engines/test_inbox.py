from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from segsuite.engines.inbox import Inbox
from segsuite.engines.inputs import InputCase


@pytest.fixture
def arrived(tmp_path: Path) -> InputCase:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"123")
    return InputCase("a", (path,), "a.nii.gz")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_case_is_handed_out_once_when_it_has_settled(arrived: InputCase) -> None:
    age(arrived.images[0], 60)
    inbox = Inbox(settle_s=5)
    assert [inbox.ready([arrived]) for _ in range(3)] == [[], [arrived], []]


def test_what_is_still_being_written_waits(arrived: InputCase) -> None:
    inbox, path = Inbox(settle_s=5), arrived.images[0]
    assert inbox.ready([arrived]) == inbox.ready([arrived]) == [], "it has just changed"
    age(path, 60)
    path.write_bytes(b"12345")
    age(path, 50)
    assert inbox.ready([arrived]) == [], "it grew between the looks"
    assert inbox.ready([arrived]) == [arrived]


def test_a_case_that_changes_later_comes_again(arrived: InputCase) -> None:
    inbox = Inbox(settle_s=0)
    age(arrived.images[0], 60)
    inbox.ready([arrived])
    assert inbox.ready([arrived]) == [arrived]
    arrived.images[0].write_bytes(b"other")
    age(arrived.images[0], 30)
    assert [inbox.ready([arrived]) for _ in range(2)] == [[], [arrived]]


def test_a_series_is_complete_when_all_its_files_are(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"1")
    case = InputCase("series", (series,), "series.nii.gz")
    inbox = Inbox(settle_s=0)
    inbox.ready([case])
    (series / "2.dcm").write_bytes(b"2")
    assert inbox.ready([case]) == []
    assert inbox.ready([case]) == [case]


def test_what_went_away_is_no_case(arrived: InputCase) -> None:
    inbox = Inbox(settle_s=0)
    arrived.images[0].unlink()
    assert inbox.ready([arrived]) == inbox.ready([arrived]) == []


def test_what_cannot_be_looked_at_is_handed_out_once_to_fail_for_its_reason(arrived: InputCase, tmp_path: Path) -> None:
    broken = InputCase("b", (tmp_path / ("b" * 300),), "b.nii.gz")  # a name that the disk does not take
    age(arrived.images[0], 60)
    inbox = Inbox(settle_s=5)
    assert [inbox.ready([arrived, broken]) for _ in range(3)] == [[], [arrived, broken], []]
