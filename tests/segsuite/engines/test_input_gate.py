from __future__ import annotations

import numpy as np
import pytest

from segsuite.data.scan_profile import common_profile, profile_of
from segsuite.engines.input_gate import doubts_about_scan
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume


def scan(shape: tuple[int, int, int] = (40, 40, 10), spacing: tuple[float, ...] = (1.0, 1.0, 4.0), **how: float) -> Volume:
    """Half dark, half bright with noise, as MR: ``low`` is the air, ``sign`` -1 a negative of it."""
    draw = np.random.default_rng(how.get("seed", 0))
    array = np.where(np.arange(shape[0])[:, None, None] < shape[0] // 2, 5.0, 300.0) + draw.gamma(2.0, 30.0, shape)
    array = array * how.get("sign", 1.0) + how.get("low", 0.0)
    return Volume(array[None].astype(np.float32), Grid(shape, np.diag([*spacing, 1.0])))


MR = common_profile([profile_of(scan(seed=seed)) for seed in range(3)])
CT = common_profile([profile_of(scan(seed=seed, low=-1000.0)) for seed in range(3)])


@pytest.mark.parametrize("seen", [scan(seed=9), scan((60, 36, 14), (0.7, 1.3, 3.0)), scan((20, 20, 20), (2.0, 2.0, 2.0))])
def test_what_differs_within_reason_is_no_doubt(seen: Volume) -> None:
    assert doubts_about_scan(seen, MR) == []


def test_a_model_of_an_earlier_version_doubts_nothing() -> None:
    assert doubts_about_scan(scan((400, 40, 4)), {}) == []


@pytest.mark.parametrize(
    ("seen", "kept", "told"),
    [
        (scan(spacing=(1.0, 1.0, 9.0)), MR, ["voxels of 9 mm from foot to head (in training 4 to 4)", "a field of 90 mm"]),
        (scan((40, 100, 10)), MR, ["a field of 100 mm from back to front (in training 40 to 40)"]),
        (scan((10, 40, 40), (4.0, 1.0, 1.0)), MR, ["voxels of 4 mm", "voxels of 1 mm", "sagittal slices (in training axial)"]),
        (scan(low=-1000.0), MR, ["intensities from -99"]),
        (scan(), CT, ["intensities from "]),
        (scan(sign=-1.0, low=900.0), MR, ["a histogram of another shape"]),
    ],
    ids=["spacing", "field", "plane", "CT for MR", "MR for CT", "negative"],
)
def test_another_kind_of_scan_is_named_with_what_was_in_training(seen: Volume, kept: dict, told: list[str]) -> None:
    found = doubts_about_scan(seen, kept)
    assert [text[: len(start)] for text, start in zip(found, told, strict=True)] == told


def test_channels_are_named() -> None:
    first, second = scan(), scan(low=-1000.0)
    both = Volume(np.concatenate([first.array, first.array]), first.grid)
    odd = Volume(np.concatenate([first.array, second.array]), first.grid)
    kept = common_profile([profile_of(both)])
    assert doubts_about_scan(both, kept) == []
    assert [text.split(" from")[0] for text in doubts_about_scan(odd, kept)] == ["intensities of channel 1"]
