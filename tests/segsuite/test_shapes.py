from __future__ import annotations

import typing

from segsuite import shapes


def test_every_alias_is_public() -> None:
    aliases = {name for name, kind in typing.get_type_hints(shapes).items() if kind is typing.TypeAlias}
    assert aliases == set(shapes.__all__)
