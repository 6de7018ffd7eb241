from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.errors import OutputError, SettingsError
from segsuite.verbs.evaluating import Measures, evaluate

MASK = np.zeros((8, 8, 8), dtype=np.uint8)
MASK[1:7, 1:7, 1:7], MASK[3:5, 3:5, 3:5] = 1, 2


def test_masks_from_anywhere(cohort_folder: Path, tmp_path: Path) -> None:
    """Two folders of masks, labels from a table, lesions counted."""
    (tmp_path / "labels.tsv").write_text("index\tname\n1\tPZ\n4\tAFS\n")
    labels, table = cohort_folder / "labels", tmp_path / "labels.tsv"
    result = evaluate(labels, labels, tmp_path / "e", labels=table, measures=Measures(instances=["PZ", "4"]))
    assert set(result.summary["structures"]) == {"PZ", "AFS"}
    assert result.summary["structures"]["AFS"]["panoptic_quality"]["mean"] == 1
    with pytest.raises(SettingsError, match=r"--instances must name a structure, got `PZZ`. Did you mean `PZ`"):
        evaluate(labels, labels, tmp_path / "f", labels=table, measures=Measures(instances=["PZZ"]))


@pytest.mark.parametrize("layout", ["nnU-Net", "TotalSegmentator"])
def test_layouts_of_other_tools(cohort_folder: Path, tmp_path: Path, layout: str) -> None:
    """nnU-Net: one folder, ``case.nii.gz``; TotalSegmentator: one folder per case, the multi-label file inside."""
    for side in ("predicted", "reference"):
        for mask in (cohort_folder / "labels").iterdir():
            case = mask.name.removesuffix(".nii.gz")
            target = tmp_path / side / (mask.name if layout == "nnU-Net" else f"{case}/segmentations.nii.gz")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(mask, target)
    result = evaluate(tmp_path / "predicted", tmp_path / "reference", tmp_path / "e")
    assert (result.n_cases, result.problems, result.summary["mean"]["dice"]) == (6, {}, 1.0)


def test_surface_by_area_differs_and_topology_is_counted(cohort_folder: Path, tmp_path: Path) -> None:
    labels, manifest = cohort_folder / "labels", cohort_folder / "manifest.json"
    (tmp_path / "shifted").mkdir()
    for mask, other in zip(sorted(labels.iterdir()), sorted(labels.iterdir())[1:], strict=False):
        shutil.copy(mask, tmp_path / "shifted" / other.name)
    found = {}
    for surface in ("voxels", "area"):
        measures = Measures(surface=surface, topology=["transition_zone"], tubes=["distal_prostatic_urethra"])
        summary = evaluate(tmp_path / "shifted", manifest, tmp_path / surface, measures=measures).summary
        found[surface] = summary["structures"]["transition_zone"]
    assert found["area"]["dice"] == found["voxels"]["dice"]
    assert found["area"]["assd"]["mean"] != found["voxels"]["assd"]["mean"]
    assert {"topology", "components", "reference_holes"} <= set(found["area"])
    assert "cl_dice" in summary["structures"]["distal_prostatic_urethra"]


def test_split_by_what_is_known_of_the_cases(cohort_folder: Path, tmp_path: Path) -> None:
    labels, manifest = cohort_folder / "labels", cohort_folder / "manifest.json"
    lines = [f"phantom_{n:04d}\t{'A' if n < 2 else 'B'}\t{n}" for n in range(5)]
    (tmp_path / "known.tsv").write_text("case\tsite\tage\n" + "\n".join(lines))
    result = evaluate(labels, manifest, tmp_path / "e", by=["site", "age"], attributes=tmp_path / "known.tsv")
    site, age = (result.summary["subgroups"][name] for name in ("site", "age"))
    assert {value: part["n_cases"] for value, part in site.items()} == {"A": 2, "B": 3, "unknown": 1}
    assert all(part["few"] for part in site.values())
    assert [part["n_cases"] for part in age.values()] == [2, 1, 2, 1]
    assert site["A"]["structures"]["transition_zone"]["dice"]["mean"] == 1
    assert list(pd.read_csv(tmp_path / "e" / "cases.csv")["site"][:3]) == ["A", "A", "B"]
    with pytest.raises(SettingsError, match=r"--by must name an attribute of the cases, got `sit`. Did you mean `site`"):
        evaluate(labels, manifest, tmp_path / "f", by=["sit"], attributes=tmp_path / "known.tsv")


