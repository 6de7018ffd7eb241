"""DICOM by content: with and without preamble, in either byte order; other files, pipes and folders are none."""

from __future__ import annotations

import os
from pathlib import Path

import pydicom

from segsuite.volumes.dicom_files import holds_dicom, is_dicom, may_be_slice
from tests.slices import save, slice_data


def test_a_file_is_dicom_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    assert is_dicom(save(slice_data(), tmp_path / "IM000001"))
    assert is_dicom(save(slice_data(), tmp_path / "1.2.840.113619.2"))


def test_a_data_set_without_preamble_is_dicom(tmp_path: Path) -> None:
    for name, implicit, little in (("implicit", True, True), ("explicit", False, True), ("big", False, False)):
        data = slice_data()
        del data.file_meta
        data.preamble = None
        data.PixelData = bytes(280)
        pydicom.dcmwrite(tmp_path / name, data, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
        assert is_dicom(tmp_path / name), name


def test_other_files_are_not(tmp_path: Path) -> None:
    for name, content in (
        ("a", b""),
        ("b", b"\x08\x00" * 100),
        ("c", b"\x02\x00\xff\xff" + b"x" * 200),
        ("d.txt", b"xDICM" * 50),
    ):
        (tmp_path / name).write_bytes(content)
        assert not is_dicom(tmp_path / name), name
    assert not is_dicom(tmp_path)
    assert not is_dicom(tmp_path / "gone")
    assert not holds_dicom(tmp_path)
    assert not holds_dicom(tmp_path / "gone")


def test_slices_called_img_are_slices_if_they_say_so(tmp_path: Path) -> None:
    assert may_be_slice(save(slice_data(), tmp_path / "1.img"), ".img")
    (tmp_path / "2.img").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00" + bytes(300))
    assert not may_be_slice(tmp_path / "2.img", ".img")
    assert not may_be_slice(save(slice_data(), tmp_path / "3.nii"), ".nii"), "reading it as NIfTI says what is wrong"


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.dcm")
    assert not is_dicom(tmp_path / "a.dcm"), "opening it would wait for ever"


def test_an_empty_file_that_ends_in_dcm_belongs_to_the_dicom_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "7.dcm").touch()
    assert holds_dicom(tmp_path)
