from __future__ import annotations

import pytest

from segsuite.cli.options import parse_fold, parse_shard, worker_count
from segsuite.errors import SettingsError


def test_fold_and_shard() -> None:
    assert parse_fold(None) is None
    assert parse_fold("3") == 3
    assert parse_shard(None) == (1, 1)
    assert parse_shard("2/8") == (2, 8)
    assert worker_count(3) == 3
    assert worker_count(None) >= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1-3", "a/b", "1"])
def test_wrong_shards(text: str) -> None:
    with pytest.raises(SettingsError, match=f"--shard must be i/n .* got `{text}`"):
        parse_shard(text)


def test_wrong_fold() -> None:
    with pytest.raises(SettingsError, match="--fold must be a number here, got `all`"):
        parse_fold("all")
