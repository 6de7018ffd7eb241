from __future__ import annotations

from segsuite.errors import InputError, ModelError, closest_hint, few_of


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
