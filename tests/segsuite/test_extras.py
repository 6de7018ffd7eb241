"""A missing extra is named with the command that installs it."""

from __future__ import annotations

import pytest

from segsuite.errors import SettingsError
from segsuite.extras import require_extra


def test_what_is_there_passes() -> None:
    require_extra("serve", "json", "csv", purpose="this test")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match=r"this test must have no_such_module_1, got none.*pip install 'segsuite\[serve\]'"):
        require_extra("serve", "json", "no_such_module_1", purpose="this test")
