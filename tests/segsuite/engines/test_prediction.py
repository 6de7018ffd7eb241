from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines import prediction
from segsuite.engines.inputs import find_inputs
from segsuite.engines.ledger import read_ledger
from segsuite.engines.prediction import Outcome, predict_cases, segment_volume
from segsuite.errors import OutputError
from segsuite.volumes.reading import read_volume

AFFINE = np.array([[0, -1.5, 0, 10], [1.0, 0, 0, 20], [0, 0, -3.0, -30], [0, 0, 0, 1.0]])


class BrightIsSeven:
    """A model that calls bright voxels structure 7."""

    preprocessing = Preprocessing(None, (Normalisation(),))
    structures = {7: "bright"}
    class_labels = (0, 7)
    largest_component: tuple[int, ...] = ()
    sha256 = "v1"

    def __init__(self) -> None:
        self.n_seen = 0

    def rows(self, image: np.ndarray) -> Iterator[np.ndarray]:
        self.n_seen += 1
        for row in image[0]:
            yield np.stack([row <= 1, row > 1])[:, None].astype(np.float32)


@pytest.fixture
def scans(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    for number in range(4):
        image = np.random.default_rng(number).normal(size=(6, 5, 4)).astype(np.float32)
        write_nifti(tmp_path / "scans" / f"s{number}.nii.gz", image, AFFINE)
    return tmp_path / "scans"


def run(scans: Path, out: Path, model: BrightIsSeven | None = None, **more: object) -> Outcome:
    return predict_cases(find_inputs([scans], n_channels=1), model or BrightIsSeven(), out, **more)


def test_mask_lies_on_the_image_and_says_what_the_model_says(scans: Path, tmp_path: Path) -> None:
    assert run(scans, tmp_path / "out") == Outcome(4, 0, {})
    image, mask = nib.load(scans / "s0.nii.gz"), nib.load(tmp_path / "out" / "s0.nii.gz")
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    data = image.get_fdata()
    expected = 7 * ((data - data.mean()) / data.std() > 1)
    assert np.array_equal(np.asarray(mask.dataobj), expected)


def test_restart_redoes_nothing_that_is_done_and_unchanged(scans: Path, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    out = tmp_path / "out"
    run(scans, out)
    before = {path.name: path.read_bytes() for path in out.glob("*.nii.gz")}
    again = BrightIsSeven()
    assert run(scans, out, again) == Outcome(0, 4, {})
    assert again.n_seen == 0
    (out / "s1.nii.gz").write_bytes(before["s1.nii.gz"][:40])  # a truncated file is not a result
    write_nifti(scans / "s2.nii.gz", np.arange(120.0).reshape(6, 5, 4), AFFINE)  # the image changed
    assert run(scans, out, BrightIsSeven()) == Outcome(2, 2, {})
    assert (out / "s1.nii.gz").read_bytes() == before["s1.nii.gz"]
    newer = BrightIsSeven()
    newer.sha256 = "v2"
    assert run(scans, out, newer).n_done == 4


def test_one_bad_case_never_stops_the_others(scans: Path, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    (scans / "s1.nii.gz").write_bytes((scans / "s1.nii.gz").read_bytes()[:60])
    write_nifti(scans / "s2.nii.gz", np.full((6, 5, 4), 3.0), AFFINE)
    heard: list[tuple[str, str]] = []
    outcome = run(scans, tmp_path / "out", on_case=lambda *args: heard.append(args))
    assert (outcome.n_done, set(outcome.failures), outcome.exit_code) == (2, {"s1", "s2"}, 2)
    lines = read_ledger(tmp_path / "out")
    assert "must be a complete image file" in lines["s1"].reason
    assert "must not be constant" in lines["s2"].reason
    assert [case for case, _ in heard] == ["s0", "s1", "s2", "s3"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ledger.jsonl", "s0.nii.gz", "s3.nii.gz"]


def test_case_that_exhausts_memory_is_one_line(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = prediction.segment_volume

    def exhausted(volume: object, *args: object, **more: object) -> object:
        if "s1" in str(volume.path):
            raise MemoryError("cannot allocate")
        return honest(volume, *args, **more)

    monkeypatch.setattr(prediction, "segment_volume", exhausted)
    assert "out of memory" in run(scans, tmp_path / "out").failures["s1"]


def test_full_disk_ends_the_run_and_keeps_what_is_done(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = prediction.write_mask

    def full(path: Path, *args: object, **more: object) -> None:
        if path.name == "s2.nii.gz":
            raise OutputError(f"{path} must be writable, got: No space left on device.")
        honest(path, *args, **more)

    monkeypatch.setattr(prediction, "write_mask", full)
    with pytest.raises(OutputError, match="No space left"):
        run(scans, tmp_path / "out")
    monkeypatch.undo()
    assert run(scans, tmp_path / "out") == Outcome(2, 2, {})


def test_empty_mask_is_noted(scans: Path, tmp_path: Path) -> None:
    blind = BrightIsSeven()
    blind.rows = lambda image: iter([np.stack([np.ones_like(image[0]), np.zeros_like(image[0])])])
    run(scans, tmp_path / "out", blind)
    assert read_ledger(tmp_path / "out")["s0"].notes == ("no bright found",)


def test_probabilities_are_written_on_the_same_grid(scans: Path, tmp_path: Path) -> None:
    run(scans, tmp_path / "out", save_probabilities=True)
    parts = [nib.load(tmp_path / "out" / f"s0_probability_{n}.nii.gz") for n in range(2)]
    np.testing.assert_allclose(sum(part.get_fdata() for part in parts), 1, atol=1e-3)
    np.testing.assert_allclose(parts[0].affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(("done", "failed", "code"), [(1, 0, 0), (1, 1, 2), (0, 2, 3)])
def test_exit_codes(done: int, failed: int, code: int) -> None:
    assert Outcome(done, 0, {str(n): "x" for n in range(failed)}).exit_code == code


def test_same_patient_in_another_orientation_gets_the_same_labels(scans: Path) -> None:
    volume = read_volume(scans / "s0.nii.gz")
    turned = nib.as_closest_canonical(nib.load(scans / "s0.nii.gz"))
    other = type(volume)(np.asarray(turned.dataobj)[None], type(volume.grid)(turned.shape, turned.affine))
    labels = segment_volume(volume, BrightIsSeven())[0]
    again = nib.Nifti1Image(segment_volume(other, BrightIsSeven())[0], turned.affine)
    back = nib.as_closest_canonical(nib.Nifti1Image(labels, volume.grid.affine))
    assert np.array_equal(np.asarray(again.dataobj), np.asarray(back.dataobj))
