from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from segsuite.errors import GridError
from segsuite.reports import viewer
from segsuite.reports.viewer import LayeredCase, viewer_of, viewer_script, write_view

AFFINE = np.diag([-0.5, 0.5, 3.0, 1.0])
WITHOUT_LIMIT = 10**9


@pytest.fixture
def case(tmp_path: Path, write_nifti: Callable[..., Path]) -> LayeredCase:
    """A bright box with labels 3 and 700, away from the borders."""
    labels = np.zeros((120, 100, 20), dtype=np.uint16)
    labels[50:60, 40:52, 8:12] = 3
    labels[50:60, 52:60, 8:12] = 700
    image = (labels > 0) * 900.0 + np.random.default_rng(0).normal(100, 10, labels.shape)
    paths = [write_nifti(tmp_path / name, array, affine=AFFINE) for name, array in (("i.nii.gz", image), ("m.nii.gz", labels))]
    return LayeredCase("a<b", paths[0], [("predicted", paths[1])], crop=True)


def opened(data: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(data)))


def test_volumes_are_cropped_to_the_masks_and_lie_where_they_were(case: LayeredCase) -> None:
    entry = viewer_of([case], {3: "three"}, most_bytes=WITHOUT_LIMIT)["cases"][0]
    image, mask = opened(entry["image"]), opened(entry["masks"][0]["data"])
    assert image.shape == mask.shape == (10 + 60, 20 + 60, 4 + 10)
    np.testing.assert_allclose(image.affine, mask.affine)
    bright = nib.affines.apply_affine(image.affine, np.argwhere(image.get_fdata() > 128)).mean(axis=0)
    np.testing.assert_allclose(bright, nib.affines.apply_affine(AFFINE, [54.5, 49.5, 9.5]), atol=0.05)
    np.testing.assert_allclose(entry["centre_mm"], nib.affines.apply_affine(AFFINE, [54.5, 49.5, 9.5]))
    assert [(n, name) for n, name, _ in entry["masks"][0]["labels"]] == [(1, "three"), (2, "label 700")]
    assert set(np.unique(mask.get_fdata())) == {0, 1, 2}


def test_large_volumes_are_thinned_out_and_it_is_said(case: LayeredCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "MOST_VOXELS", 20_000)
    shown = viewer_of([case], {}, most_bytes=WITHOUT_LIMIT)
    image = opened(shown["cases"][0]["image"])
    assert image.shape == (35, 40, 7)
    np.testing.assert_allclose(np.abs(np.diag(image.affine))[:3], [1.0, 1.0, 6.0])
    assert shown["notes"] == ["a<b: every 2th voxel along each axis is shown"]


def test_what_does_not_fit_into_the_page_is_named(case: LayeredCase) -> None:
    size = len(viewer_of([case], {}, most_bytes=WITHOUT_LIMIT)["cases"][0]["image"])
    other = LayeredCase("second", case.image, case.masks, crop=True)
    shown = viewer_of([case, other], {}, most_bytes=int(1.9 * size))
    assert [entry["name"] for entry in shown["cases"]] == ["a<b"]
    assert "larger than 0 MB: second" in shown["notes"][0]
    nothing = viewer_of([case], {}, most_bytes=10)
    assert nothing["cases"] == []
    assert "Left out" in nothing["notes"][0]
    assert viewer_of([], {}, most_bytes=10) is None


def test_mask_on_another_grid_is_refused(case: LayeredCase, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    other = write_nifti(tmp_path / "other.nii.gz", np.zeros((3, 3, 3), dtype=np.uint8))
    with pytest.raises(GridError, match=r"i.nii.gz.*other.nii.gz|other.nii.gz"):
        viewer_of([LayeredCase("a", case.image, [("m", other)])], {}, most_bytes=WITHOUT_LIMIT)


def test_mask_whose_file_stores_the_axes_in_another_order_lies_where_it_was(case: LayeredCase, tmp_path: Path) -> None:
    expected = viewer_of([case], {}, most_bytes=WITHOUT_LIMIT)["cases"][0]["masks"][0]["data"]
    mask = nib.load(case.masks[0][1])
    nib.save(mask.as_reoriented(np.array([[2, 1], [0, -1], [1, -1]])), tmp_path / "turned.nii.gz")
    turned = LayeredCase("a<b", case.image, [("predicted", tmp_path / "turned.nii.gz")], crop=True)
    assert viewer_of([turned], {}, most_bytes=WITHOUT_LIMIT)["cases"][0]["masks"][0]["data"] == expected


def test_page_stands_alone(case: LayeredCase, tmp_path: Path) -> None:
    text = write_view(case, {3: "three"}, tmp_path / "v.html").read_text()
    own = text.replace(viewer_script(), "")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|http""", own)
    assert "<h1>a&lt;b</h1>" in text
    data = re.search(r'id="viewer-data">(.*?)</script>', text, re.S)
    assert json.loads(data.group(1))[0]["name"] == "a<b"


@pytest.mark.parametrize("name", ["<!--<script>", "</script><script>alert(1)</script>", "]]>", "\u2028"])
def test_a_name_cannot_leave_the_data_of_the_page(case: LayeredCase, tmp_path: Path, name: str) -> None:
    text = write_view(dataclasses.replace(case, name=name), {3: name}, tmp_path / "v.html").read_text()
    (block,) = re.findall(r'id="viewer-data">(.*?)</script>', text, re.S)
    assert "<" not in block
    assert json.loads(block)[0]["name"] == name


@pytest.mark.slow
def test_browser_shows_slices_with_the_mask_in_colour(case: LayeredCase, tmp_path: Path, browse: Callable[..., Any]) -> None:
    page = write_view(case, {}, tmp_path / "v.html")
    seen = browse(page, "return document.getElementById('viewer-state').dataset.shown;")
    assert seen.problems == []
    assert seen.found == "a<b"
    red, green, blue = (seen.picture[200:600, :, channel] for channel in range(3))
    assert green.std() > 0.05, "slices"
    assert (np.abs(red - blue) > 0.2).sum() > 1000, "coloured masks"
