from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.importing.bids import import_bids, looks_like_bids
from segsuite.data.importing.found import Imported, ImportOptions
from segsuite.errors import ManifestError

Touch = Callable[..., Path]
Write = Callable[..., Path]
DERIVED = "derivatives/m"


def bids(touch: Touch, *names: str) -> Path:
    """Files by name; folders follow from it, masks (``*dseg``, ``*mask``) lie in the derivatives."""
    paths = []
    for name in names:
        visit = "/".join(part for part in name.split("_") if part.startswith(("sub-", "ses-")))
        top = f"{DERIVED}/" if name.endswith(("dseg", "mask")) else ""
        paths.append(f"{top}{visit}/anat/{name}.nii.gz")
    return touch("dataset_description.json", *paths)


def pairs(imported: Imported) -> dict[str, str | None]:
    return {
        Path(case.images[0]).name.removesuffix(".nii.gz"): None
        if case.label is None
        else Path(case.label).name.removesuffix(".nii.gz")
        for case in imported.manifest.training
    }


@pytest.mark.parametrize(
    "expected",
    [
        {"sub-1_acq-high_T2w": "sub-1_acq-high_dseg", "sub-1_acq-low_T2w": "sub-1_acq-low_dseg"},
        {"sub-1_ses-a_run-1_T2w": "sub-1_ses-a_run-01_dseg", "sub-1_ses-a_run-2_T2w": "sub-1_ses-a_run-02_dseg"},
        {"sub-1_ses-1_space-std_T1w": "sub-1_ses-1_space-std_label-L_desc-lesion_mask"},
        {"sub-1_T1w": "sub-1_space-T1w_dseg", "sub-2_T1w": "sub-2_space-orig_desc-manual_dseg"},
        {"sub-1_ce-GADOLINIUM_T1w": "sub-1_ce-GADOLINIUM_dseg", "sub-1_T1w": "sub-1_dseg"},
        {"sub-1_rec-norm_T2w": "sub-1_seg-zones_dseg"},
        {"sub-01_T1w": "sub-01_dseg", "sub-1_T1w": "sub-1_dseg"},
    ],
    ids=lambda expected: next(iter(expected.values())),
)
def test_every_entity_must_agree(touch: Touch, expected: dict[str, str]) -> None:
    assert pairs(import_bids(bids(touch, *expected, *expected.values()), ImportOptions())) == expected


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("sub-1_acq-high_T2w", "sub-1_acq-low_dseg"),
        ("sub-1_ses-1_T2w", "sub-1_ses-2_dseg"),
        ("sub-1_run-1_T2w", "sub-1_run-2_dseg"),
        ("sub-1_T1w", "sub-1_space-MNI152NLin6Asym_dseg"),
        ("sub-1_T1w", "sub-1_res-2_dseg"),
        ("sub-1_space-std_T1w", "sub-1_dseg"),
        ("sub-1_T1w", "sub-1_FLAIR_dseg"),
        ("sub-1_T1w", "sub-1_mod-T2w_dseg"),
        ("sub-1_T1w", "sub-1_acq-high_dseg"),
        ("sub-1_T1w", "sub-2_dseg"),
    ],
)
def test_a_mask_of_another_image_stays_alone_and_is_told(touch: Touch, image: str, mask: str) -> None:
    imported = import_bids(bids(touch, image, mask), ImportOptions())
    assert pairs(imported) == {image: None}
    assert {finding.kind for finding in imported.findings} == {"images without a mask", "masks without an image"}


@pytest.mark.parametrize(
    "masks",
    [
        ("sub-1_rater-1_dseg", "sub-1_rater-2_dseg"),
        ("sub-1_desc-brain_mask", "sub-1_label-L_desc-lesion_mask"),
        ("sub-1_seg-a_dseg", "sub-1_seg-b_dseg"),
    ],
)
def test_two_masks_of_one_image_are_a_question(touch: Touch, masks: tuple[str, str]) -> None:
    folder = bids(touch, "sub-1_T1w", *masks)
    with pytest.raises(
        ManifestError, match=f"{masks[0]}.nii.gz and .*{masks[1]}.nii.gz fit .*sub-1_T1w.*Say which by passing over"
    ):
        import_bids(folder, ImportOptions())
    assert pairs(import_bids(folder, ImportOptions(leave_out=[f"*{masks[0]}*"]))) == {"sub-1_T1w": masks[1]}


def test_a_mask_that_fits_two_runs_is_a_question(touch: Touch) -> None:
    with pytest.raises(ManifestError, match="fits .*run-1_T1w.nii.gz and .*run-2_T1w"):
        import_bids(bids(touch, "sub-1_run-1_T1w", "sub-1_run-2_T1w", "sub-1_dseg"), ImportOptions())


