from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.errors import VolumeError
from segsuite.volumes.reading import read_labels, read_segment_names, read_segments
from segsuite.volumes.segments import segments_of

PROSTATE = np.zeros((4, 5, 6), dtype=np.uint8)
PROSTATE[:2] = 1
TUMOUR = np.zeros_like(PROSTATE)
TUMOUR[3] = 1


def segmentation(path: Path, array: np.ndarray, *segments: dict[str, str]) -> Path:
    """A file as 3D Slicer writes it: (i, j, k), or (i, j, k, layers) with the layers in front."""
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0, *range(3, array.ndim)), isVector=array.ndim == 4)
    for number, segment in enumerate(segments):
        for key, value in segment.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
    sitk.WriteImage(image, str(path))
    return path


def test_names_values_and_colours_come_from_the_header(tmp_path: Path) -> None:
    path = segmentation(
        tmp_path / "a.seg.nrrd",
        PROSTATE * 3 + TUMOUR * 7,
        {"ID": "s1", "Name": "prostate", "LabelValue": "3", "Layer": "0", "Color": "1 0.5 0"},
        {"ID": "s2", "Name": "tumour", "LabelValue": "7", "Layer": "0"},
    )
    first, second = read_segments(path)
    assert (first.name, first.value, first.colour) == ("prostate", 3, (1.0, 0.5, 0.0))
    assert (second.name, second.value, second.colour) == ("tumour", 7, None)
    np.testing.assert_array_equal(read_labels(path).labels, PROSTATE * 3 + TUMOUR * 7)


def test_a_plain_label_map_names_nothing(tmp_path: Path) -> None:
    assert read_segments(segmentation(tmp_path / "a.nrrd", PROSTATE)) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [(("1", "1"), (1, 2)), (("4", "9"), (4, 9)), ((None, None), (1, 2))],
    ids=["one value in each layer", "values that differ", "Slicer before 4.11"],
)
def test_layers_that_do_not_overlap_are_joined(
    tmp_path: Path, values: tuple[str | None, str | None], expected: tuple[int, int]
) -> None:
    parts = [
        {"Name": name} | ({} if value is None else {"LabelValue": value, "Layer": str(layer)})
        for layer, (name, value) in enumerate(zip(("prostate", "tumour"), values, strict=True))
    ]
    drawn = [int(value or 1) for value in values]
    path = segmentation(tmp_path / "a.seg.nrrd", np.stack([PROSTATE * drawn[0], TUMOUR * drawn[1]], axis=-1), *parts)
    assert [(one.name, one.value) for one in read_segments(path)] == [("prostate", expected[0]), ("tumour", expected[1])]
    np.testing.assert_array_equal(read_labels(path).labels, PROSTATE * expected[0] + TUMOUR * expected[1])


class TestOverlaps:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        inside = np.zeros_like(PROSTATE)
        inside[1, 1:3] = 1  # 12 voxels, all in the prostate
        parts = [{"Name": name, "LabelValue": "1", "Layer": str(n)} for n, name in enumerate(("prostate", "tumour"))]
        return segmentation(tmp_path / "a.seg.nrrd", np.stack([PROSTATE, inside], axis=-1), *parts)

    def test_they_are_refused_with_both_names(self, path: Path) -> None:
        with pytest.raises(VolumeError, match="got `prostate` and `tumour` both in 12 voxels"):
            read_labels(path)

    @pytest.mark.parametrize(("order", "tumour_voxels"), [(("prostate", "tumour"), 12), (("tumour", "prostate"), 0)])
    def test_a_declared_order_decides(self, path: Path, order: tuple[str, ...], tumour_voxels: int) -> None:
        labels = read_labels(path, segment_order=order).labels
        assert (labels > 0).sum() == PROSTATE.sum()
        assert (labels == 2).sum() == tumour_voxels

    def test_an_order_of_strangers_is_refused(self, path: Path) -> None:
        with pytest.raises(VolumeError, match=r"got no `liver`\. Known: `prostate`, `tumour`"):
            read_labels(path, segment_order=("prostate", "liver"))

    def test_layers_without_names_are_named_by_number(self, tmp_path: Path) -> None:
        path = segmentation(tmp_path / "b.seg.nrrd", np.stack([PROSTATE, PROSTATE], axis=-1))
        with pytest.raises(VolumeError, match="`layer 0, value 1` and `layer 1, value 1`"):
            read_labels(path)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"Segment0_LabelValue": "x"}, "must have numbers for its segment `segment 0`"),
        ({"Segment0_LabelValue": "0"}, "values from 1 to 65535"),
        ({"Segment0_LabelValue": "1", "Segment0_Layer": "-1"}, r"layer -1"),
        (
            {f"Segment{n}_LabelValue": "1" for n in range(2)},
            "a value of its own for each segment, got 1 for segment 0 and segment 1",
        ),
    ],
)
def test_segments_that_cannot_be_are_a_sentence(keys: dict[str, str], reason: str) -> None:
    with pytest.raises(VolumeError, match=reason):
        segments_of(keys, Path("a.seg.nrrd"))


def test_one_name_for_two_segments_is_numbered() -> None:
    keys = {f"Segment{n}_{key}": value for n in range(2) for key, value in (("Name", "lesion"), ("LabelValue", str(n + 1)))}
    assert [one.name for one in segments_of(keys, Path("a.seg.nrrd"))] == ["lesion", "lesion 2"]


def test_names_by_integer_may_hold_anything(tmp_path: Path) -> None:
    parts = [
        {"Name": name, "LabelValue": str(value)} for name, value in (("tumour", 2), ("left kidney: cyst", 1), ("Lésion", 11))
    ]
    path = segmentation(tmp_path / "a.seg.nrrd", PROSTATE, *parts)
    assert read_segment_names(path) == {1: "left kidney: cyst", 2: "tumour", 11: "Lésion"}
