from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.fewshot.lessons import choose_cases, teach
from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case
from segsuite.errors import ManifestError

SPACING = (1.0, 1.0, 1.0)


class Halves:
    """Region 1 in the first half, 2 in the second, nothing in the first row."""

    def assign(self, image: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
        regions = np.ones(image.shape[1:], dtype=np.int16)
        regions[image.shape[1] // 2 :] = 2
        regions[0] = 0
        return regions


def case(folder: Path, values: list[int]) -> PreparedCase:
    folder.mkdir(parents=True)
    label = np.array(values, dtype=np.int8).reshape(-1, 1, 1)
    np.save(folder / "image.npy", np.zeros((1, *label.shape), dtype=np.float32))
    np.save(folder / "label.npy", label)
    rows = [(value, index, 0, 0) for index, value in enumerate(values) if value > 0]
    np.save(folder / "foreground.npy", np.array(rows, dtype=np.int32).reshape(-1, 4))
    return PreparedCase(Case(image="a.nii.gz", label="b.nii.gz", case_id=folder.name), folder)


def test_lesson_holds_base_and_regions_and_hides_the_novel(tmp_path: Path) -> None:
    """I20: base classes 1 and 3 become 1 and 2; the novel class 2 is whatever region lies there."""
    made = case(tmp_path / "a", [0, 1, 2, 3, 2, -1])
    taught = teach([made], base=[1, 3], regions=Halves(), spacing_mm=SPACING, folder=tmp_path / "l")[0]
    assert taught.label.ravel().tolist() == [0, 1, 3, 2, 4, -1]
    assert taught.foreground[:, :2].tolist() == [[1, 1], [2, 3]]
    plain = teach([made], base=[1, 3], regions=None, spacing_mm=SPACING, folder=tmp_path / "p")[0]
    assert plain.label.ravel().tolist() == [0, 1, 0, 2, 0, -1]


@pytest.mark.parametrize(("rule", "kept"), [("drop_novel", ["b"]), ("with_base", ["a", "b"]), ("all", ["a", "b", "n"])])
def test_three_rules_of_what_base_training_sees(tmp_path: Path, rule: str, kept: list[str]) -> None:
    """Section 1.2; the scan `n` holds the novel class alone."""
    made = [case(tmp_path / name, values) for name, values in {"a": [1, 2], "b": [1, 3], "n": [2, 0]}.items()]
    assert [one.case.case_id for one in choose_cases(made, base=[1, 3], novel=[2], rule=rule)] == kept


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    made = [case(tmp_path / "a", [1, 2])]
    with pytest.raises(ManifestError, match="by the rule `drop_novel`, got none of 1"):
        choose_cases(made, base=[1], novel=[2], rule="drop_novel")
