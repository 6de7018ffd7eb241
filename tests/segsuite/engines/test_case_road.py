"""Whatever goes wrong at whatever step of one case's road: its own line, the others' masks, and a restart that does the rest."""

from __future__ import annotations

import errno
import itertools
import os
import random
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.engines import case_sizes
from segsuite.engines.case_road import CaseRoad
from segsuite.engines.inputs import InputCase, find_inputs
from segsuite.engines.ledger import read_ledger
from segsuite.engines.prediction import BatchOptions, Outcome, ignore, predict_cases
from segsuite.errors import OutputFolderError
from tests.faults import BAD, ERRORS, STEPS, TOLERATED, Bright, Fault, write_scans

PLACES = {"first": ("a", "b"), "between": ("a", "z"), "last": ("y", "z")}
ROADS = {"one after the other": (False, 1), "beside": (True, 1), "lanes": (True, 3)}
PRODUCT = list(itertools.product(STEPS, range(len(ERRORS)), PLACES, ROADS))


def members() -> list[tuple[str, int, str, str]]:
    """All of them, or a slice in which each step, class, place and road comes."""
    if os.environ.get("SEGSUITE_FULL"):
        return PRODUCT
    draw = random.Random(20)
    by_step = [(step, draw.randrange(len(ERRORS)), draw.choice(list(PLACES)), road) for step in STEPS for road in ROADS]
    by_class = [(draw.choice(list(STEPS)), n, draw.choice(list(PLACES)), draw.choice(list(ROADS))) for n in range(len(ERRORS))]
    return by_step + by_class


def run(scans: Path, out: Path, road: str = "beside", **options: bool) -> Outcome:
    ahead, n_at_once = ROADS[road]
    return predict_cases(find_inputs([scans], n_channels=1), Bright(n_at_once), out, BatchOptions(**options), ahead=ahead)


@pytest.mark.parametrize(("step", "number", "place", "road"), members())
def test_what_goes_wrong_with_one_case_is_its_own_line_and_no_other_case_loses_its_mask(
    step: str, number: int, place: str, road: str, tmp_path: Path
) -> None:
    scans, out = write_scans(tmp_path / "in", *PLACES[place], f"m{BAD}"), tmp_path / "out"
    if place == "first":
        (scans / f"m{BAD}.nii.gz").rename(scans / f"A{BAD}.nii.gz")
    bad = next(path.name.removesuffix(".nii.gz") for path in scans.iterdir() if BAD in path.name)
    with Fault(step, error=ERRORS[number]).installed():
        outcome = run(scans, out, road)
    lines, good = read_ledger(out), set(PLACES[place])
    assert set(lines) == good | {bad}, "one line each"
    assert {lines[case].status for case in good} == {"done"}
    assert lines[bad].status == ("done" if step in TOLERATED else "failed")
    assert set(outcome.failures) == (set() if step in TOLERATED else {bad})
    if step not in TOLERATED:
        said = lines[bad].reason
        assert said == outcome.failures[bad]
        assert len(said) > 20
        assert "Traceback" not in said
        assert "\n" not in said
    again = run(scans, out, road)
    assert (again.failures, again.n_skipped) == ({}, 3 if step in TOLERATED else 2)
    for case in lines:
        image, mask = (np.asarray(nib.load(folder / f"{case}.nii.gz").dataobj) for folder in (scans, out))
        np.testing.assert_array_equal(mask, image - image.mean() > 0.3)
    assert not list(out.glob(".*")), "nothing is left behind"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            zlib.error("Error -3 while decompressing"),
            "zlib.error: Error -3 while decompressing. It came while its files",
        ),
        (KeyError("pixdim"), "KeyError: 'pixdim'. It came while its files were read. They may be damaged: copy or export them"),
        (AssertionError(), "AssertionError: no more is known. It came while"),
        (PermissionError(13, "Permission denied", "/data/x.nii"), "/data/x.nii must be readable, got: permission denied. Change"),
    ],
)
def test_the_reason_names_the_class_its_first_line_and_what_to_do(error: Exception, said: str, tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "in", "a", BAD)
    with Fault("read", error=error).installed():
        outcome = run(scans, tmp_path / "out")
    assert outcome.failures[BAD].startswith(said)