def test_an_evaluation_goes_on_where_it_was(cohort_folder: Path, tmp_path: Path) -> None:
    labels, manifest = cohort_folder / "labels", cohort_folder / "manifest.json"
    seen: list[str] = []

    def stop_at_the_third(case: str) -> None:
        seen.append(case)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(labels, manifest, tmp_path / "e", on_case=stop_at_the_third)
    for mask in sorted(labels.iterdir())[:1]:
        resumed = evaluate(labels, manifest, tmp_path / "e")
        assert mask.is_file()
    whole = evaluate(labels, manifest, tmp_path / "whole")
    assert resumed.summary == whole.summary


def manifest_of(folder: Path, name: str, mask: str, **more: object) -> Path:
    rows = [Case(image="i.nii.gz", label=mask, case_id="c1")]
    labels = {"background": 0, "shell": 1, "core": 2}
    write_manifest(folder / f"{name}.json", Manifest(name=name, labels=labels, training=rows, **more))
    return folder / f"{name}.json"


def test_the_mapping_of_the_predictions_manifest_holds_for_the_predictions(
    tmp_path: Path, write_nifti: Callable[..., Path]
) -> None:
    write_nifti(tmp_path / "r.nii.gz", MASK)
    write_nifti(tmp_path / "p.nii.gz", MASK * 10)
    predictions = manifest_of(tmp_path, "P", "p.nii.gz", label_mapping={10: 1, 20: 2})
    result = evaluate(predictions, manifest_of(tmp_path, "R", "r.nii.gz"), tmp_path / "e")
    assert (result.summary["mean"]["dice"], result.summary["notes"]) == (1.0, [])


