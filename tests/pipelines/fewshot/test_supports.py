from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.fewshot.supports import given_supports, supports_of_manifest
from segsuite.data.manifest import read_manifest, write_manifest
from segsuite.errors import ManifestError, SettingsError


def test_draw_is_by_patient_seeded_and_nested(cohort_folder: Path) -> None:
    """The same seed gives the same list; more shots begin with the same ones."""
    draw = lambda shots, seed: supports_of_manifest(
        cohort_folder / "manifest.json", None, "transition_zone", shots=shots, seed=seed
    )
    three, again, other = draw(3, 0), draw(3, 0), draw(3, 1)
    assert three == again != other
    assert draw(1, 0) == three[:1]
    assert len({support.mask for support in draw(6, 0)}) == 6
    assert {support.value for support in three} == {2}


@pytest.mark.parametrize(
    ("name", "shots", "said"), [("tranzition_zone", 1, "transition_zone"), ("transition_zone", 7, "got 6 of 6")]
)
def test_what_cannot_be_drawn(cohort_folder: Path, name: str, shots: int, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        supports_of_manifest(cohort_folder / "manifest.json", None, name, shots=shots, seed=0)


def test_values_are_those_of_the_manifest_after_its_mapping(cohort_folder: Path, tmp_path: Path) -> None:
    """A manifest that maps what the files say (as CHAOS's grey values), also several of them onto one structure."""
    manifest = read_manifest(cohort_folder / "manifest.json")
    before = manifest.labels["transition_zone"]
    labels = manifest.labels | {"transition_zone": 77}
    for mapping in ({before: 77}, {before: 77, 99: 77}):
        write_manifest(tmp_path / "M.json", manifest.model_copy(update={"labels": labels, "label_mapping": mapping}))
        supports = supports_of_manifest(tmp_path / "M.json", cohort_folder, "transition_zone", shots=2, seed=0)
        assert {(support.value, tuple(support.mapping.items())) for support in supports} == {(77, tuple(mapping.items()))}


def test_a_mask_for_each_scan(tmp_path: Path) -> None:
    image, mask = tmp_path / "i.nii.gz", tmp_path / "m.nii.gz"
    assert [support.mask for support in given_supports([image], [mask], 3)] == [mask]
    for images, masks in (([], []), ([image, image], [mask])):
        with pytest.raises(SettingsError, match="give --image and --mask once per scan, or --manifest"):
            given_supports(images, masks, 1)
