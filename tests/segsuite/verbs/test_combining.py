from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.importing.found import ImportFinding
from segsuite.data.locate import find_data_root, label_path
from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.errors import ManifestError
from segsuite.verbs.combining import combine_folder, combine_manifest
from segsuite.verbs.masks import Combining
from segsuite.volumes.reading import read_labels

Write = Callable[..., Path]


def at(*places: int, value: int = 1) -> np.ndarray:
    mask = np.zeros((4, 2, 2), np.uint8)
    mask[list(places)] = value
    return mask


class TestFolder:
    @pytest.mark.parametrize(
        "place", ["{case}/{organ}.nii.gz", "{case}/segmentations/{organ}.nii.gz", "labels/{case}/{organ}_mask.nii.gz"]
    )
    def test_a_file_per_structure(self, tmp_path: Path, write_nifti: Write, place: str) -> None:
        for case in ("s1", "s2"):
            write_nifti(tmp_path / "in" / place.format(case=case, organ="spleen"), at(0))
            write_nifti(tmp_path / "in" / place.format(case=case, organ="liver"), at(1, 2, value=255))
        made = combine_folder(tmp_path / "in", tmp_path / "out")
        assert made == {case: tmp_path / f"out/{case}.nii.gz" for case in ("s1", "s2")}
        np.testing.assert_array_equal(read_labels(made["s1"]).labels, at(1, 2) + 2 * at(0))
        assert (tmp_path / "out/labels.tsv").read_text() == "index\tname\n0\tbackground\n1\tliver\n2\tspleen\n"

    def test_a_pattern_and_a_known_table(self, tmp_path: Path, write_nifti: Write) -> None:
        write_nifti(tmp_path / "in/s1_liver.nii.gz", at(0))
        (tmp_path / "k.json").write_text(json.dumps({"name": "k", "labels": {"background": 0, "liver": 6}}))
        options = {"structures": "{case}_{structure}.nii.gz", "like": str(tmp_path / "k.json")}
        made = combine_folder(tmp_path / "in", tmp_path / "out", **options)
        assert read_labels(made["s1"]).labels.max() == 6
        write_nifti(tmp_path / "in/s1_livre.nii.gz", at(1))
        with pytest.raises(ManifestError, match=r"got none for \['livre'\]. Did you mean `liver`"):
            combine_folder(tmp_path / "in", tmp_path / "out", **options)

    def test_no_masks(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="must hold masks called after their structures"):
            combine_folder(tmp_path, tmp_path / "out")


class TestManifest:
    def made(self, folder: Path, labels: dict[str, int], **options: object) -> tuple[dict[str, np.ndarray], list[ImportFinding]]:
        cases = [Case(image=f"{path.name}", label=path.name, case_id=path.name) for path in sorted(folder.glob("*.nii.gz"))]
        write_manifest(folder / "M.json", Manifest(name="m", labels=labels, training=cases))
        findings: list[ImportFinding] = []
        out = folder / "out"
        written = combine_manifest(folder / "M.json", out, on_finding=findings.append, **options)  # type: ignore[arg-type]
        root = find_data_root(written, out / "manifest.json", None)
        done = {c.case_id: c for c in written.training if str(c.label).startswith("out/")}
        return {name: read_labels(label_path(case, root)).labels for name, case in done.items()}, findings

    def test_one_hot_and_probabilities_with_and_without_background(self, tmp_path: Path, write_nifti: Write) -> None:
        one_hot = np.stack([at(0), at(1, 2)], axis=-1)
        write_nifti(tmp_path / "a.nii.gz", one_hot)
        with_background = np.stack([at(3), at(0), at(1, 2)], axis=-1)
        write_nifti(tmp_path / "b.nii.gz", with_background)
        write_nifti(tmp_path / "c.nii.gz", (0.1 + 0.8 * with_background).astype(np.float32))
        masks, findings = self.made(tmp_path, {"background": 0, "x": 3, "y": 9})
        for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
            np.testing.assert_array_equal(masks[name], 3 * at(0) + 9 * at(1, 2), err_msg=name)
        assert not [finding for finding in findings if finding.severity == "error"]

    def test_one_structure_is_a_probability_map(self, tmp_path: Path, write_nifti: Write) -> None:
        write_nifti(tmp_path / "a.nii.gz", (0.6 * at(0) + 0.4 * at(1)).astype(np.float32))
        assert self.made(tmp_path, {"background": 0, "x": 2})[0]["a.nii.gz"].tolist() == (2 * at(0)).tolist()
        low = self.made(tmp_path, {"background": 0, "x": 2}, threshold=0.3)[0]["a.nii.gz"]
        assert low.tolist() == (2 * at(0, 1)).tolist()

    def test_a_case_that_does_not_fit_costs_no_other(self, tmp_path: Path, write_nifti: Write) -> None:
        write_nifti(tmp_path / "a.nii.gz", np.stack([at(0), at(1)], axis=-1))
        write_nifti(tmp_path / "b.nii.gz", np.stack([at(0)] * 5, axis=-1))
        write_nifti(tmp_path / "c.nii.gz", np.stack([at(0), at(0)], axis=-1))
        (tmp_path / "d.nii.gz").write_bytes(b"no image")
        masks, findings = self.made(tmp_path, {"background": 0, "x": 1, "y": 2})
        assert set(masks) == {"a.nii.gz"}
        errors = {finding.subjects[0]: finding.message for finding in findings if finding.severity == "error"}
        assert set(errors) == {"b.nii.gz", "c.nii.gz", "d.nii.gz"}
        assert "got 5 (shape 4 x 2 x 2 x 5): x, y" in errors["b.nii.gz"]
        assert "labels 1 and 2 in 4 voxels" in errors["c.nii.gz"]
        masks, _ = self.made(tmp_path, {"background": 0, "x": 1, "y": 2}, combining=Combining(("y", "x")))
        assert masks["c.nii.gz"].tolist() == at(0).tolist()

    def test_labels_and_order_are_asked_for(self, tmp_path: Path, write_nifti: Write) -> None:
        write_nifti(tmp_path / "a.nii.gz", at(0))
        with pytest.raises(ManifestError, match="must name its `labels`, one per channel"):
            self.made(tmp_path, {"background": 0})
        with pytest.raises(ManifestError, match=r"The order must name labels, got `z`"):
            self.made(tmp_path, {"background": 0, "x": 1}, combining=Combining(("z",)))
