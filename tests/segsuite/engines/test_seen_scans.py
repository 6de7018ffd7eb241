from __future__ import annotations

from segsuite.engines.seen_scans import has_hashes, has_seen, note_on_members, training_scans

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


def test_notes_count_the_members_that_have_seen_a_scan() -> None:
    members = [{"data": training_scans(scans)} for scans in ([A, B], [B, C], [A, C])]
    assert note_on_members(members[:1], C) == ""
    assert note_on_members(members[:1], A).startswith("this scan was in the model's training: a score on it says nothing")
    assert "in the model's training of 2 of its 3 members" in note_on_members(members, A)
