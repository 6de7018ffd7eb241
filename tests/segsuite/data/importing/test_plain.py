from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.importing.found import Imported, ImportOptions
from segsuite.data.importing.plain import import_plain
from segsuite.data.manifest import read_manifest, write_manifest
from segsuite.errors import ManifestError

Touch = Callable[..., Path]
Write = Callable[..., Path]


def rows(imported: Imported) -> list[tuple[str, str | None]]:
    return [(case.images[0], case.label) for case in imported.manifest.training]


def told(imported: Imported) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.subjects for finding in imported.findings}


def test_equal_names_in_folders_of_their_own(touch: Touch) -> None:
    folder = touch(*(f"P{n}/{name}.nii.gz" for n in (1, 2, 3) for name in ("scan", "scan_seg")))
    imported = import_plain(folder, ImportOptions())
    assert rows(imported) == [(f"P{n}/scan.nii.gz", f"P{n}/scan_seg.nii.gz") for n in (1, 2, 3)]
    assert [case.case_id for case in imported.manifest.training] == ["P1_scan", "P2_scan", "P3_scan"]


def test_two_masks_that_fit_are_asked_for_with_a_way_out(touch: Touch) -> None:
    folder = touch("a.nii.gz", "a_rater1_seg.nii.gz", "a_rater2_seg.nii.gz")
    with pytest.raises(ManifestError, match=r"a_rater1_seg.nii.gz and a_rater2_seg.nii.gz fit a.nii.gz.*--leave-out"):
        import_plain(folder, ImportOptions())
    assert rows(import_plain(folder, ImportOptions(leave_out=["*rater2*"]))) == [("a.nii.gz", "a_rater1_seg.nii.gz")]
    assert rows(import_plain(folder, ImportOptions(labels="*rater2*"))) == [("a.nii.gz", "a_rater2_seg.nii.gz")]


def test_what_stays_unpaired_is_told(touch: Touch) -> None:
    imported = import_plain(touch("a.nii", "a_mask.nii", "b.nii", "c_mask.nii"), ImportOptions())
    assert rows(imported) == [("a.nii", "a_mask.nii"), ("b.nii", None)]
    assert told(imported) == {"images without a mask": ("b.nii",), "masks without an image": ("c_mask.nii",)}


def test_a_set_without_masks_is_no_news(touch: Touch) -> None:
    assert told(import_plain(touch("a.nii", "b.nii"), ImportOptions())) == {}


def test_patterns_of_the_user(touch: Touch) -> None:
    folder = touch(*(f"p{n}/{name}.nii.gz" for n in (1, 2) for name in ("t2w", "adc", "zones")))
    options = ImportOptions(images="*/t2w.nii.gz", labels="*/zones.nii.gz")
    assert rows(import_plain(folder, options)) == [(f"p{n}/t2w.nii.gz", f"p{n}/zones.nii.gz") for n in (1, 2)]
    with pytest.raises(ManifestError, match=r"--images must match images .* got `\*/t1w.nii.gz`, which matches none"):
        import_plain(folder, ImportOptions(images="*/t1w.nii.gz"))
    with pytest.raises(ManifestError, match="must match --images or --labels, not both, got p1/adc"):
        import_plain(folder, ImportOptions(images="*/*", labels="*/*"))
    with pytest.raises(ManifestError, match="--labels must be a pattern below"):
        import_plain(folder, ImportOptions(labels="**x/y**"))


def test_channels_of_one_case(touch: Touch) -> None:
    folder = touch(
        *(f"images/{c}_{n:04d}.nii" for c in "ab" for n in (0, 1)), "labels/a.nii", "labels/b.nii", "images/c_0001.nii"
    )
    imported = import_plain(folder, ImportOptions())
    assert [case.images for case in imported.manifest.training][:2] == [
        ("images/a_0000.nii", "images/a_0001.nii"),
        ("images/b_0000.nii", "images/b_0001.nii"),
    ]
    assert [case.label for case in imported.manifest.training] == ["labels/a.nii", "labels/b.nii", None]
    assert imported.manifest.channels == {"0": "channel_0", "1": "channel_1"}
    assert told(imported)["wrong channels"] == ("c",)


def test_one_file_per_organ_is_kept_for_combining(touch: Touch) -> None:
    folder = touch(*(f"s{n}/{name}.nii.gz" for n in (1, 2) for name in ("ct", "segmentations/liver", "segmentations/spleen")))
    imported = import_plain(folder, ImportOptions())
    assert rows(imported) == [("s1/ct.nii.gz", None), ("s2/ct.nii.gz", None)]
    assert imported.structures["s1_ct"] == {"liver": "s1/segmentations/liver.nii.gz", "spleen": "s1/segmentations/spleen.nii.gz"}
    assert told(imported) == {}


def test_a_pattern_names_the_structures(touch: Touch) -> None:
    folder = touch("a.nii", "b.nii", "a_liver_seg.nii", "a_spleen_seg.nii", "b_liver_seg.nii")
    with pytest.raises(ManifestError, match="structures of one case, give --structures"):
        import_plain(folder, ImportOptions())
    imported = import_plain(folder, ImportOptions(structures="{case}_{structure}_seg.nii"))
    assert imported.structures == {
        "a": {"liver": "a_liver_seg.nii", "spleen": "a_spleen_seg.nii"},
        "b": {"liver": "b_liver_seg.nii"},
    }


