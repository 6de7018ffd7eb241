from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from segsuite.errors import GridError, ManifestError, SettingsError
from segsuite.verbs.evaluating import Measures, evaluate
from segsuite.verbs.judging import compare, compare_seeds, conventions, draw_overlay, rank
from segsuite.volumes.reading import read_volume
from segsuite.volumes.writing import write_mask


@pytest.fixture
def two_runs(cohort_folder: Path, tmp_path: Path) -> list[Path]:
    """The references as predictions, and the same with one mask left out."""
    for name in ("all", "less"):
        shutil.copytree(cohort_folder / "labels", tmp_path / name / "predictions")
    (tmp_path / "less" / "predictions" / "phantom_0002.nii.gz").unlink()
    runs = [tmp_path / "all", tmp_path / "less"]
    for run in runs:
        evaluate(run / "predictions", cohort_folder / "manifest.json", run / "evaluation")
    return runs


def test_each_is_compared_with_the_first(two_runs: list[Path]) -> None:
    compared = compare(two_runs, metrics=["dice", "hd95"])
    assert {name for name, _ in compared} == {"less"}
    dice = next(c for name, c in compared if name.endswith("less") and c.metric == "dice")
    assert (dice.n_cases, dice.n_worse, dice.n_better) == (6, 1, 0)
    assert dice.difference.mean == pytest.approx(-1 / 6)
    hd95 = next(c for name, c in compared if name.endswith("less") and c.metric == "hd95")
    assert hd95.difference.mean > 10


def test_one_is_not_enough(two_runs: list[Path]) -> None:
    with pytest.raises(SettingsError, match="at least two evaluations, got 1"):
        compare(two_runs[:1], metrics=["dice"])


def test_ranking_and_conventions_of_evaluations(two_runs: list[Path], cohort_folder: Path) -> None:
    ranked = rank(two_runs, metric="dice")
    assert [entry.name for entry in ranked] == ["all", "less"]
    table, differences = conventions(two_runs[1] / "evaluation", ["monai", "nnunet"])
    dice = table[table["metric"] == "dice"].iloc[0]
    assert (dice["segsuite"], dice["monai"], dice["n nnunet"]) == (pytest.approx(5 / 6), 1.0, 5)
    lines = (two_runs[1] / "evaluation" / "conventions.csv").read_text().splitlines()
    assert len(lines) == 1 + len(differences)
    assert lines[1].startswith("phantom_0002,peripheral_zone,dice,monai,0.0,left out")
    evaluate(two_runs[1] / "predictions", cohort_folder / "manifest.json", two_runs[1] / "evaluation")
    assert not (two_runs[1] / "evaluation" / "conventions.csv").exists(), "a new evaluation was not asked for it"


def test_repeated_trainings_are_found_in_their_folders(two_runs: list[Path], tmp_path: Path) -> None:
    for setting, sources in (("new", (0, 0)), ("old", (1, 1))):
        for number, source in enumerate(sources):
            shutil.copytree(two_runs[source], tmp_path / setting / f"seed{number}")
    found = compare_seeds([tmp_path / "old", tmp_path / "new"], metrics=["dice"])
    assert {len(comparison.first) for _, comparison in found} == {2}
    assert "new is better by 0.1667 dice, beyond seed noise" in found[0][1].sentence
    with pytest.raises(SettingsError, match="must hold one run or evaluation folder per training"):
        compare_seeds([tmp_path / "old", tmp_path / "old" / "seed0" / "predictions"], metrics=["dice"])


def test_pictures_for_papers(cohort_folder: Path, tmp_path: Path) -> None:
    image = sorted((cohort_folder / "images").glob("*"))[0]
    mask = sorted((cohort_folder / "labels").glob("*"))[0]
    for name, start in (("a.png", b"\x89PNG"), ("b.pdf", b"%PDF")):
        assert draw_overlay(image, mask, mask, tmp_path / "new" / name, dpi=60).read_bytes().startswith(start)
    with pytest.raises(SettingsError, match="--out must end with one of .png, .pdf, .svg, got `c.jpg`"):
        draw_overlay(image, mask, None, tmp_path / "c.jpg", dpi=60)
    part = read_volume(mask).cropped((slice(0, 9), slice(0, 9), slice(0, 9)))
    write_mask(tmp_path / "part.nii.gz", part.array[0].astype("uint8"), like=part)
    with pytest.raises(GridError):
        draw_overlay(image, tmp_path / "part.nii.gz", None, tmp_path / "d.png", dpi=60)


def test_evaluations_of_other_definitions_are_not_compared(cohort_folder: Path, tmp_path: Path) -> None:
    labels, manifest = cohort_folder / "labels", cohort_folder / "manifest.json"
    options = {
        "voxels": Measures(),
        "area": Measures(surface="area"),
        "tolerance": Measures(tolerances_mm=(3.0,)),
        "more": Measures(topology=["transition_zone"]),
    }
    for name, measures in options.items():
        evaluate(labels, manifest, tmp_path / name, measures=measures)
    evaluate(labels, manifest, tmp_path / "fold", fold=0)
    for name, said in (
        ("area", "--surface voxels in voxels and area in area"),
        ("tolerance", "--tolerance 1, 2 in voxels and 3"),
    ):
        with pytest.raises(ManifestError, match=said):
            compare([tmp_path / "voxels", tmp_path / name], metrics=["dice"])
        with pytest.raises(ManifestError, match=said):
            rank([tmp_path / "voxels", tmp_path / name], metric="dice")
    assert compare([tmp_path / "voxels", tmp_path / "more"], metrics=["dice"])
    with pytest.raises(ManifestError, match=r"of the same cases.*fold lacks phantom_.* and 1 more"):
        compare([tmp_path / "voxels", tmp_path / "fold"], metrics=["dice"])
    said_so: list[str] = []
    compared = compare([tmp_path / "voxels", tmp_path / "fold"], metrics=["dice"], shared=True, tell=said_so.append)
    assert {comparison.n_cases for _, comparison in compared} == {2}
    assert said_so[0].startswith("note: only cases that both have are compared: fold lacks")
    (tmp_path / "more" / "evaluation.json").unlink()
    compare([tmp_path / "voxels", tmp_path / "more"], metrics=["dice"], tell=said_so.append)
    assert "more does not say how its numbers are defined" in said_so[-1]


def test_what_conventions_adds_belongs_to_the_evaluation(two_runs: list[Path], cohort_folder: Path) -> None:
    conventions(two_runs[0] / "evaluation", ["monai"])
    evaluate(two_runs[0] / "predictions", cohort_folder / "manifest.json", two_runs[0] / "evaluation")
