from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.data import checking
from segsuite.data.checking import check_manifest, labels_per_case, require_unleaked
from segsuite.data.locate import image_paths
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError

Write = Callable[..., Path]
IMAGE = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
LABEL = (IMAGE > 13).astype(np.uint8)


def manifest_of(*cases: Case, **more: object) -> Manifest:
    return Manifest(name="m", labels={"background": 0, "x": 1}, training=list(cases), **more)


def test_a_sound_cohort_has_no_findings(cohort: Manifest, cohort_folder: Path) -> None:
    assert check_manifest(cohort, cohort_folder)[0] == []


def test_a_mask_stored_in_another_order_than_its_image_is_no_finding(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "image.nii.gz", IMAGE, np.diag([1.0, 2.0, 3.0, 1.0]))
    turned = np.array([[0, -1, 0, 2], [0, 0, 2, 0], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / "label.nii.gz", LABEL.transpose(2, 0, 1)[:, ::-1], turned)
    findings, _ = check_manifest(manifest_of(Case(image="image.nii.gz", label="label.nii.gz", case_id="c")), tmp_path)
    assert findings == []
    turned[0, 3] = 2.2
    write_nifti(tmp_path / "label.nii.gz", LABEL.transpose(2, 0, 1)[:, ::-1], turned)
    findings, _ = check_manifest(manifest_of(Case(image="image.nii.gz", label="label.nii.gz", case_id="c")), tmp_path)
    assert [finding.kind for finding in findings] == ["grid"]


def test_all_findings_are_reported_not_the_first(tmp_path: Path, write_nifti: Write) -> None:
    """Nine cases, each wrong in its own way; one look finds them all."""
    good = write_nifti(tmp_path / "good.nii.gz", IMAGE)
    write_nifti(tmp_path / "label.nii.gz", LABEL)
    write_nifti(tmp_path / "twin.nii.gz", IMAGE)
    write_nifti(tmp_path / "nan.nii.gz", np.where(IMAGE == 5, np.nan, IMAGE).astype(np.float32))
    write_nifti(tmp_path / "constant.nii.gz", IMAGE * 0)
    write_nifti(tmp_path / "tiny.nii.gz", IMAGE, spacing=0.03)
    write_nifti(tmp_path / "other_grid.nii.gz", LABEL, spacing=2.0)
    write_nifti(tmp_path / "l255.nii.gz", LABEL * 255)
    write_nifti(tmp_path / "empty.nii.gz", LABEL * 0)
    (tmp_path / "cut.nii.gz").write_bytes(good.read_bytes()[:60])

    def case(name: str, image: str = "good.nii.gz", label: str | None = "label.nii.gz", **more: object) -> Case:
        return Case(image=image, label=label, case_id=name, **more)

    findings, _ = check_manifest(
        manifest_of(
            case("leak", patient_id="P", fold=0),
            case("twin", "twin.nii.gz", patient_id="P", fold=1),
            case("nan", "nan.nii.gz"),
            case("constant", "constant.nii.gz"),
            case("tiny", "tiny.nii.gz", None),
            case("grid", label="other_grid.nii.gz"),
            case("values", label="l255.nii.gz"),
            case("empty", label="empty.nii.gz"),
            case("cut", "cut.nii.gz"),
        ),
        tmp_path,
    )
    kinds = {finding.kind for finding in findings}
    assert kinds == {
        "patient in two splits", "same image twice", "intensities", "spacing", "grid", "label values", "empty label", "image",
        "one mask for several",
    }  # fmt: skip
    values = next(finding for finding in findings if finding.kind == "label values")
    assert "declared labels [0, 1], got [0, 255]" in values.message
    assert '"label_mapping": {"255": 1}' in values.message
    assert [f.severity for f in findings] == sorted(f.severity for f in findings)


def test_a_copy_stored_in_another_way_is_found_as_the_same_image(tmp_path: Path, write_nifti: Write) -> None:
    """Compressed again, along other axes, as another type: the bytes differ, the scan does not."""
    turn = np.array(
        [[0, 0, 1, 0], [-1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=float
    )  # its voxel (i, j, k) is (k, 2 - i, j)
    copies = {
        "a.nii.gz": (IMAGE, np.eye(4)),
        "b.nii": (IMAGE, np.eye(4)),
        "c.nii": (IMAGE.astype(np.int16), np.eye(4)),
        "d.nii": (np.flip(IMAGE, 1).transpose(1, 2, 0), turn),
        "e.nii": (IMAGE[::-1], np.eye(4)),
    }
    for name, (array, affine) in copies.items():
        write_nifti(tmp_path / name, array, affine)
    cases = [Case(image=name, case_id=name[0], fold=number) for number, name in enumerate(copies)]
    findings, _ = check_manifest(manifest_of(*cases), tmp_path)
    assert [(finding.severity, finding.kind, finding.case) for finding in findings] == [
        ("error", "same image twice", "a, b, c, d")
    ]


def test_declared_but_never_seen(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "i.nii", IMAGE)
    write_nifti(tmp_path / "l.nii", LABEL)
    manifest = Manifest(name="m", labels={"background": 0, "x": 1, "y": 2}, training=[Case(image="i.nii", label="l.nii")])
    assert [finding.kind for finding in check_manifest(manifest, tmp_path)[0]] == ["label never seen"]


def test_float_zeros_and_ones_are_fine(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "i.nii", IMAGE)
    write_nifti(tmp_path / "l.nii", LABEL.astype(np.float32))
    assert check_manifest(manifest_of(Case(image="i.nii", label="l.nii")), tmp_path)[0] == []


def test_leak_between_training_and_held_out() -> None:
    a, b = (Case(image=f"{n}.nii", patient_id="P1") for n in "ab")
    with pytest.raises(ManifestError, match=r"got 1 on both, for example patient P1 \(cases a, b\)"):
        require_unleaked([a], [b])


def test_values_in_masks_are_collected(cohort: Manifest, cohort_folder: Path) -> None:
    found = labels_per_case(cohort, cohort_folder)
    assert found == {case.case_id: (0, 1, 2, 3, 4) for case in cohort.training}


def test_forms_that_contradict_each_other_are_a_warning(tmp_path: Path) -> None:
    image = nib.Nifti1Image(IMAGE, np.eye(4))
    image.set_sform(np.eye(4), code=1)
    image.set_qform(np.diag([-1.0, 1, 1, 1]), code=1)
    nib.save(image, tmp_path / "image.nii.gz")
    findings, _ = check_manifest(manifest_of(Case(image="image.nii.gz", case_id="a")), tmp_path)
    told = [finding for finding in findings if finding.kind == "header"]
    assert [finding.severity for finding in told] == ["warning"]
    assert "image.nii.gz: sform and qform place the image differently" in told[0].message


def test_a_file_that_breaks_its_reader_is_a_finding_of_its_case(
    cohort: Manifest, cohort_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, bad = checking.read_channels, cohort.cases[2]

    def broken(paths: list[Path], **how: object) -> object:
        if paths == image_paths(bad, cohort_folder):
            raise RuntimeError("ITK ERROR\nin many lines")
        return honest(paths, **how)

    monkeypatch.setattr(checking, "read_channels", broken)
    findings, _ = check_manifest(cohort, cohort_folder)
    (own,) = [finding for finding in findings if finding.kind == "image"]
    assert own.case == bad.case_id
    assert own.message.startswith("RuntimeError: ITK ERROR. It came while its files were read.")


def test_one_mask_for_two_patients_is_said(tmp_path: Path, write_nifti: Write) -> None:
    for number in range(4):
        write_nifti(tmp_path / f"{number}.nii", IMAGE + number * LABEL)
    write_nifti(tmp_path / "m.nii", LABEL)
    write_nifti(tmp_path / "n.nii", LABEL)
    rows = (("0", "m", "p"), ("1", "m", "q"), ("2", "n", "r"), ("3", "n", "r"))
    cases = [Case(image=f"{name}.nii", label=f"{label}.nii", case_id=name, patient_id=who) for name, label, who in rows]
    findings, _ = check_manifest(manifest_of(*cases), tmp_path)
    assert [(finding.severity, finding.kind, finding.case) for finding in findings] == [
        ("warning", "one mask for several", "0, 1")
    ]
