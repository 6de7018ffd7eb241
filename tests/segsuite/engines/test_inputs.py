from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.engines.inputs import SearchOptions, find_inputs, parse_shard, search_inputs, take_shard, with_attributes
from segsuite.errors import ManifestError, SettingsError, VolumeError
from segsuite.volumes.finding import SeriesChoice
from tests.folders import touch
from tests.slices import save_series


def test_folder_keeps_its_structure_and_masks_bear_the_images_names(tmp_path: Path) -> None:
    touch(tmp_path, "p2/t2w.nii.gz", "p1/t2w.nii.gz", "p1/.hidden.nii.gz", "notes.txt", "p3/series/1.dcm")
    cases = find_inputs([tmp_path], n_channels=1)
    assert [(case.case_id, case.output) for case in cases] == [
        ("p1/t2w", "p1/t2w.nii.gz"), ("p2/t2w", "p2/t2w.nii.gz"), ("p3/series", "p3/series.nii.gz"),
    ]  # fmt: skip


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    touch(tmp_path, "p1/t2w.nii.gz", "p2/t2w.nii.gz", "b.nrrd")
    files = [tmp_path / name for name in ("p1/t2w.nii.gz", "p2/t2w.nii.gz", "b.nrrd")]
    assert [case.output for case in find_inputs(files, n_channels=1)] == ["b.nrrd", "p1/t2w.nii.gz", "p2/t2w.nii.gz"]


def test_all_slices_of_a_series_are_one_case(tmp_path: Path) -> None:
    save_series(tmp_path / "ser", name="{}.dcm")
    save_series(tmp_path / "two", name="A{}.dcm", series="a")
    save_series(tmp_path / "two", name="B{}.dcm", series="b", SeriesNumber=8)
    given = [*sorted((tmp_path / "ser").iterdir()), *sorted((tmp_path / "two").iterdir())]
    assert [case.output for case in find_inputs(given, n_channels=1)] == ["3.nii.gz", "8.nii.gz", "ser.nii.gz"]


def test_a_choice_that_fits_no_series_is_said(tmp_path: Path) -> None:
    save_series(tmp_path, SeriesDescription="T1")
    with pytest.raises(VolumeError, match=r"left out: 1 series not chosen\). No series fits --series-uid"):
        search_inputs([tmp_path], n_channels=1, where=SearchOptions(SeriesChoice(description="*t2*")))


def test_channels_are_grouped_by_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz")
    cases = find_inputs([tmp_path], n_channels=2)
    assert [(case.case_id, len(case.images), case.output) for case in cases] == [("a", 2, "a.nii.gz"), ("b", 2, "b.nii.gz")]


def test_manifest_gives_its_cases_or_those_of_a_fold(cohort_folder: Path) -> None:
    manifest = cohort_folder / "manifest.json"
    assert len(find_inputs([manifest], n_channels=1)) == 6
    assert len(find_inputs([manifest], n_channels=1, fold=0)) == 2
    with pytest.raises(ManifestError, match="must hold cases of fold 9"):
        find_inputs([manifest], n_channels=1, fold=9)


def test_shards_partition_the_cases(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{n:02d}.nii.gz" for n in range(11)))
    cases = find_inputs([tmp_path], n_channels=1)
    shards = [take_shard(cases, (number, 3)) for number in (1, 2, 3)]
    assert sorted(case.case_id for shard in shards for case in shard) == [case.case_id for case in cases]


class TestRefusals:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="must exist, but nothing is there"):
            find_inputs([tmp_path / "gone"], n_channels=1)

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match="at least one image, got none in"):
            find_inputs([tmp_path], n_channels=1)

    def test_same_file_twice(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.nii.gz")
        with pytest.raises(VolumeError, match=r"given once, got .*a.nii.gz.* several times"):
            find_inputs([tmp_path / "a.nii.gz"] * 2, n_channels=1)


def test_table_adds_what_is_known(tmp_path: Path) -> None:
    touch(tmp_path, "p1/t2w.nii.gz", "p2/t2w.nii.gz")
    cases = find_inputs([tmp_path], n_channels=1)
    (tmp_path / "k.csv").write_text("case,psa,box\np2/t2w.nii.gz,4.2,\n")
    assert [case.attributes for case in with_attributes(cases, tmp_path / "k.csv")] == [{}, {"psa": "4.2"}]
    (tmp_path / "k.csv").write_text("case,psa\nt2w,4.2\n")
    assert with_attributes(cases[:1], tmp_path / "k.csv")[0].attributes == {"psa": "4.2"}
    with pytest.raises(ManifestError, match="got .*t2w"):  # two cases bear this name
        with_attributes(cases, tmp_path / "k.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\tpsa\np1\t3\n", "must have a column `case`, got .*name"),
        ("", "must have a header with the names of its columns"),
        ("case\tpsa\np1/t2w\t3\np1/t2w\t4\n", "must name each case once"),
        ("case\tpsa\np9/t2w\t3\n", "must name cases of the input, got .*p9/t2w"),
    ],
)
def test_table_that_does_not_fit(tmp_path: Path, text: str, said: str) -> None:
    touch(tmp_path / "scans", "p1/t2w.nii.gz")
    (tmp_path / "k.tsv").write_text(text)
    with pytest.raises(ManifestError, match=said):
        with_attributes(find_inputs([tmp_path / "scans"], n_channels=1), tmp_path / "k.tsv")


def test_shards_are_counted_from_one() -> None:
    assert parse_shard(None) == (1, 1)
    assert parse_shard("2/8") == (2, 8)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1-3", "a/b", "1"])
def test_wrong_shards(text: str) -> None:
    with pytest.raises(SettingsError, match=f"--shard must be i/n .* got `{text}`"):
        parse_shard(text)
