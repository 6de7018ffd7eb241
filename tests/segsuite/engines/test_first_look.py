from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from segsuite.data.scan_profile import common_profile, profile_of
from segsuite.engines.first_look import FirstLook, remarks, sided_labels
from segsuite.engines.ledger import LedgerLine
from segsuite.engines.seen_scans import training_scans
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import VolumeError
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume
from segsuite.volumes.voxel_hash import voxel_hash

ARRAY = np.random.default_rng(0).gamma(2.0, 50.0, (1, 20, 20, 8)).astype(np.float32)
SCAN = Volume(ARRAY, Grid((20, 20, 8), np.diag([1.0, 1.0, 3.0, 1.0])))
OTHER = Volume(ARRAY[:, ::-1], Grid((20, 20, 8), np.diag([1.0, 1.0, 12.0, 1.0])))


class Plain:
    """Finds nothing, and remembers what it was given."""

    n_channels, structures, n_at_once, computed_by, sha256, windows = 1, {1: "a"}, 3, "by hand", "h", "w"

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        assert volume.array.size
        return Segmentation(np.zeros(volume.grid.shape, np.uint8), notes=("small",))


def description(*scans: Volume, **more: Any) -> dict[str, Any]:
    data = training_scans(map(voxel_hash, scans)) | {"fingerprint": common_profile([profile_of(SCAN)])}
    return {"labels": {"background": 0, "a": 1, "b": 2}, "data": {**data, **more}}


def notes(look: FirstLook, volume: Volume, *, force: bool = False) -> tuple[str, ...]:
    return look.segment(volume, Request("c7", force=force)).notes


def test_it_is_the_predictor_in_all_else() -> None:
    look = FirstLook(Plain(), [description()])
    assert (look.n_channels, look.structures, look.n_at_once, look.computed_by, look.sha256) == (1, {1: "a"}, 3, "by hand", "h")
    assert look.windows == "w"
    assert notes(look, SCAN) == ("small",)
    assert FirstLook(Plain(), [description()], strict=True).sha256 != "h"


def test_a_scan_of_the_training_is_a_note_also_where_it_is_stored_otherwise() -> None:
    turned = Volume(np.ascontiguousarray(ARRAY[:, ::-1]), Grid((20, 20, 8), np.diag([-1.0, 1.0, 3.0, 1.0])))
    one = FirstLook(Plain(), [description(SCAN)])
    three = FirstLook(Plain(), [description(SCAN), description(OTHER), description(SCAN)])
    assert notes(one, turned)[1].startswith("this scan was in the model's training: a score")
    assert "in the model's training of 2 of its 3 members" in notes(three, SCAN)[1]
    assert notes(one, OTHER)[1].startswith("unlike the model's training data: voxels of 12 mm")


def test_another_kind_of_scan_is_a_note_and_refused_if_strict_unless_forced() -> None:
    assert notes(FirstLook(Plain(), [description()]), OTHER)[1].startswith("unlike the model's training data: voxels of 12 mm")
    strict = FirstLook(Plain(), [description()], strict=True)
    with pytest.raises(VolumeError, match=r"case c7: .* got voxels of 12 mm .* or --force to segment it all the same"):
        notes(strict, OTHER)
    assert notes(strict, OTHER, force=True)[1].startswith("unlike")
    assert notes(strict, SCAN) == ("small",)
    known = description()
    known["data"]["fingerprint"] = common_profile([profile_of(OTHER)])
    assert notes(FirstLook(Plain(), [description(), known]), OTHER) == ("small",)


def test_a_model_that_knows_sides_refuses_a_scan_that_does_not() -> None:
    nowhere = replace(SCAN, sides_known=False)
    sided = FirstLook(Plain(), [description(sided_labels=["b", "a"])])
    assert notes(FirstLook(Plain(), [description()]), nowhere) == ("small",)
    with pytest.raises(VolumeError, match=r"case c7: .* tells left from right \(a, b\), but its header places it nowhere"):
        notes(sided, nowhere)
    assert notes(sided, nowhere, force=True)[1] == "the file does not say which side is left: a, b may be swapped"
    assert notes(sided, SCAN) == ("small",)
    assert sided_labels({"labels": {"background": 0, "Kidney_L": 1, "liver": 2}}) == ["Kidney_L"]


def line(case: str, *notes: str, status: str = "done") -> LedgerLine:
    return LedgerLine(case, status, f"{case}.nii", "", "", notes=notes)


def test_what_a_user_must_read_is_said_once() -> None:
    seen = "this scan was in the model's training: a score"
    lines = [
        line("a", seen),
        line("b", "small", "unlike the model's training data: CT"),
        line("c"),
        line("d", seen, status="failed"),
    ]
    first, second = remarks({entry.case: entry for entry in lines})
    assert first.startswith("1 of 3 scans were in the model's training")
    assert second.startswith("1 of 3 scans are unlike the model's training data, such as b: CT. Look at the masks")
    assert remarks({"c": line("c")}) == []
