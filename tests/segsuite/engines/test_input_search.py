"""What a path of the user means: a dot, a slice, an archive, a folder with masks of an earlier run."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.input_search import PLAIN_SEARCH, SearchOptions, cases_at
from segsuite.errors import VolumeError
from segsuite.files import hash_of_file
from segsuite.volumes.archives import WorkFolder
from segsuite.volumes.reading import read_volume
from tests.folders import touch
from tests.slices import expected_volume, save_series


def named(path: Path, options: SearchOptions = PLAIN_SEARCH, n_channels: int = 1) -> list[tuple[str, str]]:
    return [(case.case_id, case.output) for case in cases_at(path, n_channels=n_channels, options=options)[0]]


def test_a_dot_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_series(tmp_path / "ser")
    monkeypatch.chdir(tmp_path / "ser")
    assert named(Path()) == [("ser", "ser.nii.gz")]
    assert named(tmp_path / "ser/../ser") == [("ser", "ser.nii.gz")]


def test_a_slice_stands_for_its_series(tmp_path: Path) -> None:
    save_series(tmp_path / "ser", name="IM{}", SeriesDescription="T2 of doe")
    assert named(tmp_path / "ser/IM2") == [("ser", "ser.nii.gz")]
    save_series(tmp_path / "ser", name="JM{}", series="b", SeriesNumber=5)
    assert named(tmp_path / "ser/IM2") == [("3", "3.nii.gz")], "the description holds the patient's name"


def test_names_of_cases_hold_no_name_of_the_patient(tmp_path: Path) -> None:
    for number in range(3):
        save_series(tmp_path / "x", name=f"{number}_{{}}", series=str(number), SeriesNumber=number, SeriesDescription="Doe P77")
    assert [case for case, _ in named(tmp_path)] == ["x/0", "x/1", "x/2"]


@pytest.mark.parametrize("where", ["masks", "results/deep/masks"])
def test_masks_of_an_earlier_run_are_no_inputs(tmp_path: Path, where: str) -> None:
    touch(tmp_path, "a.nii.gz", f"{where}/a.nii.gz", f"{where}/ledger.jsonl")
    for out in (None, tmp_path / where):
        cases, left_out = cases_at(tmp_path, n_channels=1, options=SearchOptions(out=out))
        assert [case.case_id for case in cases] == ["a"]
        assert left_out == Counter({"folder (masks of an earlier run)": 1})


def test_the_output_folder_is_no_input_even_without_a_ledger(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "masks/a.nii.gz")
    (tmp_path / "link").symlink_to(tmp_path / "masks")
    assert named(tmp_path, SearchOptions(out=tmp_path / "link")) == [("a", "a.nii.gz")]


def test_masks_beside_the_scans_are_told_by_the_ledger(tmp_path: Path) -> None:
    save_series(tmp_path / "ser")
    touch(tmp_path, "ser.nii.gz", "ser_probability_liver.nii.gz", "b.nii.gz")
    line = {"case": "ser", "status": "done", "output": "ser.nii.gz", "input_hash": "1", "model_hash": "2"}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    cases, left_out = cases_at(tmp_path, n_channels=1, options=SearchOptions(out=tmp_path))
    assert [case.case_id for case in cases] == ["b", "ser"]
    assert left_out["mask of an earlier run"] == 2


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A series, a NIfTI file that is none, a document."""
    save_series(tmp_path / "packed/ser", name="IM{}")
    path = tmp_path / "in/study.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted((tmp_path / "packed/ser").iterdir()):
            packed.write(file, f"ser/{file.name}")
        packed.writestr("x/b.nii.gz", b"none")
        packed.writestr("letter.doc", b"none")
    return path


