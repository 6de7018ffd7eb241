from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

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


class TestRegions:
    """A shell (1), a wall (2) and a core (3) within each other, predicted shifted by a voxel."""

    KEYS: ClassVar[dict[str, object]] = {
        "labels": {"background": 0, "shell": 1, "wall": 2, "core": 3},
        "regions": {"all of it": [1, 2, 3], "inner": [2, 3], "core": [3]},
        "regions_class_order": [1, 2, 3],
    }
    INTEGERS: ClassVar[dict[str, tuple[int, ...]]] = {"all of it": (1, 2, 3), "inner": (2, 3), "core": (3,)}

    @staticmethod
    def masks() -> tuple[np.ndarray, np.ndarray]:
        reference = np.zeros((16, 16, 16), dtype=np.uint8)
        for value, margin in ((1, 2), (2, 4), (3, 6)):
            reference[(slice(margin, 16 - margin),) * 3] = value
        return np.roll(reference, 1, axis=0), reference

    @pytest.fixture
    def folder(self, tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
        predicted, reference = self.masks()
        for name in ("a", "b"):
            write_nifti(tmp_path / "predicted" / f"{name}.nii.gz", predicted)
            write_nifti(tmp_path / "reference" / f"{name}.nii.gz", reference)
        cases = [Case(image=f"reference/{name}.nii.gz", label=f"reference/{name}.nii.gz", case_id=name) for name in "ab"]
        write_manifest(tmp_path / "m.json", Manifest(name="m", training=cases, **self.KEYS))  # type: ignore[arg-type]
        return tmp_path

    def test_a_manifest_that_declares_regions_has_them_scored(self, folder: Path) -> None:
        result = evaluate(folder / "predicted", folder / "m.json", folder / "e")
        predicted, reference = self.masks()
        assert list(result.summary["structures"]) == list(self.INTEGERS)
        for name, integers in self.INTEGERS.items():
            both = [np.isin(mask, integers) for mask in (predicted, reference)]
            dice = 2 * (both[0] & both[1]).sum() / (both[0].sum() + both[1].sum())
            assert result.summary["structures"][name]["dice"]["mean"] == pytest.approx(dice, rel=1e-5)
        table = pd.read_csv(folder / "e" / "metrics_per_case.csv")
        assert set(table["label_index"]) == {"1+2+3", "2+3", "3"}
        assert set(json.loads((folder / "e" / "nnunet_summary.json").read_text())["mean"]) == {"(1, 2, 3)", "(2, 3)", "3"}

    def test_labels_are_scored_beside_them_where_asked_for(self, folder: Path) -> None:
        result = evaluate(folder / "predicted", folder / "m.json", folder / "e", each_label=True)
        assert list(result.summary["structures"]) == ["all of it", "inner", "core", "shell", "wall"]

    def test_folders_are_scored_by_a_file_that_declares_regions(self, folder: Path) -> None:
        regions = folder / "dataset.json"
        labels = {"background": 0, **{name: list(integers) for name, integers in self.INTEGERS.items()}}
        regions.write_text(json.dumps({"labels": labels, "regions_class_order": [1, 2, 3]}))
        by_manifest = evaluate(folder / "predicted", folder / "m.json", folder / "e").summary["structures"]
        by_folder = evaluate(folder / "predicted", folder / "reference", folder / "f", regions=regions).summary["structures"]
        assert by_folder == by_manifest
        by_table = evaluate(folder / "predicted", folder / "reference", folder / "g", labels=regions).summary["structures"]
        assert by_table == by_manifest

    def test_a_case_that_shows_some_labels_has_the_regions_of_these_alone(self, folder: Path) -> None:
        text = (folder / "m.json").read_text()
        content = json.loads(text)
        content["training"][0]["labelled"] = ["wall", "core"]
        (folder / "m.json").write_text(json.dumps(content))
        evaluate(folder / "predicted", folder / "m.json", folder / "e")
        table = pd.read_csv(folder / "e" / "metrics_per_case.csv")
        assert set(table[table["case"] == "a"]["label_name"]) == {"inner", "core"}
        assert set(table[table["case"] == "b"]["label_name"]) == set(self.INTEGERS)

    def test_region_probabilities_are_judged_and_those_of_labels_are_added(
        self, folder: Path, write_nifti: Callable[..., Path]
    ) -> None:
        predicted, _ = self.masks()
        for name in "ab":
            for value in (1, 2, 3):
                part = (predicted == value).astype(np.float32)
                write_nifti(folder / "predicted" / f"{name}_probability_{value}.nii.gz", part)
        measures = Measures(probabilities=True)
        added = evaluate(folder / "predicted", folder / "m.json", folder / "e", measures=measures).summary["structures"]
        for name in "ab":
            whole = (predicted > 0).astype(np.float32)
            write_nifti(folder / "predicted" / f"{name}_probability_all-of-it.nii.gz", 0.5 * whole)
        own = evaluate(folder / "predicted", folder / "m.json", folder / "f", measures=measures).summary["structures"]
        assert added["inner"]["brier"]["mean"] == own["inner"]["brier"]["mean"]
        assert added["all of it"]["brier"]["mean"] != own["all of it"]["brier"]["mean"]

    def test_masks_of_regions_beside_the_predictions_are_no_cases(self, folder: Path, write_nifti: Callable[..., Path]) -> None:
        predicted, _ = self.masks()
        write_nifti(folder / "predicted" / "a_region_all-of-it.nii.gz", (predicted > 0).astype(np.uint8))
        result = evaluate(folder / "predicted", folder / "m.json", folder / "e")
        assert not any("_region_" in note for note in result.summary.get("notes", []))

    @pytest.mark.parametrize(
        ("changes", "each_label", "message"),
        [
            ({"labels": {"background": 0, "x": 7, "y": 9}, "regions": {"z": [7, 9]}, "regions_class_order": [7]}, False,
             r"Region `z` must be of the references' labels .*got \[7, 9\]"),
            ({"labels": {"background": 0, "a": 1, "b": 2, "c": 3}, "regions": {"wall": [1, 2, 3]}, "regions_class_order": [1]},
             True,
             "must have names of their own, got `wall` for both"),
        ],
    )  # fmt: skip
    def test_regions_of_another_data_set_are_refused(
        self, folder: Path, changes: dict[str, object], each_label: bool, message: str
    ) -> None:
        (folder / "other.json").write_text(json.dumps({"name": "o", **changes}))
        with pytest.raises(SettingsError, match=message):
            evaluate(folder / "predicted", folder / "m.json", folder / "e", regions=folder / "other.json", each_label=each_label)

    def test_labels_beside_no_regions_are_refused(self, folder: Path) -> None:
        with pytest.raises(SettingsError, match="--each-label must have regions to stand beside"):
            evaluate(folder / "predicted", folder / "reference", folder / "e", each_label=True)

    def test_a_region_in_a_file_of_its_own_is_scored_as_it_is(self, folder: Path, write_nifti: Callable[..., Path]) -> None:
        predicted, _ = self.masks()
        for case in "ab":
            for name, integers in self.INTEGERS.items():
                write_nifti(folder / "parts" / case / f"{name}.nii.gz", np.isin(predicted, integers).astype(np.uint8))
        maps = evaluate(folder / "predicted", folder / "m.json", folder / "e").summary["structures"]
        parts = evaluate(folder / "parts", folder / "m.json", folder / "f").summary["structures"]
        assert {name: parts[name]["dice"]["mean"] for name in parts} == {name: maps[name]["dice"]["mean"] for name in maps}