def test_parts_by_folder_are_not_trained_on(touch: Touch) -> None:
    folder = touch(*(f"{part}/{kind}/{part}1.nii" for part in ("train", "val", "test") for kind in ("images", "labels")))
    manifest = import_plain(folder, ImportOptions()).manifest
    assert [(case.case_id, case.fold) for case in manifest.training] == [("train1", None), ("val1", 0)]
    assert [case.case_id for case in manifest.test] == ["test1"]
    training, held_out = manifest.split(0)
    assert ([c.case_id for c in training], [c.case_id for c in held_out]) == (["train1"], ["val1"])


def test_scans_of_one_patients_folder_are_one_patients(touch: Touch) -> None:
    folder = touch(*(f"P{p}/{y}_{kind}.nii" for p in (0, 1) for y in (2020 + p, 2030 + p) for kind in ("img", "seg")))
    imported = import_plain(folder, ImportOptions())
    assert [case.patient_id for case in imported.manifest.training] == ["P0", "P0", "P1", "P1"]
    assert "patients by folder" in told(imported)


def test_functional_data_and_maps_are_no_cases(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.zeros((3, 3, 3), np.int16))
    write_nifti(tmp_path / "rest.nii.gz", np.zeros((3, 3, 3, 9), np.int16))
    imported = import_plain(tmp_path, ImportOptions())
    assert rows(imported) == [("a.nii.gz", None)]
    assert told(imported) == {"4-D images": ("rest.nii.gz",)}


def test_names_that_are_no_utf8_come_in_and_are_found_again(tmp_path: Path) -> None:
    name = os.fsdecode(b"K\xf6ln")
    try:
        for stem in (name, f"{name}_seg"):
            (tmp_path / f"{stem}.nii.gz").write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    imported = import_plain(tmp_path, ImportOptions())
    assert [case.case_id for case in imported.manifest.training] == ["KxF6ln"]
    write_manifest(tmp_path / "M.json", imported.manifest)
    case = read_manifest(tmp_path / "M.json").training[0]
    assert (tmp_path / case.images[0]).is_file()
    assert (tmp_path / str(case.label)).is_file()


def test_names_that_become_one_id_stay_two_cases(touch: Touch) -> None:
    imported = import_plain(touch("a_b/c.nii", "a/b_c.nii", "x/c.nii", "y/b_c.nii"), ImportOptions())
    assert len({case.case_id for case in imported.manifest.training}) == 4


def test_masks_that_no_word_names_are_known_by_their_content(tmp_path: Path, write_nifti: Write) -> None:
    drawn = np.zeros((4, 4, 4), np.uint8)
    drawn[0] = 2
    for number in (1, 2):
        write_nifti(tmp_path / f"P{number}/t2w.nii.gz", np.arange(64, dtype=np.int16).reshape(4, 4, 4))
        write_nifti(tmp_path / f"P{number}/zones_Yuan23.nii.gz", drawn)
    imported = import_plain(tmp_path, ImportOptions())
    assert rows(imported) == [(f"P{n}/t2w.nii.gz", f"P{n}/zones_Yuan23.nii.gz") for n in (1, 2)]
    assert told(imported) == {"masks by their content": ("P1/zones_Yuan23.nii.gz", "P2/zones_Yuan23.nii.gz")}
    write_nifti(tmp_path / "P1/zones_Hevi23.nii.gz", drawn)
    with pytest.raises(ManifestError, match="zones_Hevi23.nii.gz and P1/zones_Yuan23.nii.gz fit P1/t2w.nii.gz"):
        import_plain(tmp_path, ImportOptions())


def test_patterns_of_the_user_are_believed_where_names_say_nothing(touch: Touch) -> None:
    folder = touch(*(f"P{n}/{name}.nii.gz" for n in (1, 2) for name in ("t2w", "zones_23", "zones_24")))
    options = ImportOptions(images="*/t2w.nii.gz", labels="*/zones_23.nii.gz")
    assert rows(import_plain(folder, options)) == [(f"P{n}/t2w.nii.gz", f"P{n}/zones_23.nii.gz") for n in (1, 2)]


def test_accents_are_the_same_however_the_file_system_stores_them(touch: Touch) -> None:
    composed, apart = "M\u00fcller", "Mu\u0308ller"
    imported = import_plain(touch(f"images/{composed}_1.nii.gz", f"labels/{apart}_1.nii.gz"), ImportOptions())
    assert rows(imported) == [(f"images/{composed}_1.nii.gz", f"labels/{apart}_1.nii.gz")]


def test_masks_of_two_structures_are_said(touch: Touch) -> None:
    folder = touch("P1/scan.nii.gz", "P1/liver_seg.nii.gz", "P2/scan.nii.gz", "P2/tumour_seg.nii.gz")
    assert told(import_plain(folder, ImportOptions()))["masks that may show something else"] == ("P2/tumour_seg.nii.gz",)