class TestSuffix:
    def test_several_kinds_of_images_are_asked_for(self, touch: Touch) -> None:
        folder = bids(touch, "sub-1_T1w", "sub-1_FLAIR", "sub-1_FLAIR_dseg", "sub-2_T1w")
        with pytest.raises(ManifestError, match=r"one suffix, or be told which, got FLAIR \(1\), T1w \(2\).*--suffix FLAIR"):
            import_bids(folder, ImportOptions())
        assert pairs(import_bids(folder, ImportOptions(suffix="FLAIR"))) == {"sub-1_FLAIR": "sub-1_FLAIR_dseg"}
        unlabelled = import_bids(folder, ImportOptions(suffix="T1w"))
        assert pairs(unlabelled) == {"sub-1_T1w": None, "sub-2_T1w": None}
        assert unlabelled.manifest.channels == {"0": "T1w"}
        with pytest.raises(ManifestError, match=r"got `T1`. Did you mean `T1w`\?"):
            import_bids(folder, ImportOptions(suffix="T1"))

    def test_a_mask_that_names_no_contrast_is_taken_with_a_note(self, touch: Touch) -> None:
        imported = import_bids(bids(touch, "sub-1_T1w", "sub-1_T2w", "sub-1_dseg"), ImportOptions(suffix="T2w"))
        assert pairs(imported) == {"sub-1_T2w": "sub-1_dseg"}
        assert "drawn on T2w" in str(imported.findings[-1])


def test_only_anatomical_images_are_cases(tmp_path: Path, touch: Touch, write_nifti: Write) -> None:
    touch(
        "sub-1/anat/sub-1_T1w.nii.gz",
        "sub-1/dwi/sub-1_dwi.nii.gz",
        "sub-1/perf/sub-1_asl.nii.gz",
        "sub-1/anat/sub-1_defacemask.nii.gz",
    )
    touch(
        "sub-1/func/sub-1_task-rest_bold.nii.gz",
        "sub-1/func/sub-1_task-rest_sbref.nii.gz",
        "derivatives/x/sub-1/anat/sub-1_probseg.nii.gz",
    )
    write_nifti(tmp_path / "sub-2/anat/sub-2_T1w.nii.gz", np.zeros((2, 2, 2, 7), np.uint8))
    touch("sourcedata/sub-1/anat/sub-1_T1w.nii.gz", "derivatives/x/sub-1/anat/sub-1_desc-preproc_T1w.nii.gz")
    imported = import_bids(tmp_path, ImportOptions())
    assert [case.images[0] for case in imported.manifest.training] == ["sub-1/anat/sub-1_T1w.nii.gz"]
    kinds = {finding.kind for finding in imported.findings}
    assert {"dwi images", "perf images", "func images", "defacemask files", "probseg files", "4-D images"} <= kinds


def test_patients_sessions_and_label_names(touch: Touch) -> None:
    folder = bids(touch, "sub-01_ses-1_T2w", "sub-01_ses-1_dseg", "sub-02_T2w")
    (folder / DERIVED / "dseg.tsv").write_text("index\tname\n1\tPZ\n2\tTZ\n")
    manifest = import_bids(folder, ImportOptions()).manifest
    assert [(c.patient_id, c.session) for c in manifest.training] == [("sub-01", "1"), ("sub-02", None)]
    assert manifest.labels == {"background": 0, "PZ": 1, "TZ": 2}
    (folder / DERIVED / "seg-b_dseg.tsv").write_text("index\tname\n1\tTZ\n2\tPZ\n")
    with pytest.raises(ManifestError, match="tables of labels must agree"):
        import_bids(folder, ImportOptions())


def test_a_folder_of_such_names_only_is_no_data_set(tmp_path: Path, touch: Touch) -> None:
    assert not looks_like_bids(touch("sub-1.nii.gz", "sub-2/scan.nii.gz"))
    assert looks_like_bids(touch("sub-3/anat/sub-3_T1w.nii.gz"))
    (tmp_path / "study").mkdir()
    assert looks_like_bids(touch("study/rawdata/sub-3/anat/sub-3_T1w.nii.gz") / "study")


def test_masks_of_two_kinds_are_said(touch: Touch) -> None:
    names = [f"sub-{n}_{what}" for n in (1, 2, 3) for what in ("T1w", f"desc-{'brain' if n == 2 else 'lesion'}_mask")]
    found = {finding.kind: finding for finding in import_bids(bids(touch, *names), ImportOptions()).findings}
    told = found["masks that may show something else"]
    assert told.subjects == ("derivatives/m/sub-2/anat/sub-2_desc-brain_mask.nii.gz",)
    assert "desc-lesion_mask (2), desc-brain_mask (1)" in told.message


def test_a_mask_in_the_space_of_an_image_says_on_which_it_was_drawn(touch: Touch) -> None:
    folder = bids(touch, "sub-1_T1w", "sub-1_FLAIR", "sub-1_space-FLAIR_desc-lesion_mask")
    imported = import_bids(folder, ImportOptions(suffix="FLAIR"))
    assert pairs(imported) == {"sub-1_FLAIR": "sub-1_space-FLAIR_desc-lesion_mask"}
    assert "masks that name no contrast" not in {finding.kind for finding in imported.findings}
