from __future__ import annotations

import pytest

from segsuite.data.importing.mask_kinds import kind_in_name, kinds_findings


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        ("P1/scan.nii.gz", "P1/liver_seg.nii.gz", "liver"),
        ("P1/scan.nii.gz", "P1/P1_scan_Liver_mask.nii.gz", "liver"),
        ("images/a_1.nii.gz", "labels/a_1.nii.gz", ""),
        ("a.nii.gz", "a_seg2.nii.gz", ""),
    ],
)
def test_what_a_name_says_beyond_its_image(image: str, mask: str, expected: str) -> None:
    assert kind_in_name(image, mask) == expected


def test_names_of_patients_are_no_kinds() -> None:
    assert kinds_findings({f"{name}_seg": name for name in ("mueller", "meier", "schmidt")}) == []
    assert kinds_findings({"a": "liver", "b": "liver"}) == []
    assert kinds_findings({}) == []
    (finding,) = kinds_findings({"a": "liver", "b": "liver", "c": "", "d": "tumour", "e": "liver", "f": "liver"})
    assert finding.subjects == ("c", "d")
    assert "liver (4), no such word (1), tumour (1)" in finding.message
