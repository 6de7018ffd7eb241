from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.errors import OutputError, VolumeError
from segsuite.volumes import writing
from segsuite.volumes.grid import Grid
from segsuite.volumes.reading import read_labels, read_volume
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import is_side_volume, side_volume, write_image, write_mask

AFFINE = np.array([[0, -0.5, 0, 10], [0.5, 0, 0, 20], [0, 0, 3.0, -30], [0, 0, 0, 1.0]])
LABELS = (np.arange(60).reshape(3, 4, 5) % 4).astype(np.int64)


def image_with_codes(path: Path, qform: int, sform: int) -> Path:
    image = nib.Nifti1Image(np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32), AFFINE)
    image.set_qform(AFFINE, code=qform)
    image.set_sform(AFFINE, code=sform)
    image.header["descrip"] = b"PATIENT NAME"
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (1, 0), (0, 2), (3, 4)])
def test_mask_has_the_grid_and_codes_of_its_image(tmp_path: Path, qform: int, sform: int) -> None:
    like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", qform, sform))
    write_mask(tmp_path / "mask.nii.gz", LABELS, like=like)
    written, source = nib.load(tmp_path / "mask.nii.gz"), nib.load(tmp_path / "t2.nii.gz")
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-5)
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (qform, sform)
    assert written.get_data_dtype() == np.uint8
    assert written.header.get_xyzt_units()[0] == source.header.get_xyzt_units()[0]
    np.testing.assert_array_equal(np.asarray(written.dataobj), LABELS)


def test_form_codes_that_the_format_does_not_have_neither_fail_a_mask_nor_reach_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = image_with_codes(tmp_path / "t2.nii", 1, 1)
    content = bytearray(path.read_bytes())
    content[252:256] = struct.pack("<2h", 77, 77)
    path.write_bytes(content)
    write_mask(tmp_path / "mask.nii", LABELS, like=read_volume(path))
    assert "not valid" not in capfd.readouterr().err + caplog.text
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii").affine, AFFINE, atol=1e-5)


def test_nothing_of_the_description_is_carried_over(tmp_path: Path) -> None:
    like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
    write_mask(tmp_path / "mask.nii", LABELS, like=like)
    assert b"PATIENT" not in (tmp_path / "mask.nii").read_bytes()


