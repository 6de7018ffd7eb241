from __future__ import annotations

from segsuite.engines.seen_scans import (
    has_hashes,
    has_seen,
    mark_of_scan,
    note_on_members,
    training_scans,
    with_later_scans,
)

A, B, C = "aa" * 16, "bb" * 16, "cc" * 16


def test_a_model_knows_its_scans_by_a_salt_of_its_own() -> None:
    first, second = ({"data": training_scans([A, B, A])} for _ in range(2))
    assert [has_seen(first, scan) for scan in (A, B, C)] == [True, True, False]
    assert len(first["data"]["training_scans"]["hashes"]) == 2
    assert not {*first["data"]["training_scans"]["hashes"]} & {*second["data"]["training_scans"]["hashes"], A, B}


def test_models_of_earlier_versions_do_not_know_and_say_so() -> None:
    old = {"data": {"training_cases": ["a"]}}
    assert training_scans([]) == {}
    assert (has_hashes(old), has_seen(old, A), note_on_members([old, {}], A)) == (False, False, "")


def test_scans_that_came_later_are_known_and_forgotten_without_a_trace() -> None:
    base = {"name": "m", "data": {"training_cases": ["a"], **training_scans([A])}}
    marks = [mark_of_scan(base, scan) for scan in (B, C)]
    more = with_later_scans(base, marks)
    assert [has_seen(more, scan) for scan in (A, B, C)] == [True] * 3
    fewer = with_later_scans(more, marks[:1])
    assert [has_seen(fewer, scan) for scan in (A, B, C)] == [True, True, False]
    assert with_later_scans(more, []) == base
    old = {"data": {"training_cases": ["a"]}}
    assert with_later_scans(old, [mark_of_scan(old, A)]) == old


def test_notes_count_the_members_that_have_seen_a_scan() -> None:
    members = [{"data": training_scans(scans)} for scans in ([A, B], [B, C], [A, C])]
    assert note_on_members(members[:1], C) == ""
    assert note_on_members(members[:1], A).startswith("this scan was in the model's training: a score on it says nothing")
    assert "in the model's training of 2 of its 3 members" in note_on_members(members, A)
