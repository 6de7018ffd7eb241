from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.prostate_zones.input_gate import doubts_about_gland, doubts_about_image
from segsuite.volumes.grid import Grid
from segsuite.volumes.reading import read_volume
from segsuite.volumes.volume import Volume


def volume(shape: tuple[int, int, int], spacing: tuple[float, ...], turn: np.ndarray | None = None, low: float = 0.0) -> Volume:
    affine = np.diag([*spacing, 1.0])
    if turn is not None:
        affine[:3, :3] = turn @ affine[:3, :3]
    array = np.random.default_rng(0).random((1, *(min(n, 40) for n in shape))).astype(np.float32) + low
    return Volume(np.broadcast_to(array.max(), (1, *shape)) if max(shape) > 40 else array, Grid(shape, affine))


CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
SAGITTAL = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])


def tilted(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


@pytest.mark.parametrize("slices", [12, 19, 40, 60])
@pytest.mark.parametrize(("matrix", "mm"), [(256, 0.8), (384, 0.5), (1024, 0.3)])
def test_usual_series_pass(slices: int, matrix: int, mm: float) -> None:
    """Invariant 4."""
    assert doubts_about_image(volume((matrix, matrix, slices), (mm, mm, 3.0), tilted(16))) == []


def test_nearly_isotropic_series_pass_in_any_storage_order() -> None:
    assert doubts_about_image(volume((200, 180, 80), (0.8, 0.8, 0.9))) == []
    assert doubts_about_image(volume((200, 80, 180), (0.8, 0.9, 0.8), CORONAL)) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (volume((320, 320, 24), (0.6, 0.6, 3.0), CORONAL), "must be axial, got a coronal one"),
        (volume((320, 320, 24), (0.6, 0.6, 3.0), SAGITTAL), "must be axial, got a sagittal one"),
        (volume((320, 320, 24), (0.6, 0.6, 3.0), tilted(60)), "must be axial, got a coronal one"),
        (volume((128, 128, 40), (2.5, 2.5, 7.0)), "voxels within slices must be 0.2 to 1.6 mm, got 2.5 x 2.5"),
        (volume((36, 40, 35), (1.0, 1.0, 1.0)), "field of view must be 80 to 450 mm"),
        (volume((320, 320, 24), (0.6, 0.6, 3.0), low=-1000.0), "is it a CT"),
        (volume((256, 256, 300), (1.0, 1.0, 1.0)), "height of the stack must be 30 to 260 mm, got 300"),
    ],
    ids=["coronal", "sagittal", "steep", "abdomen", "hippocampus", "ct", "whole body"],
)
def test_other_images_are_named(wrong: Volume, said: str) -> None:
    assert said in "; ".join(doubts_about_image(wrong))


@pytest.mark.parametrize(
    ("ml", "offset", "fine"), [(45, 5, True), (0, 0, False), (3, 0, False), (900, 0, False), (45, 60, False)]
)
def test_what_is_found_must_be_a_gland(ml: float, offset: float, fine: bool) -> None:
    assert (doubts_about_gland(ml, offset) == []) is fine


@pytest.mark.data
def test_real_series_pass_and_real_others_do_not(real_data: Path) -> None:
    for path in sorted((real_data / "prostate_t2").glob("*/t2w.nii.gz")):
        assert doubts_about_image(read_volume(path)) == []
    others = [next((real_data / folder).rglob("*.nii.gz")) for folder in ("chaos_t2_mr", "msd_hippocampus", "totalseg_small")]
    for path in others:
        assert doubts_about_image(read_volume(path)), path
