from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segsuite.data.manifest import Case, Manifest, write_manifest

Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


def test_resample_and_combine(tmp_path: Path, write_nifti: Write, segsuite: Run) -> None:
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[0] = 1
    write_nifti(tmp_path / "set/s1/liver.nii.gz", mask)
    write_nifti(tmp_path / "set/s1/spleen.nii.gz", mask[::-1].copy())
    code, _, said = segsuite("manifest", "combine", tmp_path / "set", "--out", tmp_path / "maps")
    assert code == 0
    assert "structures (2): liver, spleen. Combined for 1 of 1 cases" in said
    write_nifti(tmp_path / "scan.nii.gz", np.arange(64, dtype=np.int16).reshape(4, 4, 4), spacing=0.5)
    rows = [Case(image="scan.nii.gz", label="maps/s1.nii.gz")]
    write_manifest(tmp_path / "M.json", Manifest(name="m", labels={"background": 0, "liver": 1, "spleen": 2}, training=rows))
    code, _, said = segsuite("manifest", "resample", tmp_path / "M.json", "--out", tmp_path / "moved")
    assert code == 0
    assert "masks brought onto their image (1): scan" in said
    assert segsuite("manifest", "check", tmp_path / "moved/manifest.json")[0] == 0


def test_failures_are_named_and_end_with_2(tmp_path: Path, write_nifti: Write, segsuite: Run) -> None:
    for organ in ("liver", "spleen"):
        write_nifti(tmp_path / f"set/s1/{organ}.nii.gz", np.ones((2, 2, 2), np.uint8))
    code, _, said = segsuite("manifest", "combine", tmp_path / "set", "--out", tmp_path / "maps")
    assert code == 2
    assert "error: structures that cannot be combined (1): s1" in said
    assert segsuite("manifest", "combine", tmp_path / "set", "--out", tmp_path / "maps", "--order", "liver,spleen")[0] == 0
    code, _, said = segsuite("manifest", "combine", tmp_path / "M.json", "--out", tmp_path / "maps", "--like", "x")
    assert code == 1
    assert "--structures and --like belong to a folder" in said