def test_a_damaged_stream_in_a_large_file_costs_only_itself(tmp_path: Path) -> None:
    """Its header cannot be read in advance: not the case before it is to blame, and not the whole batch."""
    scans = write_scans(tmp_path / "in", "a", "z")
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 20), dtype=np.int16)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), scans / "m.nii.gz")
    content = bytearray((scans / "m.nii.gz").read_bytes())
    assert len(content) * case_sizes.MOST_COMPRESSION > case_sizes.MOST_VOXELS_BESIDE
    content[40:400] = np.random.default_rng(1).integers(0, 255, 360, dtype=np.uint8).tobytes()
    (scans / "m.nii.gz").write_bytes(content)
    for place in ("m", "A", "zz"):
        (scans / "m.nii.gz").rename(scans / f"{place}.nii.gz")
        for road in ROADS:
            outcome = run(scans, tmp_path / f"{place} {road}", road)
            assert (outcome.n_done, set(outcome.failures)) == (2, {place})
        (scans / f"{place}.nii.gz").rename(scans / "m.nii.gz")


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "in", "a", "z")
    os.mkfifo(scans / "m.nii.gz")
    cases = [InputCase(name, (scans / f"{name}.nii.gz",), f"{name}.nii.gz") for name in "amz"]
    for n_at_once in (1, 2):
        outcome = predict_cases(cases, Bright(n_at_once), tmp_path / "out")
        assert list(outcome.failures) == ["m"]
        assert "must be an ordinary file, got a pipe" in outcome.failures["m"]


@pytest.mark.parametrize("n_bytes", [51, 200, 241, 242, 248, 255])
def test_a_mask_is_written_wherever_its_name_fits(n_bytes: int, tmp_path: Path) -> None:
    long = "ä" + "x" * (n_bytes - len("ä.nii.gz".encode()))
    scans = write_scans(tmp_path / "in", "a", long, "zz")
    assert run(scans, tmp_path / "out") == Outcome(3, 0, {})
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {path.name for path in scans.iterdir()}


class Reports(Bright):
    """Also writes a report, whose name is longer than the mask's."""

    def segment(self, volume: object, request: object) -> object:
        found = super().segment(volume, request)
        return type(found)(found.labels, report={"n": 1})


def test_a_side_file_whose_name_does_not_fit_costs_its_own_case(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "in", "a", "m" * 248, "z")
    outcome = predict_cases(find_inputs([scans], n_channels=1), Reports(), tmp_path / "out")
    assert list(outcome.failures) == ["m" * 248]
    assert "Rename the image" in outcome.failures["m" * 248]
    assert outcome.n_done == 2


@pytest.mark.parametrize("road", ROADS)
def test_a_full_disk_ends_the_batch(road: str, tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "in", "a", BAD, "z")
    full = OSError(errno.ENOSPC, "No space left on device")
    with Fault("write", error=full).installed(), pytest.raises(OutputFolderError, match="No space left on device"):
        run(scans, tmp_path / "out", road)
    assert not list((tmp_path / "out").glob(".*"))
    assert run(scans, tmp_path / "out", road).failures == {}


def test_a_folder_in_the_way_of_one_mask_costs_only_that(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "in", "a", "m", "z")
    (tmp_path / "out" / "m.nii.gz").mkdir(parents=True)
    outcome = run(scans, tmp_path / "out", overwrite=True)
    assert (outcome.n_done, list(outcome.failures)) == (2, ["m"])


def test_a_case_is_told_before_anything_of_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans, seen = write_scans(tmp_path / "in", "a", "z"), []

    def looked(case: InputCase) -> None:
        seen.append(f"look {case.case_id}")

    monkeypatch.setattr("segsuite.engines.case_road.require_ordinary_files", looked)
    road = CaseRoad(Bright(), tmp_path / "out", BatchOptions(), lambda case: seen.append(f"begin {case}"), ignore)
    for case in find_inputs([scans], n_channels=1):
        road.is_large(road.begin(case))
    assert seen == ["begin a", "look a", "begin z", "look z"]