def test_an_archive_is_a_folder_of_its_name(archive: Path, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        with WorkFolder(tmp_path / "out") as work:
            cases, left_out = cases_at(archive.parent, n_channels=1, options=SearchOptions(work=work))
            assert [(case.case_id, case.output) for case in cases] == [
                ("study/ser", "study/ser.nii.gz"), ("study/x/b", "study/x/b.nii.gz"),
            ]  # fmt: skip
            assert cases[0].place == archive.resolve() / "ser"
            assert left_out["file ending in .doc"] == 1
            assert (read_volume(cases[0].images[0]).array[0] == expected_volume()).all()
            found.append([(case.case_id, case.source, hash_of_file(case.images[0])) for case in cases])
    assert found[0] == found[1], "a restart must find what it found before"


def test_a_series_at_the_top_of_an_archive_bears_its_name(tmp_path: Path) -> None:
    save_series(tmp_path / "ser", name="IM{}")
    with zipfile.ZipFile(tmp_path / "patient 1.zip", "w") as packed:
        for file in (tmp_path / "ser").iterdir():
            packed.write(file, file.name)
    with WorkFolder(tmp_path / "out") as work:
        assert named(tmp_path / "patient 1.zip", SearchOptions(work=work)) == [("patient 1", "patient 1.nii.gz")]


def test_a_damaged_archive_is_one_failed_case_and_an_empty_one_is_said(archive: Path, tmp_path: Path) -> None:
    (archive.parent / "a_broken.zip").write_bytes(archive.read_bytes()[:300])
    with zipfile.ZipFile(archive.parent / "papers.zip", "w") as packed:
        packed.writestr("letter.doc", b"none")
    with WorkFolder(tmp_path / "out") as work:
        cases, left_out = cases_at(archive.parent, n_channels=1, options=SearchOptions(work=work))
    assert [case.case_id for case in cases if case.problem] == ["a_broken"]
    assert len(cases) == 3
    assert left_out["archive without images"] == 1


def test_without_a_place_archives_are_left_out_or_refused(archive: Path) -> None:
    assert cases_at(archive.parent, n_channels=1, options=SearchOptions()) == ([], Counter({"archive": 1}))
    with pytest.raises(VolumeError, match="study.zip must be unpacked first"):
        cases_at(archive, n_channels=1, options=SearchOptions())


def test_channels_are_files_but_never_series(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz")
    save_series(tmp_path / "s_0000.x")
    save_series(tmp_path / "s_0001.x", series="b")
    found = cases_at(tmp_path, n_channels=2, options=SearchOptions())[0]
    assert [(case.case_id, len(case.images)) for case in found] == [("a", 2), ("s_0000.x", 1), ("s_0001.x", 1)]


def test_scans_and_masks_in_one_folder_and_a_case_without_one_of_its_channels(
    write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    """The masks were segmented as scans, and ``_0002`` was taken for the missing ``_0001``."""
    scan = np.random.default_rng(0).gamma(2.0, 90.0, (30, 30, 20)).astype(np.int16)
    for name in ("image_1", "image_2"):
        write_nifti(tmp_path / "one" / f"{name}.nii.gz", scan)
        write_nifti(tmp_path / "one" / f"{name.replace('image', 'label')}.nii.gz", (scan > 400).astype(np.uint8))
    cases, left_out = cases_at(tmp_path / "one", n_channels=1, options=SearchOptions())
    assert [case.case_id for case in cases] == ["image_1", "image_2"]
    assert left_out == {"mask": 2}
    for name in ("ok_0000", "ok_0001", "gap_0000", "gap_0002"):
        write_nifti(tmp_path / "two" / f"{name}.nii.gz", scan)
    gap, whole = cases_at(tmp_path / "two", n_channels=2, options=SearchOptions())[0]
    assert (gap.case_id, whole.case_id, whole.problem) == ("gap", "ok", "")
    assert "got gap_0000.nii.gz, gap_0002.nii.gz: _0001 missing and _0002 too much" in gap.problem


def test_a_link_that_cannot_be_followed_is_a_case_and_stops_no_other(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "z.nii.gz")
    for name in ("m.nii.gz", "n.hdr", "o.zip", "p7"):
        (tmp_path / name).symlink_to("x" * 300)  # the system refuses to look, as it does behind a closed folder
    with WorkFolder(tmp_path / "out") as work:
        found = named(tmp_path, SearchOptions(out=tmp_path / "out", work=work))
    assert sorted(case_id for case_id, _ in found) == ["a", "m", "n", "o", "z"]
    assert named(tmp_path / "m.nii.gz") == [("m", "m.nii.gz")]
