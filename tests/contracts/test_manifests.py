"""Every shipped manifest reads, says where its data is from, and MONAI reads what we write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.data import load_decathlon_datalist

from segsuite.data.manifest import Manifest, read_manifest
from segsuite.shipped import shipped_folder, shipped_manifests

MANIFESTS = shipped_manifests()


@pytest.mark.parametrize("name", MANIFESTS)
def test_shipped_manifest_is_complete(name: str) -> None:
    manifest = read_manifest(MANIFESTS[name])
    assert manifest.name == name
    assert manifest.licence
    assert manifest.source
    assert manifest.structures
    assert manifest.data_root is None
    for case in manifest.cases:
        assert not [path for path in case.images if Path(path).is_absolute()]


def test_schema_is_what_the_code_accepts() -> None:
    path = shipped_folder("data_manifests") / "manifest.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == Manifest.model_json_schema()


def test_monai_reads_our_manifest(cohort_folder: Path) -> None:
    rows = load_decathlon_datalist(cohort_folder / "manifest.json", data_list_key="training")
    assert len(rows) == 6
    assert all(Path(row["image"]).is_file() and Path(row["label"]).is_file() for row in rows)
