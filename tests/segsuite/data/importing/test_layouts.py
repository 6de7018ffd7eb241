from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from segsuite.data.importing.found import ImportOptions
from segsuite.data.importing.layouts import LAYOUTS, import_folder
from segsuite.errors import ManifestError

Touch = Callable[..., Path]


@pytest.mark.data
def test_decathlon_as_downloaded(real_data: Path) -> None:
    manifest = import_folder(real_data / "msd_hippocampus").manifest
    assert len(manifest.training) == 200
    assert manifest.labels == {"background": 0, "Anterior": 1, "Posterior": 2}
    assert manifest.training[0].label == "labelsTr/hippocampus_001.nii.gz"


@pytest.mark.data
def test_flat_folder_of_pairs_as_downloaded(real_data: Path) -> None:
    imported = import_folder(real_data / "chaos_t2_mr")
    assert len(imported.manifest.training) == 14
    assert imported.findings == []
    assert all(case.label == case.images[0].replace("image", "label") for case in imported.manifest.training)


def test_each_layout_is_recognised(touch: Touch) -> None:
    raw = touch("raw/imagesTr/a_0000.nii.gz", "raw/labelsTr/a.nii.gz") / "raw"
    (raw / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T2"}, "labels": {"background": 0, "x": 1}}))
    assert import_folder(raw).manifest.training[0].case_id == "a"
    listed = touch("listed/a.nii") / "listed"
    (listed / "dataset.json").write_text(json.dumps({"training": [{"image": "a.nii"}]}))
    assert import_folder(listed).manifest.training[0].images == ("a.nii",)
    assert import_folder(touch("bids/sub-1/anat/sub-1_T1w.nii.gz") / "bids").manifest.training[0].patient_id == "sub-1"
    plain = touch("plain/x.nii", "plain/x_seg.nii") / "plain"
    assert import_folder(plain).manifest.training[0].label == "x_seg.nii"
    (plain / "t.tsv").write_text("image\tlabel\nx.nii\t\n")
    assert import_folder(plain / "t.tsv").manifest.training[0].label is None


def test_patients_by_pattern_replace_those_by_folder(touch: Touch) -> None:
    folder = touch(*(f"P{p}/{n}.nii" for p in (1, 2) for n in "ab"))
    imported = import_folder(folder, ImportOptions(patient_pattern="P([0-9])/"))
    assert [case.patient_id for case in imported.manifest.training] == ["1", "1", "2", "2"]
    assert imported.findings == []


def test_a_pattern_answers_whose_scans_those_of_several_times_are(touch: Touch) -> None:
    folder = touch(*(f"P{patient}_{time}.nii" for patient in (1, 2) for time in ("pre", "post")))
    assert import_folder(folder).findings
    assert import_folder(folder, ImportOptions(patient_pattern="(P[0-9])_")).findings == []


def test_rows_of_a_table_are_left_out(touch: Touch) -> None:
    folder = touch("a.nii", "b.nii")
    (folder / "t.csv").write_text("image\na.nii\nb.nii\n")
    imported = import_folder(folder / "t.csv", ImportOptions(leave_out=["b*"]))
    assert [case.case_id for case in imported.manifest.training] == ["a"]
    assert imported.findings[-1].subjects == ("b",)
    with pytest.raises(ManifestError, match="--leave-out must match files of .*got `c`"):
        import_folder(folder / "t.csv", ImportOptions(leave_out=["c"]))


def test_scans_of_one_folder_in_a_table_are_one_patients(touch: Touch) -> None:
    folder = touch("P1/a.nii", "P1/b.nii", "P2/a.nii")
    (folder / "t.csv").write_text("image\nP1/a.nii\nP1/b.nii\nP2/a.nii\n")
    assert [case.patient_id for case in import_folder(folder / "t.csv").manifest.training] == ["P1", "P1", "P2"]
    (folder / "t.csv").write_text("image,patient\nP1/a.nii,x\nP1/b.nii,y\nP2/a.nii,x\n")
    assert [case.patient_id for case in import_folder(folder / "t.csv").manifest.training] == ["x", "y", "x"]


class TestRefusals:
    def test_unknown_layout(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="Did you mean `decathlon`"):
            import_folder(tmp_path, layout="decatlon")

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="must hold cases in layout `folder`, got none"):
            import_folder(tmp_path)

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="must exist"):
            import_folder(tmp_path / "none")
        with pytest.raises(ManifestError, match="a device or pipe"):
            import_folder(Path(os.devnull))

    @pytest.mark.parametrize("layout", sorted(LAYOUTS))
    def test_a_file_for_a_folder_and_the_other_way_round(self, touch: Touch, layout: str) -> None:
        folder = touch("a.csv")
        with pytest.raises(ManifestError, match=f"Layout `{layout}` must be given"):
            import_folder(folder if layout == "table" else folder / "a.csv", layout=layout)

    def test_options_that_would_do_nothing(self, touch: Touch) -> None:
        with pytest.raises(ManifestError, match="--suffix belongs to layout bids, got it for layout `folder`"):
            import_folder(touch("a.nii"), ImportOptions(suffix="T1w"))
        with pytest.raises(ManifestError, match="--images belongs to layout folder"):
            import_folder(touch("a.nii"), ImportOptions(images="*"), layout="bids")

    @pytest.mark.parametrize("content", [b"{", b"[]", b"[" * 100_000, b"\xff\x00"])
    def test_a_dataset_json_that_is_none(self, touch: Touch, content: bytes) -> None:
        folder = touch("a.nii")
        (folder / "dataset.json").write_bytes(content)
        with pytest.raises(ManifestError, match=r"dataset.json must (be|hold)"):
            import_folder(folder)
