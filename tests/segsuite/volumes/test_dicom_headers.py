"""What a file says of its series; what is no scan; values that are no numbers."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_headers import numbers, read_dataset, read_header, text
from tests.slices import save, slice_data

STORAGE = "1.2.840.10008.5.1.4.1.1."


def test_series_and_number_and_description(tmp_path: Path) -> None:
    found = read_header(save(slice_data(SeriesDescription="t2 tse tra"), tmp_path / "a"))
    assert (found.series_uid, found.number, found.description) == (str(slice_data().SeriesInstanceUID), "3", "t2 tse tra")
    assert (found.no_scan, found.localiser) == ("", False)


@pytest.mark.parametrize("description", ["t2 of JO", "P77 t2", "doe_t2"])
def test_a_description_that_names_the_patient_is_not_kept(tmp_path: Path, description: str) -> None:
    data = slice_data(SeriesDescription=description, PatientName="Doe^Joanna^JO", PatientID="P77")
    found = read_header(save(data, tmp_path / "a")).description
    assert found == ("t2 of JO" if description == "t2 of JO" else ""), "words of two letters are in every description"


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        ({"SOPClassUID": f"{STORAGE}66.4"}, "segmentation"),
        ({"SOPClassUID": f"{STORAGE}88.11", "Rows": None}, "report"),
        ({"SOPClassUID": f"{STORAGE}104.1", "Rows": None}, "document"),
        ({"SOPClassUID": f"{STORAGE}481.3", "Rows": None}, "radiotherapy"),
        ({"SOPClassUID": f"{STORAGE}7", "ImagePositionPatient": None}, "picture without a position"),
        ({"SOPClassUID": f"{STORAGE}7"}, ""),
        ({"SOPClassUID": f"{STORAGE}4"}, ""),
    ],
)
def test_what_is_no_scan_is_told_by_its_class(tmp_path: Path, odd: dict[str, Any], kind: str) -> None:
    assert read_header(save(slice_data(**odd), tmp_path / "a")).no_scan == (f"DICOM file ({kind})" if kind else "")


def test_localisers_say_so(tmp_path: Path) -> None:
    assert read_header(save(slice_data(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path / "a")).localiser


def test_broken_files_are_named(tmp_path: Path) -> None:
    whole = save(slice_data(), tmp_path / "whole").read_bytes()
    for name, content in (("empty", b""), ("text", b"no DICOM at all " * 20), ("cut", whole[:400]), ("meta", whole[:140])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VolumeError, match=f"{name} must"):
            read_header(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VolumeError, match="pipe must be a regular file"):
        read_dataset(tmp_path / "pipe", pixels=True)


def test_a_damaged_deflated_file_has_a_reason_in_our_words(tmp_path: Path) -> None:
    data = slice_data()
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(data, tmp_path / "a")
    whole = path.read_bytes()
    begin = 144 + int(read_dataset(path, pixels=False).file_meta.FileMetaInformationGroupLength)
    path.write_bytes(whole[:begin] + b"\x07" + whole[begin + 1 :])  # a kind of block that there is not
    with pytest.raises(VolumeError, match="got: deflated content that is damaged: it cannot be unpacked. Export it again"):
        read_dataset(path, pixels=True)


def test_a_length_that_lies_takes_no_memory(tmp_path: Path) -> None:
    path = save(slice_data(), tmp_path / "a")
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(content[: at + 8] + (0xFFFFFFF0).to_bytes(4, "little") + content[at + 12 :])
    tracemalloc.start()
    read_dataset(path, pixels=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("written", [b"1.0\\abc", b"nan\\1", b"1e400\\1", b"1", b"1\\2\\3"])
def test_what_are_no_two_numbers_is_refused(tmp_path: Path, written: bytes) -> None:
    path = save(slice_data(), tmp_path / "a")
    content = path.read_bytes()
    at = content.index(b"\x28\x00\x30\x00DS")
    size = int.from_bytes(content[at + 6 : at + 8], "little")
    path.write_bytes(
        content[: at + 6] + (len(written) + len(written) % 2).to_bytes(2, "little")
        + written + b" " * (len(written) % 2) + content[at + 8 + size :]
    )  # fmt: skip
    with pytest.raises(VolumeError, match="must have 2 numbers in PixelSpacing|value that cannot be read"):
        numbers(read_dataset(path, pixels=False), "PixelSpacing", 2, path)


def test_absent_and_empty_values_are_none(tmp_path: Path) -> None:
    data = slice_data(PixelSpacing="")
    assert numbers(data, "PixelSpacing", 2, tmp_path) is None
    assert numbers(data, "ImagerPixelSpacing", 2, tmp_path) is None
    assert text(data, "ImagerPixelSpacing") == ""
    assert text(data, "ImagePositionPatient") == "5.0\\7.0\\0.0"
