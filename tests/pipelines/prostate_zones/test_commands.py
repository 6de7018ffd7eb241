from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.cli import main
from segsuite.data.phantoms.appearance import draw_scanner
from segsuite.data.phantoms.prostate import make_phantom
from segsuite.volumes.reading import read_labels
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_mask


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three masks whose 3 and 4 are swapped."""
    folder = tmp_path_factory.mktemp("masks")
    scanner = draw_scanner(np.random.default_rng(0))
    for seed in range(3):
        phantom = make_phantom(seed, shape=(36, 36, 16), spacing_mm=(2.5, 2.5, 4.0), scanner=scanner)
        swapped = np.array([0, 1, 2, 4, 3], dtype=np.uint8)[phantom.zones]
        write_mask(folder / f"c{seed}.nii.gz", swapped, like=Volume(phantom.image[None], phantom.grid))
    return folder


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["prostate_zones", *words])
    return int(end.value.code or 0)


def test_check_names_the_table_that_fits(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(masks)) == 2
    assert "they look like prostatex_zones_swapped" in capsys.readouterr().out
    assert run("check", str(masks), "--table", "prostatex_zones_swapped") == 0


def test_convert_then_check(masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("convert", str(masks), "--table", "prostatex_zones_swapped", "--out", str(out)) == 0
    assert run("check", str(out)) == 0
    before, after = read_labels(masks / "c0.nii.gz"), read_labels(out / "c0.nii.gz")
    assert np.array_equal(after.labels == 3, before.labels == 4)
    np.testing.assert_allclose(after.grid.affine, before.grid.affine, atol=1e-5)
    assert run("convert", str(masks), "--table", "prostatex_zones_swapped", "--out", str(out)) == 1  # nothing is overwritten


def test_labels_lists_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("labels") == 0
    assert "prostate158: 1 transition_zone, 2 peripheral_zone" in capsys.readouterr().out


def test_wrong_table_and_empty_folder(masks: Path, tmp_path: Path) -> None:
    assert run("check", str(masks), "--table", "unknown") == 1
    assert run("check", str(tmp_path)) == 1
