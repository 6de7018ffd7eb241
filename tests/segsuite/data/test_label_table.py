from __future__ import annotations

import json
from pathlib import Path

import pytest

from segsuite.data.label_table import label_table, read_label_table
from segsuite.errors import ManifestError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "index\tname\n2\tTZ\n1\tPZ\n"),
        ("t.tsv", "index\tname\tcolor\n0\tbackground\t\n1\tPZ\tred\n2\tTZ\tblue\n"),
        ("t.csv", "name,index\nPZ,1\nTZ,2\n"),
        ("t.tsv", "\ufeffIndex; Name\r\n1;PZ\r\n2;TZ;\r\n;\r\n"),
        ("dataset.json", json.dumps({"labels": {"background": 0, "PZ": 1, "TZ": 2, "ignore": 3}})),
        ("d.json", json.dumps({"labels": {"gland": [1, 2], "TZ": 2, "PZ": 1}, "regions_class_order": [1, 2, 1]})),
        ("dataset.json", json.dumps({"labels": {"0": "background", "1": "PZ", "2": "TZ"}})),
        ("t.json", json.dumps({"PZ": 1, "TZ": 2})),
        ("t.json", json.dumps({"1": "PZ", "2": "TZ"})),
    ],
    ids=["tsv", "bids", "csv", "excel", "nnunet", "regions", "decathlon", "bare", "bare by integer"],
)
def test_every_common_form_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_label_table(tmp_path / name) == {1: "PZ", 2: "TZ"}


def test_what_is_written_is_read_again_whatever_the_names_hold(tmp_path: Path) -> None:
    names = {2: 'the "left" one', 1: "a; b, c", 3: "'x'"}
    (tmp_path / "labels.tsv").write_text(label_table(names), encoding="utf-8")
    assert read_label_table(tmp_path / "labels.tsv") == names
    assert label_table({0: "rest", 1: "PZ"}) == "index\tname\n0\trest\n1\tPZ\n"
    assert label_table({1: "PZ"}) == "index\tname\n0\tbackground\n1\tPZ\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.tsv", "idx\tname\n1\tPZ\n", r"must have a column `index`, got \['idx', 'name'\]"),
        ("t.json", "[1, 2]", r"must hold an object \{...\}, got a list"),
        ("t.json", '{"labels": [1]}', "must hold `labels` by name or by integer, got list"),
        ("t.tsv", "index\tname\n1\tPZ\n2\tPZ\n", "got `PZ` in several rows"),
        ("t.json", '{"1": "PZ", "2": "PZ"}', r"its own name, got \['PZ'\] twice"),
        ("t.json", "{", "must be JSON"),
        ("t.tsv", "index\tname\n1_2\tPZ\n", "must give `PZ` a whole number from 0 to 65535, got `1_2`"),
        ("t.tsv", "index\tname\n-1\tPZ\n", "got `-1`"),
        ("t.tsv", "index\tname\n70000\tPZ\n", "got `70000`"),
        ("t.tsv", "index\tname\n\tPZ\n", "must give `PZ` a whole number"),
        ("t.tsv", "index\tname\n2\t\n", "must name the structure 2, got no name"),
        ("t.json", '{"PZ": 1, "TZ": 1}', "its own integer"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_label_table(tmp_path / name)
