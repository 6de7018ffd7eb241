from __future__ import annotations

import numpy as np
import pytest

from pipelines.prostate_zones.case_report import describe_zones
from segsuite.data.phantoms.appearance import draw_scanner
from segsuite.data.phantoms.prostate import make_phantom
from segsuite.errors import VolumeError
from segsuite.volumes.grid import Grid

ZONES = {
    1: "peripheral_zone",
    2: "transition_zone",
    3: "distal_prostatic_urethra",
    4: "anterior_fibromuscular_stroma",
}
SPACING = (1.0, 1.0, 3.0)
RAS = Grid((30, 30, 14), np.diag([*SPACING, 1.0]))
WHOLE = tuple(slice(0, n) for n in RAS.shape)


def labels() -> np.ndarray:
    """Axis 1 runs from back to front, axis 2 from foot to head; the gland has 9 slices."""
    zones = np.zeros(RAS.shape, dtype=np.uint8)
    zones[5:25, 4:24, 2:11] = 1
    zones[9:21, 10:22, 5:11] = 2
    zones[9:21, 22:24, 5:11] = 4
    zones[13:17, 8:12, 2:5] = 3
    return zones


def describe(zones: np.ndarray, grid: Grid = RAS, **more: object) -> dict:
    return describe_zones(zones, grid, ZONES, **{"uncertainty": None, "attributes": {}, "box": WHOLE, **more})


def test_volumes_extents_and_thirds() -> None:
    report = describe(labels())
    urethra = report["zones"]["distal_prostatic_urethra"]
    assert report["gland_ml"] == pytest.approx(20 * 20 * 9 * 3 / 1000)
    assert urethra["ml"] == pytest.approx(4 * 4 * 3 * 3 / 1000)
    assert urethra["extent_mm"] == {"left_right": 4.0, "back_front": 4.0, "foot_head": 9.0}
    assert urethra["ml_by_third"] == {"apex": urethra["ml"], "mid": 0, "base": 0}
    assert report["slices"] == {"first": 3, "last": 11, "n": 9}
    assert sum(zone["share"] for zone in report["zones"].values()) == pytest.approx(1, abs=1e-3)
    thirds = report["zones"]["transition_zone"]["ml_by_third"]
    assert thirds == {"apex": 0, "mid": pytest.approx(12 * 12 * 9 / 1000), "base": pytest.approx(12 * 12 * 9 / 1000)}
    assert report["warnings"] == []


def test_does_not_depend_on_how_the_image_is_stored() -> None:
    turned = Grid((14, 30, 30), RAS.affine @ np.array([[0, 0, -1.0, 29], [0, -1, 0, 29], [1, 0, 0, 0], [0, 0, 0, 1]]))
    stored = labels().transpose(2, 1, 0)[:, ::-1, ::-1]
    assert describe(stored, turned, box=tuple(slice(0, n) for n in turned.shape)) == describe(labels())


def test_psa_density() -> None:
    report = describe(labels(), attributes={"psa": "5.4"})
    assert report["psa_density"] == pytest.approx(5.4 / 10.8)
    assert describe(labels(), attributes={"psa": ""})["psa_density"] is None
    assert describe(labels() * 0, attributes={"psa": 3})["psa_density"] is None


@pytest.mark.parametrize("value", ["high", -1, 0, "nan", [3]])
def test_psa_that_is_no_number(value: object) -> None:
    with pytest.raises(VolumeError, match="`psa` must be a number above 0"):
        describe(labels(), attributes={"psa": value})


def test_uncertainty_is_that_of_the_gland() -> None:
    doubt = np.where(labels() > 0, 0.25, 0.9).astype(np.float32)
    assert describe(labels(), uncertainty=doubt)["uncertainty"] == {"mean": 0.25, "p95": 0.25}


def changed(**where: tuple[int, tuple[slice, ...]]) -> np.ndarray:
    zones = labels()
    for value, at in where.values():
        zones[at] = value
    return zones


@pytest.mark.parametrize(
    ("zones", "said"),
    [
        (np.where(labels() == 4, 2, labels()), "anterior fibromuscular stroma not visible"),
        (changed(gap=(1, (slice(13, 17), slice(8, 12), slice(3, 4)))), "urethra broken in 2 runs"),
        (changed(wide=(3, (slice(8, 22), slice(5, 15), slice(3, 4)))), "urethra of 16 to 140 mm2 per slice"),
        (
            changed(off=(1, (slice(13, 17), slice(8, 12), slice(4, 5))), on=(3, (slice(18, 22), slice(8, 12), slice(4, 5)))),
            "urethra jumps by 5.0 mm",
        ),
        (changed(high=(3, (slice(13, 17), slice(12, 16), slice(5, 9)))), "slices above the start of the transition zone"),
        (labels()[:, ::-1], "peripheral zone is not behind the transition zone"),
        (np.roll(labels(), -2, axis=2), "gland cut by the field of view"),
    ],
    ids=["no AFS", "two runs", "wide", "jump", "too high", "upside down", "cut"],
)
def test_warnings(zones: np.ndarray, said: str) -> None:
    assert said in "; ".join(describe(zones)["warnings"])


def test_gland_at_the_border_of_the_region_is_not_cut_by_the_field() -> None:
    warnings = describe(labels(), box=(slice(5, 28), slice(0, 30), slice(0, 14)))["warnings"]
    assert warnings == ["gland touches the border of the region that was looked at: try --set region=search"]


def test_empty_prediction_says_that_nothing_is_visible() -> None:
    report = describe(labels() * 0)
    assert report["gland_ml"] == 0
    assert len(report["warnings"]) == 4


@pytest.mark.parametrize("seed", range(6))
def test_phantoms_are_anatomically_right(seed: int) -> None:
    """Invariants 10 and 11 on the truth of phantoms: PZ behind TZ behind AFS, the DPU one tube below the TZ."""
    scanner = draw_scanner(np.random.default_rng(0))
    phantom = make_phantom(seed, shape=(64, 64, 24), spacing_mm=(1.5, 1.5, 3.0), scanner=scanner)
    whole = tuple(slice(0, n) for n in phantom.grid.shape)
    warnings = describe(phantom.zones, phantom.grid, box=whole)["warnings"]
    assert not [text for text in warnings if "behind" in text or "broken" in text or "above" in text]
