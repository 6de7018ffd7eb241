"""Places, spacings and rescaling of slices and of the frames of enhanced files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.sequence import Sequence

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_frames import DETECTOR_NOTE, frames_of
from tests.slices import STEP_MM, enhanced_data, item, one, slice_data

PATH = Path("folder/IM7")


def test_a_slice_says_all_by_itself() -> None:
    (frame,) = frames_of(slice_data(2, RescaleSlope=2, RescaleIntercept=-1024), PATH)
    assert frame.position == (5.0, 7.0, 2 * STEP_MM)
    assert frame.spacing_mm == (0.5, 0.6), "DICOM has the distance of rows first"
    assert (frame.slope, frame.intercept, frame.thickness_mm, frame.size) == (2.0, -1024.0, STEP_MM, (10, 14))
    assert frame.name == "IM7"


def test_an_enhanced_file_says_it_per_frame_and_for_all() -> None:
    frames = frames_of(enhanced_data(3, slopes=[1.0, 2.0, 4.0]), PATH)
    assert [frame.position[2] for frame in frames] == [6.0, 3.0, 0.0]
    assert [(frame.slope, frame.intercept) for frame in frames] == [(1.0, 0.0), (2.0, -1.0), (4.0, -2.0)]
    assert {frame.spacing_mm for frame in frames} == {(0.5, 0.6)}
    assert frames[1].name == "IM7 frame 2"


def test_what_a_frame_says_goes_before_what_all_share() -> None:
    data = enhanced_data(2)
    data.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence = one(PixelSpacing=[2, 3], SliceThickness=9)
    first, second = frames_of(data, PATH)
    assert (first.spacing_mm, second.spacing_mm) == ((0.5, 0.6), (3.0, 2.0))


def test_detector_spacing_is_taken_with_a_note() -> None:
    (frame,) = frames_of(slice_data(PixelSpacing=None, ImagerPixelSpacing=[0.2, 0.1]), PATH)
    assert (frame.spacing_mm, frame.note) == ((0.1, 0.2), DETECTOR_NOTE)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"PixelSpacing": None}, "IM7 must have a PixelSpacing, got none"),
        ({"PixelSpacing": ""}, "IM7 must have a PixelSpacing, got none"),
        ({"PixelSpacing": [0, 1]}, r"above zero, got 0 x 1 mm"),
        ({"PixelSpacing": [-1, 1]}, r"above zero, got -1 x 1 mm"),
        ({"ImagePositionPatient": None}, "no ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "no ImageOrientationPatient"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "two directions of length 1 at a right angle"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "two directions of length 1"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "RescaleSlope other than zero"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, r"grey-scale image, got colour \(RGB\)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"colour \(PALETTE COLOR\)"),
        ({"NumberOfFrames": 8}, r"got 8 frames without \(multi-frame DICOM\)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "got a mosaic of many slices in one picture"),
        ({"Rows": 0}, "frames, rows and columns, got 1 x 0 x 14"),
    ],
)
def test_what_says_not_enough_is_refused(odd: dict[str, Any], message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        frames_of(slice_data(**odd), PATH)


def test_enhanced_files_that_say_not_enough_are_refused() -> None:
    fewer = enhanced_data(4)
    fewer.PerFrameFunctionalGroupsSequence = Sequence(list(fewer.PerFrameFunctionalGroupsSequence)[:3])
    nowhere = enhanced_data(2)
    nowhere.PerFrameFunctionalGroupsSequence = Sequence([item(), item()])
    unsized = enhanced_data(2)
    del unsized.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    for data, message in (
        (fewer, "4 frames lies, got 3"),
        (nowhere, "no ImagePositionPatient"),
        (unsized, "PixelSpacing, got none"),
    ):
        with pytest.raises(VolumeError, match=message):
            frames_of(data, PATH)
