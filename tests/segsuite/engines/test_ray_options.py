"""The engine's words."""

from __future__ import annotations

import pytest

from segsuite.engines.ray_options import RayOptions, parse_engine
from segsuite.errors import SettingsError


def test_words_become_options() -> None:
    pytest.importorskip("ray", reason="needs the extra: pip install 'segsuite[ray]'")
    assert parse_engine(None) is None
    assert parse_engine("ray") == RayOptions()
    assert parse_engine("ray:workers=8,cpus=4,gpus=0.25,batch=2,address=ray://head:10001") == RayOptions(
        8, 4.0, 0.25, 2, "ray://head:10001"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dask", "must be `ray`"),
        ("ray:wrokers=2", "got `wrokers=2`"),
        ("ray:workers=two", "a number as `workers`, got `two`"),
        ("ray:batch=0", "batch above 0"),
        ("ray:cpus=0", "cpus and batch above 0"),
    ],
)
def test_wrong_words_are_named(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_engine(text)
