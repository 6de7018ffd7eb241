from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.cli import main
from segsuite.data.importing.found import ImportFinding
from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.errors import ManifestError, VolumeError
from segsuite.verbs.combining import combine_manifest
from segsuite.verbs.masks import Combining
from segsuite.verbs.segmentations import combine_segmentations, join_segments, segmentations_at
from segsuite.volumes.reading import read_labels

GLAND = np.zeros((4, 5, 6), dtype=np.uint8)
GLAND[:2] = 1
TUMOUR = np.zeros_like(GLAND)
TUMOUR[1:3, 1:3] = 1  # 24 voxels, 12 of them in the gland
MAP = np.where(TUMOUR > 0, 2, GLAND)


def layered(path: Path, **layers: np.ndarray) -> Path:
    """A segmentation of 3D Slicer with a layer for each structure, each drawn as 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stacked = np.stack(list(layers.values()), axis=-1)
    image = sitk.GetImageFromArray(stacked.transpose(2, 1, 0, 3), isVector=True)
    for number, name in enumerate(layers):
        for key, value in {"Name": name.replace("_", " "), "LabelValue": "1", "Layer": str(number)}.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
    sitk.WriteImage(image, str(path))
    return path


def test_the_command_that_the_refusal_names_writes_an_ordinary_label_map(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = layered(tmp_path / "case 1.seg.nrrd", gland=GLAND, the_tumour=TUMOUR)
    with pytest.raises(VolumeError, match="`gland` and `the tumour` both in 12 voxels") as refused:
        read_labels(path)
    command = shlex.split(str(refused.value).split("`")[5])
    assert command.pop() == "FOLDER"
    assert command == ["segsuite", "manifest", "combine", str(path), "--order", "gland,the tumour", "--out"]
    with pytest.raises(SystemExit) as end:
        main([*command[1:], str(tmp_path / "maps")])
    assert not end.value.code
    assert "case 1: gland (12 voxels to the tumour)" in " ".join(capfd.readouterr().err.split())
    np.testing.assert_array_equal(read_labels(tmp_path / "maps/case 1.nii.gz").labels, MAP)
    assert (tmp_path / "maps/labels.tsv").read_text() == "index\tname\n0\tbackground\n1\tgland\n2\tthe tumour\n"


def test_the_last_one_of_the_order_wins(tmp_path: Path) -> None:
    path = layered(tmp_path / "a.seg.nrrd", gland=GLAND, tumour=TUMOUR)
    made = combine_segmentations({"a": path}, tmp_path / "out", combining=Combining(("tumour", "gland")))
    np.testing.assert_array_equal(read_labels(made["a"]).labels, np.where(GLAND > 0, 1, 2 * TUMOUR))


class TestFolder:
    def test_structures_have_one_integer_in_all_files_although_their_order_differs(self, tmp_path: Path) -> None:
        layered(tmp_path / "in/s1/a.seg.nrrd", gland=GLAND, tumour=TUMOUR)
        layered(tmp_path / "in/s2/a.seg.nrrd", tumour=TUMOUR, gland=GLAND)
        layered(tmp_path / "in/s3/a.seg.nrrd", tumour=TUMOUR)
        files = segmentations_at(tmp_path / "in")
        made = combine_segmentations(files, tmp_path / "out", combining=Combining(("gland", "tumour")))
        np.testing.assert_array_equal(read_labels(made["s1/a"]).labels, MAP)
        np.testing.assert_array_equal(read_labels(made["s2/a"]).labels, MAP)
        np.testing.assert_array_equal(read_labels(made["s3/a"]).labels, 2 * TUMOUR)

    def test_one_that_overlaps_without_an_order_or_is_broken_costs_no_other(self, tmp_path: Path) -> None:
        layered(tmp_path / "in/s1.seg.nrrd", gland=GLAND, tumour=TUMOUR)
        layered(tmp_path / "in/s2.seg.nrrd", gland=GLAND, tumour=TUMOUR * (1 - GLAND))
        (tmp_path / "in/s3.seg.nrrd").write_bytes(b"NRRD0004\n")
        said: list[ImportFinding] = []
        made = combine_segmentations(segmentations_at(tmp_path / "in"), tmp_path / "out", on_finding=said.append)
        assert list(made) == ["s2"]
        assert [(one.severity, one.subjects) for one in said][:2] == [("error", ("s1",)), ("error", ("s3",))]

    def test_a_file_per_structure_is_none_of_these(self, tmp_path: Path) -> None:
        layered(tmp_path / "in/s1/gland.seg.nrrd", gland=GLAND)
        assert segmentations_at(tmp_path / "in") == {}
        assert segmentations_at(tmp_path / "M.json") == {}


def test_integers_of_a_manifest(tmp_path: Path) -> None:
    path = layered(tmp_path / "a.seg.nrrd", gland=GLAND, tumour=TUMOUR)
    write_manifest(tmp_path / "k.json", Manifest(name="k", labels={"background": 0, "gland": 5, "tumour": 3}))
    how = Combining(("gland", "tumour"))
    made = combine_segmentations({"a": path}, tmp_path / "out", like=str(tmp_path / "k.json"), combining=how)
    np.testing.assert_array_equal(read_labels(made["a"]).labels, np.where(TUMOUR > 0, 3, 5 * GLAND))
    other = layered(tmp_path / "b.seg.nrrd", tumuor=TUMOUR)
    with pytest.raises(ManifestError, match=r"got none for \['tumuor'\]. Did you mean `tumour`"):
        combine_segmentations({"b": other}, tmp_path / "o", like=str(tmp_path / "k.json"))


def test_layers_of_a_manifests_masks_go_by_their_names(tmp_path: Path) -> None:
    """By the order of the layers, as channels are, the tumour would be the gland."""
    layered(tmp_path / "a.seg.nrrd", tumour=TUMOUR, gland=GLAND)
    rows = [Case(image="a.nii.gz", label="a.seg.nrrd")]
    labels = {"background": 0, "gland": 1, "tumour": 2}
    write_manifest(tmp_path / "M.json", Manifest(name="m", labels=labels, training=rows))
    combine_manifest(tmp_path / "M.json", tmp_path / "out", combining=Combining(("gland", "tumour")))
    np.testing.assert_array_equal(read_labels(tmp_path / "out/masks/a.nii.gz").labels, MAP)


def test_what_names_nothing_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(GLAND), str(tmp_path / "a.nrrd"))
    with pytest.raises(VolumeError, match="must be a segmentation that names its structures"):
        combine_segmentations({"a": tmp_path / "a.nrrd"}, tmp_path / "out")
    path = layered(tmp_path / "b.seg.nrrd", gland=GLAND)
    with pytest.raises(ManifestError, match=r"got `glnad`\. Did you mean `gland`"):
        combine_segmentations({"b": path}, tmp_path / "out", combining=Combining(("glnad",)))
    with pytest.raises(VolumeError, match=r"with an integer, got `gland`"):
        join_segments(path, {"liver": 1}, order=())
