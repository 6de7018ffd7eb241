from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from segsuite.errors import SettingsError
from segsuite.verbs.evaluating import Measures, evaluate


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