def test_same_mask_same_bytes(tmp_path: Path) -> None:
    like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_mask(tmp_path / name, LABELS, like=like)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_other_formats_lie_on_the_grid_too(tmp_path: Path, ending: str) -> None:
    like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
    write_mask(tmp_path / f"m{ending}", LABELS, like=like)
    again = read_labels(tmp_path / f"m{ending}")
    np.testing.assert_allclose(again.grid.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(again.labels, LABELS)


@pytest.mark.parametrize("name", ["SCAN.NII.GZ", "Mixed.Nii.Gz"])
def test_a_mask_under_a_name_with_capitals_is_packed_and_reads_back(tmp_path: Path, name: str) -> None:
    like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
    write_mask(tmp_path / name, LABELS, like=like)
    assert (tmp_path / name).read_bytes()[:2] == b"\x1f\x8b"
    np.testing.assert_array_equal(read_labels(tmp_path / name).labels, LABELS)


@pytest.mark.parametrize("ending", [".nii.gz", ".mgz", ".nrrd", ".mha"])
def test_an_origin_that_single_precision_cannot_hold_is_no_fault_of_the_disk(tmp_path: Path, ending: str) -> None:
    """Of coordinates with three decimals a third is no float32 number beyond 256 mm, and most are none beyond 1000 mm."""
    draw = np.random.default_rng(0)
    for reach in (256.0, 1000.0, 20_000.0):
        affine = AFFINE.copy()
        affine[:3, 3] = np.round(draw.uniform(-reach, reach, 3), 3)
        image = nib.Nifti2Image(np.zeros((3, 4, 5), dtype=np.float32), affine)
        nib.save(image, tmp_path / "t2.nii")
        for like in (read_volume(tmp_path / "t2.nii"), Volume(np.zeros((1, 3, 4, 5)), Grid((3, 4, 5), affine))):
            write_mask(tmp_path / f"m{ending}", LABELS, like=like)
            again = read_labels(tmp_path / f"m{ending}").grid
            assert again.corner_distance_voxels(like.grid) < 0.01


@pytest.mark.parametrize(
    ("ending", "spacing", "unit"),
    [
        (".nrrd", b"space directions", b'\nspace units: "um" "um" "um"'),
        (".mha", b"ElementSpacing", b"\nDistanceUnits = um"),
    ],
)
def test_masks_of_images_in_micrometres_count_in_micrometres(tmp_path: Path, ending: str, spacing: bytes, unit: bytes) -> None:
    """An image of 1 mm voxels whose header is then said to count in micrometres."""
    path = tmp_path / f"t2{ending}"
    write_mask(path, LABELS, like=Volume(LABELS[None], Grid(LABELS.shape, np.diag([1.0, 1, 1, 1]))))
    header, line, rest = path.read_bytes().partition(spacing)
    path.write_bytes(header.rstrip(b"\n") + unit + b"\n" + line + rest)
    like = read_volume(path)
    assert like.spacing_mm == pytest.approx((0.001, 0.001, 0.001))
    write_mask(tmp_path / f"m{ending}", LABELS, like=like)
    assert unit in (tmp_path / f"m{ending}").read_bytes()
    again = read_labels(tmp_path / f"m{ending}")
    np.testing.assert_allclose(again.grid.affine, like.grid.affine, rtol=1e-9)
    np.testing.assert_array_equal(again.labels, LABELS)


def test_a_mask_that_lies_elsewhere_is_still_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = writing.nifti_bytes

    def moved(array: np.ndarray, like: Volume) -> bytes:
        affine = like.grid.affine.copy()
        affine[0, 3] += 0.01
        return honest(array, Volume(like.array, Grid(like.grid.shape, affine)))

    like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
    monkeypatch.setitem(writing._WRITERS, ".nii", moved)
    with pytest.raises(OutputError, match=r"affine 0\.01 off"):
        write_mask(tmp_path / "m.nii.gz", LABELS, like=like)


def test_more_than_255_labels_take_two_bytes(tmp_path: Path) -> None:
    like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
    write_mask(tmp_path / "m.nii.gz", LABELS + 300, like=like)
    assert nib.load(tmp_path / "m.nii.gz").get_data_dtype() == np.uint16


class TestRefusals:
    def test_another_shape(self, tmp_path: Path) -> None:
        like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
        with pytest.raises(VolumeError, match=r"must have the shape of its image \(3, 4, 5\), got \(4, 4, 5\)"):
            write_mask(tmp_path / "m.nii.gz", np.zeros((4, 4, 5), dtype=np.uint8), like=like)

    def test_probabilities_as_mask(self, tmp_path: Path) -> None:
        like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
        with pytest.raises(VolumeError, match="a mask must hold integers, got float64"):
            write_mask(tmp_path / "m.nii.gz", LABELS / 3, like=like)

    def test_file_that_reads_back_changed_never_gets_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        like = read_volume(image_with_codes(tmp_path / "t2.nii.gz", 1, 1))
        honest = writing.nifti_bytes
        monkeypatch.setitem(writing._WRITERS, ".nii", lambda array, like: honest(array * 0, like))
        with pytest.raises(OutputError, match="must read back as written"):
            write_mask(tmp_path / "m.nii.gz", LABELS, like=like)
        assert [path.name for path in tmp_path.iterdir()] == ["t2.nii.gz"]


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_volumes_beside_a_mask_bear_its_name_and_are_no_masks(tmp_path: Path, ending: str) -> None:
    like = Volume(LABELS[None], Grid(LABELS.shape, np.eye(4)))
    mask = tmp_path / f"t2w{ending}"
    path = side_volume(mask, "map_uncertainty")
    assert path.name == f"t2w_map_uncertainty{ending}"
    write_image(path, LABELS.astype(np.float32), like=like)
    assert not is_side_volume(path), "no mask lies beside it"
    write_mask(mask, LABELS, like=like)
    assert is_side_volume(path)
    assert not is_side_volume(mask)


def test_a_mask_called_map_is_a_mask(tmp_path: Path) -> None:
    """``label_map_01`` and ``p2_map_final`` are usual names; the second even has a mask of its first part beside it."""
    like = Volume(LABELS[None], Grid(LABELS.shape, np.eye(4)))
    for name in ("label_map_01", "p2", "p2_map_final", "x_probability_map_1"):
        write_mask(tmp_path / f"{name}.nii.gz", LABELS, like=like)
    (tmp_path / "p2_map_broken.nii.gz").write_bytes(b"no image")
    assert not [path.name for path in tmp_path.iterdir() if is_side_volume(path)]


def test_a_region_beside_its_mask_is_no_mask_unless_it_is_only_numbered(tmp_path: Path) -> None:
    like = Volume(LABELS[None], Grid(LABELS.shape, np.eye(4)))
    for name in ("p2", "p2_region_core", "p2_region_2", "q_region_core"):
        write_mask(tmp_path / f"{name}.nii.gz", LABELS, like=like)
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_side_volume(path)] == ["p2_region_core.nii.gz"]
