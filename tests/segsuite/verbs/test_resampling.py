from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.data.checking import check_manifest
from segsuite.data.importing.found import ImportFinding
from segsuite.data.locate import find_data_root, label_path
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.errors import OutputError
from segsuite.verbs.resampling import resample_masks
from segsuite.volumes.reading import read_labels, read_volume

Write = Callable[..., Path]


@pytest.fixture
def source(tmp_path: Path, write_nifti: Write) -> Path:
    """Images of 1 mm; masks on their grid (a), at 2 mm (b), stored in another order (c), and far away (d)."""
    image = np.arange(8 * 6 * 4, dtype=np.int16).reshape(8, 6, 4)
    drawn = np.zeros((8, 6, 4), np.uint8)
    drawn[2:6, 2:4, :] = 1
    drawn[4:6, 2:4, 2:] = 7
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = 0.5  # its first voxel covers the first two of the image along each axis
    far = np.eye(4)
    far[:3, 3] = 500
    flipped = np.array([[-1.0, 0, 0, 7], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    for name in "abcd":
        write_nifti(tmp_path / f"set/{name}.nii.gz", image)
    write_nifti(tmp_path / "set/a_m.nii.gz", drawn)
    write_nifti(tmp_path / "set/b_m.nii.gz", drawn[::2, ::2, ::2].copy(), coarse)
    write_nifti(tmp_path / "set/c_m.nii.gz", drawn[::-1].transpose(0, 2, 1).copy(), flipped)
    write_nifti(tmp_path / "set/d_m.nii.gz", drawn, far)
    rows = [Case(image=f"{name}.nii.gz", label=f"{name}_m.nii.gz", fold=number) for number, name in enumerate("abcd")]
    labels = {"background": 0, "x": 1, "y": 7}
    write_manifest(tmp_path / "set/M.json", Manifest(name="m", labels=labels, training=rows))
    return tmp_path / "set/M.json"


def test_masks_come_onto_their_images_and_no_file_changes(source: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in source.parent.iterdir()}
    findings: list[ImportFinding] = []
    out = tmp_path / "out"
    written = resample_masks(source, out, on_finding=findings.append)
    assert {path: path.read_bytes() for path in source.parent.iterdir()} == before
    assert read_manifest(out / "manifest.json") == written
    root = find_data_root(written, out / "manifest.json", None)
    drawn = read_labels(source.parent / "a_m.nii.gz").labels
    for case in written.training[:3]:
        mask = read_labels(label_path(case, root))
        assert mask.grid.shape == read_volume(root / case.images[0]).grid.shape
        np.testing.assert_array_equal(mask.labels, drawn, err_msg=case.case_id)
    assert written.training[0].label == "a_m.nii.gz"
    assert [case.fold for case in written.training] == [0, 1, 2, 3]
    errors = [finding for finding in findings if finding.severity == "error"]
    assert [finding.subjects for finding in errors] == [("d",)]
    assert "It may belong to another scan" in errors[0].message
    assert {f.case for f in check_manifest(written, root)[0] if f.kind == "grid"} == {"d"}


def test_what_a_structure_loses_is_told(source: Path, tmp_path: Path, write_nifti: Write) -> None:
    mask = np.zeros((8, 6, 4), np.uint8)
    mask[:, :, :] = 1
    shifted = np.eye(4)
    shifted[0, 3] = -4
    write_nifti(source.parent / "b_m.nii.gz", mask, shifted)
    findings: list[ImportFinding] = []
    resample_masks(source, tmp_path / "out", on_finding=findings.append)
    changed = next(finding for finding in findings if finding.kind == "structures whose volume changed")
    assert changed.subjects == ("b: label 1 0.192 to 0.096 ml",)  # half of 192 voxels of 1 cubic mm lie outside


def test_nothing_is_written_over(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("x")
    with pytest.raises(OutputError, match="was not made by segsuite"):
        resample_masks(source, tmp_path / "mine")
    resample_masks(source, tmp_path / "out")
    resample_masks(source, tmp_path / "out")  # ours: made again
    with pytest.raises(OutputError, match="must not be an input"):
        resample_masks(tmp_path / "out/manifest.json", tmp_path / "out")


def test_half_way_between_two_voxels_the_order_of_the_files_does_not_decide(tmp_path: Path, write_nifti: Write) -> None:
    """Masks half a voxel aside of their image; the origin, stored in single precision, leaves dust."""
    draw = np.random.default_rng(0)
    image, drawn = draw.integers(0, 99, (7, 6, 5)).astype(np.int16), draw.integers(0, 2, (7, 6, 5)).astype(np.uint8)
    own, aside = np.eye(4), np.eye(4)
    own[:3, 3] = [-61.3, 17.9, 203.7]
    aside[:3, 3] = own[:3, 3] + [0.5, -0.5, 0.5]
    orders = ("RAS", "SAR", "LPS", "IPL", "ASL", "PIR")
    rows = []
    for name, other in zip(orders, orders[2:] + orders[:2], strict=True):
        for stem, array, affine, codes in (("i", image, own, name), ("m", drawn, aside, other)):
            stored = nib.Nifti1Image(array, affine)
            axes = nib.orientations.axcodes2ornt(tuple(codes))
            turned = stored.as_reoriented(nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), axes))
            write_nifti(tmp_path / f"{stem}_{name}.nii", np.asarray(turned.dataobj), turned.affine)
        rows.append(Case(image=f"i_{name}.nii", label=f"m_{name}.nii"))
    write_manifest(tmp_path / "M.json", Manifest(name="m", labels={"background": 0, "x": 1}, training=rows))
    written = resample_masks(tmp_path / "M.json", tmp_path / "out")
    root = find_data_root(written, tmp_path / "out" / "manifest.json", None)
    masks = [nib.as_closest_canonical(nib.load(label_path(case, root))) for case in written.training]
    for mask in masks:
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(masks[0].dataobj))
    assert np.asarray(masks[0].dataobj).any()
