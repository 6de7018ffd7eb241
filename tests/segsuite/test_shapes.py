from __future__ import annotations

import typing

from segsuite import shapes


def test_every_alias_is_public() -> None:
    aliases = {name for name, kind in typing.get_type_hints(shapes).items() if kind is typing.TypeAlias}
    assert aliases == {name for name in shapes.__all__ if name[0].isupper()}


def test_rows_come_first_and_the_others_keep_their_order() -> None:
    assert [shapes.row_order(axis) for axis in range(3)] == [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
