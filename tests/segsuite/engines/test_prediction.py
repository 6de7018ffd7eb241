from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines import case_outputs
from segsuite.engines.inputs import find_inputs, with_attributes
from segsuite.engines.ledger import read_ledger
from segsuite.engines.prediction import BatchOptions, Outcome, predict_cases
from segsuite.engines.segmentation import Request, RowSource, Segmentation, segment_rows
from segsuite.errors import OutputFolderError, VolumeError
from segsuite.files import writing_to
from segsuite.volumes.reading import read_volume
from segsuite.volumes.volume import Volume

AFFINE = np.array([[0, -1.5, 0, 10], [1.0, 0, 0, 20], [0, 0, -3.0, -30], [0, 0, 0, 1.0]])


class BrightIsSeven:
    """A model that calls bright voxels structure 7."""

    structures = {7: "bright"}
    n_channels = 1
    n_at_once = 1
    computed_by = "nothing on cpu"
    sha256 = "v1"

    def __init__(self) -> None:
        self.n_seen = 0

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        plain = Preprocessing(None, (Normalisation(),))
        source = RowSource(self.rows)
        return segment_rows(volume, plain, source, class_labels=(0, 7), keep_probabilities=request.keep_probabilities)

    def rows(self, image: np.ndarray, axis: int, columns: slice) -> Iterator[np.ndarray]:
        self.n_seen += 1
        for row in np.moveaxis(image[0], axis, 0)[:, columns]:
            yield np.stack([row <= 1, row > 1])[:, None].astype(np.float32)


class Talkative(BrightIsSeven):
    """Also gives a volume, a report and a note, and refuses case s1 unless forced."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        if request.case_id == "s1" and not request.force:
            raise VolumeError("this is no such image")
        report = {"attributes": dict(request.attributes)}
        doubt = np.full(volume.grid.shape, 0.25, dtype=np.float32)
        return replace(super().segment(volume, request), volumes={"doubt": doubt}, report=report, notes=("look here",))


@pytest.fixture
def scans(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    for number in range(4):
        image = np.random.default_rng(number).normal(size=(6, 5, 4)).astype(np.float32)
        write_nifti(tmp_path / "scans" / f"s{number}.nii.gz", image, AFFINE)
    return tmp_path / "scans"


def run(scans: Path, out: Path, model: BrightIsSeven | None = None, **more: object) -> Outcome:
    how = {name: more.pop(name) for name in ("ahead", "stop", "on_begin", "on_case") if name in more}
    return predict_cases(find_inputs([scans], n_channels=1), model or BrightIsSeven(), out, BatchOptions(**more), **how)


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("cannot allocate"), r"out of memory \(cannot allocate\): use a machine with more memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has"), r"on the GPU \(CUDA out of memory\)"),
    ],
)
def test_case_that_exhausts_memory_is_one_line(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    honest = BrightIsSeven.segment

    def exhausted(model: BrightIsSeven, volume: Volume, request: Request) -> Segmentation:
        if request.case_id == "s1":
            raise error
        return honest(model, volume, request)

    monkeypatch.setattr(BrightIsSeven, "segment", exhausted)
    outcome = run(scans, tmp_path / "out")
    assert re.search(said, outcome.failures["s1"])
    assert outcome.n_done == 3


def test_full_disk_ends_the_run_and_keeps_what_is_done(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = case_outputs.write_mask

    def full(path: Path, *args: object, **more: object) -> None:
        if path.name == "s2.nii.gz":
            with writing_to(path):
                raise OSError(errno.ENOSPC, "No space left on device")
        honest(path, *args, **more)

    monkeypatch.setattr(case_outputs, "write_mask", full)
    with pytest.raises(OutputFolderError, match="No space left"):
        run(scans, tmp_path / "out")
    monkeypatch.undo()
    assert run(scans, tmp_path / "out") == Outcome(2, 2, {})


def test_empty_mask_is_noted(scans: Path, tmp_path: Path) -> None:
    blind = BrightIsSeven()
    blind.rows = lambda image, axis, columns: iter([np.stack([np.ones_like(image[0]), np.zeros_like(image[0])])])
    run(scans, tmp_path / "out", blind)
    assert read_ledger(tmp_path / "out")["s0"].notes == ("no bright found",)


def test_probabilities_are_written_on_the_same_grid(scans: Path, tmp_path: Path) -> None:
    run(scans, tmp_path / "out", save_probabilities=True)
    parts = [nib.load(tmp_path / "out" / f"s0_probability_{label}.nii.gz") for label in (0, 7)]
    np.testing.assert_allclose(sum(part.get_fdata() for part in parts), 1, atol=1e-3)
    np.testing.assert_allclose(parts[0].affine, AFFINE, atol=1e-5)


def test_what_a_model_gives_besides_lies_beside_the_mask(scans: Path, tmp_path: Path) -> None:
    cases = find_inputs([scans], n_channels=1)
    (tmp_path / "known.tsv").write_text("case\tpsa\ns0\t4.5\ns2.nii.gz\t\n")
    out = tmp_path / "out"
    outcome = predict_cases(with_attributes(cases, tmp_path / "known.tsv"), Talkative(), out)
    assert outcome.failures == {"s1": "this is no such image"}
    assert not (out / "s1.nii.gz").exists()
    assert nib.load(out / "s0_map_doubt.nii.gz").get_fdata().max() == 0.25
    reports = [json.loads((out / f"s{n}_report.json").read_text()) for n in (0, 2, 3)]
    assert [report["attributes"] for report in reports] == [{"psa": "4.5"}, {}, {}]
    assert read_ledger(out)["s0"].notes[0] == "look here"
    # what is known changed for s0, so it is done again; so is all when forced
    assert predict_cases(cases, Talkative(), out).n_done == 1
    assert predict_cases(cases, Talkative(), out, BatchOptions(force=True)) == Outcome(4, 0, {})


@pytest.mark.parametrize(("done", "failed", "code"), [(1, 0, 0), (1, 1, 2), (0, 2, 3)])
def test_exit_codes(done: int, failed: int, code: int) -> None:
    assert Outcome(done, 0, {str(n): "x" for n in range(failed)}).exit_code == code


def test_same_patient_in_another_orientation_gets_the_same_labels(scans: Path) -> None:
    volume = read_volume(scans / "s0.nii.gz")
    turned = nib.as_closest_canonical(nib.load(scans / "s0.nii.gz"))
    other = type(volume)(np.asarray(turned.dataobj)[None], type(volume.grid)(turned.shape, turned.affine))
    labels = BrightIsSeven().segment(volume, Request()).labels
    again = nib.Nifti1Image(BrightIsSeven().segment(other, Request()).labels, turned.affine)
    back = nib.as_closest_canonical(nib.Nifti1Image(labels, volume.grid.affine))
    assert np.array_equal(np.asarray(again.dataobj), np.asarray(back.dataobj))


class ReportsOnly(BrightIsSeven):
    """Makes no mask."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        return Segmentation(None, report={"mean": float(volume.array.mean())})