def test_the_table_beside_the_predictions_counts_before_numbers(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    """A model that learned the core later calls it 7, the shell 1; a 2 is something that no table names."""
    write_nifti(tmp_path / "r.nii.gz", MASK)
    predicted = np.where(MASK == 2, 7, MASK).astype(np.uint8)
    predicted[0, 0, 0] = 2
    write_nifti(tmp_path / "p" / "c1.nii.gz", predicted)
    (tmp_path / "p" / "labels.tsv").write_text("index\tname\n0\tbackground\n1\tshell\n7\tcore\n")
    result = evaluate(tmp_path / "p", manifest_of(tmp_path, "R", "r.nii.gz"), tmp_path / "e")
    assert result.summary["mean"]["dice"] == 1.0
    assert result.summary["notes"] == [
        "predictions and references number their labels differently (core is 7 and 2): taken by name",
        "predictions hold 2, which is no declared structure and is not scored: case c1",
    ]


def test_broken_references_are_counted_apart_and_the_rest_is_measured(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    for side in ("p", "r"):
        for case in "abc":
            write_nifti(tmp_path / side / f"{case}.nii.gz", MASK)
    for case in "ab":
        (tmp_path / "r" / f"{case}.nii.gz").write_bytes(b"\x1f\x8b damaged")
    result = evaluate(tmp_path / "p", tmp_path / "r", tmp_path / "e")
    assert (result.exit_code, sorted(result.problems)) == (2, ["a", "b"])
    assert (result.summary["n_without_reference"], result.summary["n_without_prediction"]) == (2, 0)
    dice = result.summary["structures"]["label 1"]["dice"]
    assert (dice["mean"], dice["n_scored"], dice["n_expected"], dice["n_without_reference"]) == (1.0, 1, 3, 2)
    (tmp_path / "r" / "c.nii.gz").write_bytes(b"")
    result = evaluate(tmp_path / "p", tmp_path / "r", tmp_path / "e")
    assert (result.exit_code, len(result.problems)) == (3, 3)


def test_structures_of_a_folder_per_case(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    for case in ("s0", "s1", "s2"):
        for side in ("r", "p"):
            write_nifti(tmp_path / side / case / "liver.nii.gz", (MASK == 1).astype(np.uint8))
            write_nifti(tmp_path / side / case / "spleen.nii.gz", ((MASK == 2) & (side == "r")).astype(np.uint8))
    result = evaluate(tmp_path / "p", tmp_path / "r", tmp_path / "e")
    assert {name: entry["dice"]["mean"] for name, entry in result.summary["structures"].items()} == {"liver": 1.0, "spleen": 0.0}
    assert list(pd.read_csv(tmp_path / "e" / "cases.csv")["patient_id"]) == ["s0", "s1", "s2"]
    again = evaluate(tmp_path / "p", tmp_path / "r", tmp_path / "e")
    assert again.summary == result.summary


def test_tables_do_not_go_among_masks_nor_over_a_users_files(cohort_folder: Path, tmp_path: Path) -> None:
    labels = Path(shutil.copytree(cohort_folder / "labels", tmp_path / "labels"))
    for out in (labels, tmp_path / "x" / ".." / "labels"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(OutputError, match="--out must not be a folder of masks or images"):
            evaluate(labels, labels, out)
    own = tmp_path / "own"
    own.mkdir()
    (own / "cases.csv").write_text("case,site\nphantom_0000,A\n")
    with pytest.raises(OutputError, match="got cases.csv, which no evaluation wrote"):
        evaluate(labels, labels, own)
    with pytest.raises(OutputError, match="must not replace an input"):
        evaluate(labels, labels, own, attributes=own / "cases.csv", overwrite=True)
    assert (own / "cases.csv").read_text().startswith("case,site")
    evaluate(labels, labels, own, overwrite=True)
    evaluate(labels, labels, own)


def test_sites_that_look_like_numbers_stay_text(cohort_folder: Path, tmp_path: Path) -> None:
    """Python takes `1_2` for 12 and pandas `012`."""
    sites = ["012", "12", "1_2", "12", "013", "014"]
    lines = [f"phantom_{n:04d}\t{site}" for n, site in enumerate(sites)]
    (tmp_path / "known.tsv").write_text("case\tsite\n" + "\n".join(lines))
    labels = cohort_folder / "labels"
    result = evaluate(labels, labels, tmp_path / "e", by=["site"], attributes=tmp_path / "known.tsv")
    found = {value: part["n_cases"] for value, part in result.summary["subgroups"]["site"].items()}
    assert found == {"012": 1, "12": 2, "1_2": 1, "013": 1, "014": 1}
    (tmp_path / "known.tsv").write_text("case\treason\nphantom_0000\tx\n")
    with pytest.raises(SettingsError, match="--by must name no column that cases.csv has already, got `reason`"):
        evaluate(labels, labels, tmp_path / "e", by=["reason"], attributes=tmp_path / "known.tsv")


@pytest.mark.parametrize(
    ("measures", "said"),
    [
        (Measures(tolerances_mm=(float("nan"),)), "--tolerance must be a number from 0 mm, got nan"),
        (Measures(tolerances_mm=(-1.0,)), "--tolerance must be a number from 0 mm, got -1"),
        (Measures(size_edges_ml=(0.0,)), "--size must be a number above 0 ml, got 0"),
        (Measures(least_iou=float("nan")), "--least-iou must be a number above 0 of 1, got nan"),
    ],
)
def test_numbers_that_are_none(cohort_folder: Path, tmp_path: Path, measures: Measures, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        evaluate(cohort_folder / "labels", cohort_folder / "labels", tmp_path / "e", measures=measures)
    assert not (tmp_path / "e").exists()


def test_what_would_do_nothing_is_refused(cohort_folder: Path, tmp_path: Path) -> None:
    labels = cohort_folder / "labels"
    with pytest.raises(SettingsError, match="--fold must go with a manifest of references"):
        evaluate(labels, labels, tmp_path / "e", fold=0)
    with pytest.raises(SettingsError, match="--data-root must go with a manifest"):
        evaluate(labels, labels, tmp_path / "e", data_root=tmp_path)
    with pytest.raises(SettingsError, match="got `site`, but none is known. Give --attributes"):
        evaluate(labels, labels, tmp_path / "e", by=["site"])
