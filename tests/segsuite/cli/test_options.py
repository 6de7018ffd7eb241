from __future__ import annotations

import pytest

from segsuite.cli.options import parse_fold, worker_count
from segsuite.errors import SettingsError


def test_fold_and_workers() -> None:
    assert parse_fold(None) is None
    assert parse_fold("3") == 3
    assert worker_count(3) == 3
    assert worker_count(None) >= 1


def test_wrong_fold() -> None:
    with pytest.raises(SettingsError, match="--fold must be a number here, got `all`"):
        parse_fold("all")
