from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.data.regions import read_regions, split_labels
from segsuite.errors import ManifestError

LABELS = {"background": 0, "oedema": 1, "necrosis": 2, "enhancing": 3}
REGIONS = {"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}


def manifest_with(**keys: Any) -> dict[str, Any]:
    return {"name": "tumours", "labels": LABELS, "regions": REGIONS, "regions_class_order": [1, 2, 3], **keys}


def read(folder: Path, content: dict[str, Any]) -> Manifest:
    path = folder / "manifest.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_manifest(path)


def test_regions_survive_reading_and_writing(tmp_path: Path) -> None:
    manifest = read(tmp_path, manifest_with())
    write_manifest(tmp_path / "again.json", manifest)
    assert read_manifest(tmp_path / "again.json") == manifest
    assert manifest.region_set is not None
    assert manifest.region_set.names == ("whole", "core", "enhancing")
    assert manifest.without_regions().region_set is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions_class_order": []}, "`regions_class_order` must have the integer that each region writes, 3 for .*whole"),
        ({"regions": {}}, "must order `regions`, got .1, 2, 3. and no regions"),
        ({"regions": {**REGIONS, "empty": []}}, "region `empty` must have at least one integer"),
        ({"regions": {**REGIONS, "core": [2, 7]}}, r"region `core` must be of structures of `labels` .*got \[7\]"),
        ({"regions": {**REGIONS, "core": [0, 2]}}, r"region `core` must be of structures .*got \[0\]"),
        ({"regions": {**REGIONS, "core": [2, 2]}}, r"region `core` must name each integer once, got \[2\]"),
        ({"regions": {"core": [2, 3], "enhancing": [3]}, "regions_class_order": [2, 3]}, r"in no region: 1 \(oedema\)"),
        ({"regions": {**REGIONS, "total": [3, 2, 1]}, "regions_class_order": [1, 2, 3, 1]}, "must differ.*`whole` and `total`"),
        ({"regions": {"1": [1, 2, 3]}, "regions_class_order": [1]}, "must have a name with letters.*`1`"),
        (
            {"regions": {"a b": [1, 2, 3], "A/b": [2]}, "regions_class_order": [1, 2]},
            "can be called after.*`a b` and `A/b`",
        ),
        ({"regions": {**REGIONS, "oedema": [1, 2]}, "regions_class_order": [1, 2, 3, 1]}, "`oedema` must not be called"),
        ({"regions_class_order": [1, 2, 2]}, r"an integer of its own, got \[2\]"),
        ({"regions_class_order": [1, 3, 2]}, "one of its own integers, got 2 for `enhancing`"),
        ({"labels": {**LABELS, "whole": [1, 2]}}, r"must be single integers, got lists for .*whole.*Put these under `regions`"),
        ({"ignore_label": 3}, r"region `whole` must be of structures .*got \[3\]"),
    ],
)
def test_unsound_regions_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, manifest_with(**changes))


def test_order_that_could_never_write_a_label_is_refused(tmp_path: Path) -> None:
    """From the smallest to the largest the whole would overwrite everything: no prediction could ever hold a 3."""
    turned = {"enhancing": [3], "core": [2, 3], "whole": [1, 2, 3]}
    with pytest.raises(ManifestError, match=r"label 2 \(necrosis\) is in .*core.*would write 1 there"):
        read(tmp_path, manifest_with(regions=turned, regions_class_order=[3, 2, 1]))


def test_labels_that_are_trained_as_one_may_share_an_integer(tmp_path: Path) -> None:
    manifest = read(tmp_path, manifest_with(regions={"any": [1, 2], "enhancing": [3]}, regions_class_order=[1, 3]))
    assert manifest.region_set is not None


def test_region_is_shown_where_all_of_its_labels_are() -> None:
    case = Case(image="a.nii.gz", labelled=["necrosis", "enhancing"])
    manifest = Manifest.model_validate(manifest_with(training=[case]))
    assert manifest.shown_by(case) == ("necrosis", "enhancing", "core", "enhancing")
    assert manifest.shown_by(Case(image="b.nii.gz")) is None


def test_lists_among_labels_become_regions_and_every_integer_gets_a_name() -> None:
    """nnU-Net's: every entry but the background is a region, a single integer too."""
    written = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    labels, regions = split_labels(written, [1, 2, 3])
    assert regions == {"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    assert labels == {"background": 0, "whole_only": 1, "core_only": 2, "enhancing": 3, "ignore": 4}
    assert split_labels({"background": 0, "a": 1}, []) == ({"background": 0, "a": 1}, {})


def test_label_that_is_no_number_is_named() -> None:
    with pytest.raises(ManifestError, match="label `whole` must be an integer or a list of integers, got {'a': 1}"):
        split_labels({"whole": {"a": 1}}, [])


def test_regions_are_read_from_each_file_that_declares_some(tmp_path: Path) -> None:
    nnunet = tmp_path / "dataset.json"
    nnunet.write_text(json.dumps({"labels": {"background": 0, **REGIONS}, "regions_class_order": [1, 2, 3]}))
    model = tmp_path / "model.json"
    model.write_text(json.dumps(manifest_with()))
    assert read_regions(nnunet) == read_regions(model)
    model.write_text(json.dumps({"labels": LABELS}))
    with pytest.raises(ManifestError, match="must declare `regions` of its `labels`, got none"):
        read_regions(model)
    model.write_text(json.dumps(manifest_with(regions_class_order=[3, 2, 1])))
    with pytest.raises(ManifestError, match=r"model.json: `regions_class_order` must give"):
        read_regions(model)
    model.write_text("[]")
    with pytest.raises(ManifestError, match="must hold an object"):
        read_regions(model)
    model.write_text("{")
    with pytest.raises(ManifestError, match="must be JSON"):
        read_regions(model)
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        read_regions(tmp_path / "none.json")
