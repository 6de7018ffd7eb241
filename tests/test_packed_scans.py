"""The words that take files take archives of one image each: import, check, train's cache, evaluate, overlay, view, dicomseg."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.cli import main
from segsuite.data.cache import prepare_cases
from segsuite.data.manifest import read_manifest
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.verbs.data import check
from segsuite.verbs.evaluating import evaluate

Write = Callable[..., Path]
SHAPE = (12, 11, 10)


def zipped(path: Path, *files: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        for file in files:
            packed.write(file, file.name)
    return path


def code_of(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def mask_of(n: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2 : 5 + n, 3:8, 3:8] = 1
    return mask


@pytest.fixture
def data(tmp_path: Path, write_nifti: Write) -> Path:
    """Scans and masks, packed one by one; beside them an archive of two, a broken one, and one without images."""
    root = tmp_path / "data"
    for n in range(3):
        noise = np.random.default_rng(n).normal(100, 20, SHAPE).astype(np.float32)
        scan = write_nifti(tmp_path / f"plain/case{n}_scan.nii.gz", noise + 200 * mask_of(n))
        mask = write_nifti(tmp_path / f"plain/case{n}_seg.nii.gz", mask_of(n))
        zipped(root / f"images/case{n}.zip", scan)
        zipped(root / f"labels/case{n}.zip", mask)
    zipped(root / "both.zip", scan, mask)
    (root / "broken.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "notes.txt").write_text("none")
    zipped(root / "notes.zip", tmp_path / "notes.txt")
    return root


@pytest.fixture
def manifest(data: Path, tmp_path: Path) -> Path:
    assert code_of("manifest", "import", data, "--out", tmp_path / "M.json") == 2, "one archive is broken"
    return tmp_path / "M.json"


def test_a_folder_of_archives_is_imported_checked_and_prepared(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "M.json"
    assert code_of("manifest", "import", data, "--out", manifest) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert "archives that are not one image (2): both.zip (2 images: " in said
    assert "notes.zip (no image)" in said
    assert "error: archives that cannot be read (1): broken.zip" in said
    found = read_manifest(manifest)
    assert [(case.case_id, case.images, case.label) for case in found.training] == [
        (f"case{n}", (f"images/case{n}.zip",), f"labels/case{n}.zip") for n in range(3)
    ]
    assert code_of("manifest", "check", manifest) == 0, capfd.readouterr().err
    how = Preprocessing(None, (Normalisation(),))
    prepared = prepare_cases(found.training, found, data_root=data, cache_dir=tmp_path / "cache", preprocessing=how)
    assert [int((one.label > 0).sum()) for one in prepared if one.label is not None] == [int(mask_of(n).sum()) for n in range(3)]


def test_a_copy_in_another_archive_is_found_by_its_voxels(data: Path, tmp_path: Path) -> None:
    (data / "broken.zip").unlink()
    with zipfile.ZipFile(data / "images/case9.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(tmp_path / "plain/case0_scan.nii.gz", "elsewhere/x.nii.gz")
    assert code_of("manifest", "import", data, "--out", tmp_path / "M.json") == 0
    twice = [
        finding.case for finding in check(tmp_path / "M.json", data_root=None, workers=1) if finding.kind == "same image twice"
    ]
    assert twice == ["case0, case9"]


def test_one_archive_is_one_case_and_a_packed_data_set_is_none(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert code_of("manifest", "import", data / "images/case1.zip", "--out", tmp_path / "one.json") == 0
    assert [case.images for case in read_manifest(tmp_path / "one.json").training] == [("case1.zip",)]
    assert code_of("manifest", "import", data / "both.zip", "--out", tmp_path / "two.json") == 1
    assert "must hold one image or one DICOM series to be a case, got 2" in " ".join(capfd.readouterr().err.split())


def test_packed_masks_are_scored_like_the_masks_in_them(data: Path, manifest: Path, tmp_path: Path, write_nifti: Write) -> None:
    for n in range(3):
        write_nifti(tmp_path / f"predicted/case{n}.nii.gz", np.roll(mask_of(n), 1, axis=2))
        write_nifti(tmp_path / f"unpacked/case{n}.nii.gz", mask_of(n))
    scores = []
    for number, references in enumerate((tmp_path / "unpacked", data / "labels", manifest)):
        out = tmp_path / f"evaluation{number}"
        assert evaluate(tmp_path / "predicted", references, out).exit_code == 0
        rows = csv.DictReader((out / "metrics_per_case.csv").read_text().splitlines())
        scores.append([(row["case"], float(row["value"])) for row in rows if row["metric"] == "dice"])
    assert scores[0] == scores[1] == scores[2]
    assert len(scores[0]) == 3


@pytest.mark.slow
def test_pictures_and_pages_of_packed_scans(data: Path, tmp_path: Path) -> None:
    image, mask = data / "images/case0.zip", data / "labels/case0.zip"
    assert code_of("overlay", image, "--mask", mask, "--out", tmp_path / "a.png") == 0
    assert code_of("view", image, mask, "--out", tmp_path / "a.html") == 0
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_segmentation_of_a_packed_series(write_series: Write, write_nifti: Write, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="needs the extra: pip install 'segsuite[dicom]'")
    from segsuite.volumes.reading import read_volume
    from segsuite.volumes.writing import write_mask

    folder = write_series("p1")
    archive = zipped(tmp_path / "study.zip", *sorted(folder.iterdir()))
    volume = read_volume(archive)
    labels = np.zeros(volume.grid.shape, np.uint8)
    labels[2:5, 3:6, 0:2] = 1
    write_mask(tmp_path / "mask.nii.gz", labels, like=volume)
    (tmp_path / "labels.tsv").write_text("index\tname\n0\tbackground\n1\tliver\n")
    words = ("--series", archive, "--labels", tmp_path / "labels.tsv", "--out", tmp_path / "mask.dcm")
    assert code_of("dicomseg", tmp_path / "mask.nii.gz", *words) == 0
    assert (tmp_path / "mask.dcm").is_file()
