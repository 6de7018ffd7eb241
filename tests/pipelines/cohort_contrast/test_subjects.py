from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.cohort_contrast.subjects import (
    column_of,
    fixed_window,
    group_of,
    placed_back,
    require_two_groups,
    scans_of,
    site_confounding,
    window_grid,
)
from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case
from segsuite.errors import ManifestError
from segsuite.volumes.grid import Grid


def case(name: str, group: str | None, patient: str = "", site: str | None = None, **attributes: object) -> Case:
    return Case(image=f"{name}.nii.gz", case_id=name, patient_id=patient or name, group=group, site=site, attributes=attributes)


def test_groups_are_checked() -> None:
    assert not group_of(case("a", "healthy"))
    with pytest.raises(ManifestError, match="case a: `group` must be healthy or diseased, got `sick`"):
        group_of(case("a", "sick"))
    good = [case("a", "healthy"), case("b", "healthy"), case("c", "diseased"), case("d", "diseased")]
    require_two_groups(good)
    with pytest.raises(ManifestError, match="at least 2 subjects of each group, got 2 healthy and 1 diseased"):
        require_two_groups(good[:3])
    with pytest.raises(ManifestError, match="A subject must be in one group, got 1 in both, for example p"):
        require_two_groups([*good, case("e", "healthy", "p"), case("f", "diseased", "p")])


def test_confounding_is_cramers_v_over_subjects() -> None:
    def cohort(counts: dict[str, tuple[int, int]]) -> list[Case]:
        return [
            case(f"{site}{group}{n}", group, site=site)
            for site, pair in counts.items()
            for group, many in zip(("healthy", "diseased"), pair, strict=True)
            for n in range(many)
        ]

    assert site_confounding(cohort({"A": (5, 5), "B": (5, 5)})).cramers_v == pytest.approx(0)
    apart = site_confounding(cohort({"A": (10, 0), "B": (0, 10)}))
    assert apart.cramers_v == pytest.approx(1)
    assert apart.is_too_much
    assert str(apart) == "Cramer's V of site and group is 1.00 (A: 10 healthy and 0 diseased, B: 0 healthy and 10 diseased)"
    # by hand: chi2 of [[9, 1], [1, 9]] is 4 * 4^2 / 5 = 12.8, n = 20
    found = site_confounding(cohort({"A": (9, 1), "B": (1, 9)}))
    assert found.cramers_v == pytest.approx(np.sqrt(12.8 / 20))
    assert site_confounding(cohort({"A": (5, 5)})).cramers_v == 0


def test_a_window_is_cut_and_padded_about_the_centre_and_goes_back() -> None:
    image = np.arange(6 * 4 * 5, dtype=np.float32).reshape(1, 6, 4, 5)
    window = fixed_window(image, (4, 6, 5))
    assert window.shape == (1, 4, 6, 5)
    np.testing.assert_array_equal(window[0, :, 1:5], image[0, 1:5])
    assert (window[0, :, 0] == 0).all()
    back = placed_back(window[0], (6, 4, 5))
    np.testing.assert_array_equal(back[1:5], image[0, 1:5])
    assert (back[0] == 0).all()
    grid = Grid((6, 4, 5), np.diag([2.0, 2, 3, 1]))
    moved = window_grid(grid, (4, 6, 5))
    np.testing.assert_allclose(moved.affine[:3, 3], [2, -2, 0])


def test_scans_of_prepared_cases_are_read_when_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "image.npy", np.full((1, 4, 4, 4), 2 + (name == "b"), np.float32))
        np.save(tmp_path / name / "label.npy", np.eye(4, dtype=np.int8)[None].repeat(4, axis=0))
    prepared = [
        PreparedCase(case("a", "healthy", site="A", age=3), tmp_path / "a"),
        PreparedCase(case("b", "diseased", kind="x"), tmp_path / "b"),
    ]
    found = scans_of(prepared, (4, 4, 4))
    assert found.is_diseased.tolist() == [False, True]
    assert found.sites == ["A", ""]
    assert found.attributes["kind"].tolist() == ["", "x"]
    np.testing.assert_array_equal(np.isnan(found.attributes["age"]), [False, True])
    assert found.batch([1]).unique().tolist() == [3]
    assert scans_of(prepared, (4, 4, 4), within_label=True).batch([0]).shape == (1, 1, 4, 4, 4)
    (tmp_path / "b" / "label.npy").unlink()
    missing = [PreparedCase(prepared[1].case, tmp_path / "b")]
    with pytest.raises(ManifestError, match="case b must have a mask for `image.within_label`, got none"):
        scans_of(missing, (4, 4, 4), within_label=True).batch([0])


def test_columns_are_numbers_or_texts() -> None:
    assert column_of(["a", None]).tolist() == ["a", ""]
    assert column_of([1, 2.5]).tolist() == [1.0, 2.5]
    assert column_of([1, "b"]).tolist() == ["1", "b"]