def test_a_model_without_masks_leaves_a_report_and_is_skipped_when_done(scans: Path, tmp_path: Path) -> None:
    assert run(scans, tmp_path, ReportsOnly()) == Outcome(4, 0, {})
    line = read_ledger(tmp_path)["s0"]
    assert line.output == "s0_report.json"
    assert line.notes == ()
    assert not list(tmp_path.glob("s*.nii.gz"))
    assert run(scans, tmp_path, ReportsOnly()) == Outcome(0, 4, {})
    (tmp_path / "s1_report.json").write_text("{}")
    assert run(scans, tmp_path, ReportsOnly()) == Outcome(1, 3, {})


def test_reading_and_writing_beside_the_network_change_nothing(scans: Path, tmp_path: Path) -> None:
    """Ledger lines and masks are in order either way; the next case is begun before the last one is over."""
    heard: dict[bool, list[str]] = {True: [], False: []}
    for ahead, said in heard.items():

        def over(case: str, _: str, said: list[str] = said) -> None:
            said.append(f"{case} over")

        run(scans, tmp_path / str(ahead), ahead=ahead, on_begin=said.append, on_case=over)
    assert heard[False] == [word for n in range(4) for word in (f"s{n}", f"s{n} over")]
    assert sorted(heard[True]) == sorted(heard[False])
    assert [word for word in heard[True] if word.endswith("over")] == [f"s{n} over" for n in range(4)]
    for mask in (tmp_path / "True").glob("*.nii.gz"):
        assert mask.read_bytes() == (tmp_path / "False" / mask.name).read_bytes()
    assert list(read_ledger(tmp_path / "True")) == ["s0", "s1", "s2", "s3"]


@pytest.mark.parametrize("ahead", [True, False])
def test_told_to_stop_it_finishes_the_case_in_hand(scans: Path, tmp_path: Path, ahead: bool) -> None:
    asked: list[bool] = []

    class Stops(BrightIsSeven):
        def segment(self, volume: Volume, request: Request) -> Segmentation:
            asked.append(True)
            return super().segment(volume, request)

    outcome = run(scans, tmp_path / "out", Stops(), ahead=ahead, stop=lambda: bool(asked))
    assert (outcome.n_done, outcome.n_left, outcome.exit_code) == (1, 3, 130)
    assert run(scans, tmp_path / "out") == Outcome(3, 1, {})


class SideBySide(BrightIsSeven):
    """As a predictor on a GPU: several cases at once."""

    n_at_once = 3


def test_cases_side_by_side_end_as_one_after_the_other(scans: Path, tmp_path: Path) -> None:
    (scans / "broken.nii.gz").write_bytes(b"no image")
    told: list[tuple[str, str]] = []
    alone = run(scans, tmp_path / "alone")
    beside = run(scans, tmp_path / "beside", SideBySide(), on_case=lambda *result: told.append(result))
    assert beside == alone
    assert len(told) == alone.n_done + 1
    masks = sorted(path.name for path in (tmp_path / "alone").glob("*.nii.gz"))
    assert masks
    for name in masks:
        assert (tmp_path / "beside" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    lines = [read_ledger(tmp_path / folder) for folder in ("alone", "beside")]
    assert {case: line.status for case, line in lines[0].items()} == {case: line.status for case, line in lines[1].items()}
    assert run(scans, tmp_path / "beside", SideBySide()).n_skipped == alone.n_done
