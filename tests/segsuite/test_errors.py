from __future__ import annotations

from segsuite.errors import InputError, ModelError, closest_hint, few_of, what_is_wrong


def test_hint_names_the_nearest_word() -> None:
    assert closest_hint("epochs", ["epoch", "seed", "manifest"]) == "Did you mean `epoch`?"


def test_hint_lists_all_words_when_none_is_near() -> None:
    assert closest_hint("zzz", ["seed", "epoch"]) == "Known: `epoch`, `seed`."


def test_of_many_names_a_few_are_named_and_the_others_counted() -> None:
    assert few_of(["a", "b"], most=2) == "a, b"
    assert few_of(("a", "b", "c"), most=1) == "a and 2 more"


def test_every_refusal_is_a_value_error() -> None:
    assert issubclass(ModelError, InputError)
    assert issubclass(InputError, ValueError)


def test_a_rule_of_ours_is_not_followed_by_the_whole_document() -> None:
    ours = {"loc": (), "msg": "Value error, `regions` must differ, got [1] twice", "input": {"name": "set", "labels": {}}}
    assert what_is_wrong(ours, most=80) == "`regions` must differ, got [1] twice"
    inner = {"loc": ("image", "spacing_mm"), "msg": "Value error, must be above 0", "input": [0, 1, 1]}
    assert what_is_wrong(inner, most=4) == "`image.spacing_mm`: must be above 0, got [0, "
    plain = {"loc": ("fold",), "msg": "Input should be a valid integer", "input": "two"}
    assert what_is_wrong(plain, most=80) == "`fold`: Input should be a valid integer, got 'two'"
