from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.prostate_zones.label_tables import (
    CODES,
    TABLES,
    doubts_about_order,
    find_table,
    measure_zones,
    require_order,
    translate,
)
from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case
from segsuite.data.phantoms.appearance import draw_scanner
from segsuite.data.phantoms.prostate import Phantom, make_phantom
from segsuite.errors import ManifestError, SettingsError
from segsuite.volumes.grid import network_grid, resample
from segsuite.volumes.reading import read_labels


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    scanner = draw_scanner(np.random.default_rng(0))
    return [make_phantom(seed, shape=(40, 40, 18), spacing_mm=(2.2, 2.2, 3.5), scanner=scanner) for seed in range(5)]


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_bijective_and_round_trip(name: str) -> None:
    """Invariant 7."""
    table = TABLES[name]
    assert len(set(table.values())) == len(table)
    assert set(table) <= set(CODES)
    labels = np.array([0, *table.values()])
    there = translate(labels, table, TABLES["segsuite"])
    back = translate(there, {zone: TABLES["segsuite"][zone] for zone in table}, table)
    assert np.array_equal(back, labels)


@pytest.mark.parametrize("swap", [(3, 4), (1, 2), (1, 4), (2, 3)], ids=str)
def test_swapped_zones_are_noticed_and_the_right_order_suggested(phantoms: list[Phantom], swap: tuple[int, int]) -> None:
    right = TABLES["segsuite"]
    shapes = [measure_zones(phantom.zones, phantom.grid) for phantom in phantoms]
    assert doubts_about_order(shapes, right) == ([], right)
    exchange = {swap[0]: swap[1], swap[1]: swap[0]}
    wrong = {zone: exchange.get(value, value) for zone, value in right.items()}
    findings, better = doubts_about_order(shapes, wrong)
    assert findings
    assert better == right


def test_one_unusual_patient_is_no_proof(phantoms: list[Phantom]) -> None:
    shapes = [measure_zones(phantom.zones, phantom.grid) for phantom in phantoms]
    swapped = {label: shapes[0][{3: 4, 4: 3}.get(label, label)] for label in shapes[0]}
    assert doubts_about_order([swapped, *shapes[1:]], TABLES["segsuite"])[0] == []


def test_nothing_to_look_at_is_no_doubt() -> None:
    assert doubts_about_order([], TABLES["picai"]) == ([], TABLES["picai"])


def prepared(phantom: Phantom, folder: Path, exchange: dict[int, int]) -> PreparedCase:
    folder.mkdir(parents=True)
    upright = resample(phantom.zones, phantom.grid, network_grid(phantom.grid, spacing_mm=None), interpolation="nearest")
    np.save(folder / "label.npy", np.array([0, *(exchange.get(v, v) for v in range(1, 5))], dtype=np.int8)[upright])
    return PreparedCase(Case(image="a.nii.gz", label="b.nii.gz"), folder)


def test_training_on_swapped_masks_is_refused_with_the_mapping(phantoms: list[Phantom], tmp_path: Path) -> None:
    names = {value: zone for zone, value in TABLES["segsuite"].items()}
    good = [prepared(phantom, tmp_path / f"a{n}", {}) for n, phantom in enumerate(phantoms)]
    require_order(good, (0, 10, 20, 30, 40), names)
    bad = [prepared(phantom, tmp_path / f"b{n}", {3: 4, 4: 3}) for n, phantom in enumerate(phantoms)]
    with pytest.raises(ManifestError, match="'distal_prostatic_urethra': 40.*segsuite prostate_zones convert"):
        require_order(bad, (0, 10, 20, 30, 40), names)


def test_unknown_values_zones_and_tables() -> None:
    with pytest.raises(ManifestError, match=r"got \[7\]"):
        translate(np.array([0, 7]), TABLES["picai"], TABLES["segsuite"])
    with pytest.raises(ManifestError, match="must have every zone"):
        translate(np.array([0]), TABLES["segsuite"], TABLES["picai"])
    with pytest.raises(SettingsError, match="prostate158"):
        find_table("prostate159")


@pytest.mark.data
def test_real_masks_agree_with_their_table(real_data: Path) -> None:
    shapes = []
    for path in sorted((real_data / "picai_zone_masks" / "zones_Yuan23").glob("*.nii.gz"))[:6]:
        volume = read_labels(path)
        shapes.append(measure_zones(volume.labels, volume.grid))
    assert doubts_about_order(shapes, TABLES["picai"])[0] == []
    assert doubts_about_order(shapes, TABLES["prostate158"]) == (["the PZ is not behind the TZ"], TABLES["picai"])
