"""Faults at every step of one case's road, for tests in this process and in others; without torch, which is slow to load."""

from __future__ import annotations

import importlib
import os
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from segsuite.engines import case_sizes
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import VolumeError
from segsuite.shapes import LabelMap
from segsuite.volumes.volume import Volume

__all__ = [
    "BAD", "ERRORS", "KINDS", "STEPS", "TOLERATED", "Bright", "Fault", "LosesItsGpu", "prepared", "restored", "segmented",
    "write_scans",
]  # fmt: skip

BAD = "qxq"
"""In the name of the case that is broken, and nowhere else."""

STEPS = {
    "list": ("segsuite.engines.case_sizes", "_parts"),
    "stat": ("segsuite.engines.case_road", "require_ordinary_files"),
    "header": ("segsuite.engines.case_sizes", "read_grid"),
    "hash": ("segsuite.engines.case_road", "hash_of_image"),
    "claim": ("segsuite.engines.claims", "Claims.require_own"),
    "read": ("segsuite.engines.case_road", "read_channels"),
    "check": ("segsuite.engines.case_road", "require_varied"),
    "prepare": ("tests.faults", "prepared"),
    "network": ("tests.faults", "segmented"),
    "restore": ("tests.faults", "restored"),
    "write": ("segsuite.engines.case_outputs", "write_mask"),
    "read back": ("segsuite.volumes.writing", "read_stored"),
    "rename": ("pathlib", "Path.replace"),
    "hash of the mask": ("segsuite.engines.case_road", "hash_of_file"),
    "ledger": ("segsuite.engines.ledger", "Ledger.append"),
}
"""Step to module and name of what does it."""
KINDS = ("raise", "die", "hang")
TOLERATED = ("header",)
"""What goes wrong there is no failure: reading tells."""


class OwnError(Exception):
    """Of a library that nobody has heard of, and without words."""

    def __str__(self) -> str:
        raise RuntimeError("not even a text")


ERRORS: tuple[Exception, ...] = (
    zlib.error("Error -3 while decompressing data"),
    struct.error("unpack requires a buffer of 348 bytes"),
    RuntimeError("ITK ERROR\nin many lines"),
    OverflowError("cannot convert float infinity to integer"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    KeyError("pixdim"),
    RecursionError("maximum recursion depth exceeded"),
    AssertionError(),
    ImageFileError("not recognised"),
    HeaderDataError("data code 4095 not supported"),
    OSError(5, "Input/output error"),
    PermissionError(13, "Permission denied", "a file"),
    FileNotFoundError(2, "No such file or directory", "a file"),
    IsADirectoryError(21, "Is a directory"),
    EOFError("Compressed file ended"),
    MemoryError("Unable to allocate 95 GiB"),
    IndexError("index 4 is out of bounds"),
    TypeError("unsupported operand"),
    ZeroDivisionError("float division by zero"),
    AttributeError("no attribute 'shape'"),
    StopIteration(),
    VolumeError("this is no such image"),
    OwnError(),
)


@dataclass(frozen=True)
class Fault:
    """What happens at one step of the case ``BAD``; called, it happens from then on, and a predictor comes back.

    Attributes:
        step: One of ``STEPS``.
        kind: One of ``KINDS``.
        error: What is raised.
        n_at_once: Of the predictor.
    """

    step: str
    kind: str = "raise"
    error: Exception = field(default_factory=lambda: RuntimeError("broken"))
    n_at_once: int = 1

    def __call__(self) -> Bright:
        self.install()
        return Bright(self.n_at_once)

    def install(self) -> Callable[[], None]:
        """From now on; what comes back undoes it."""
        module, name = STEPS[self.step]
        *owners, name = name.split(".")
        place: Any = importlib.import_module(module)
        for owner in owners:
            place = getattr(place, owner)
        honest = getattr(place, name)

        def broken(*args: Any, **more: Any) -> Any:
            if BAD in repr((args, more)) and "status='failed'" not in repr(args):
                self._happen()
            return honest(*args, **more)

        before = case_sizes.MOST_VOXELS_BESIDE

        def undo() -> None:
            setattr(place, name, honest)
            case_sizes.MOST_VOXELS_BESIDE = before

        setattr(place, name, broken)
        case_sizes.MOST_VOXELS_BESIDE = 0  # so that headers are read in advance
        return undo

    @contextmanager
    def installed(self) -> Iterator[None]:
        """For the time of a block."""
        undo = self.install()
        try:
            yield
        finally:
            undo()

    def _happen(self) -> None:
        if self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "hang":
            time.sleep(600)
        raise self.error


class Bright:
    """Calls bright voxels structure 1, in three steps."""

    structures = {1: "bright"}
    n_channels = 1
    computed_by = "nothing on cpu"
    sha256 = "v1"

    def __init__(self, n_at_once: int = 1) -> None:
        self.n_at_once = n_at_once

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        image = prepared(request.case_id, volume)
        return Segmentation(restored(request.case_id, segmented(request.case_id, image)))


class LosesItsGpu(Bright):
    """After the case ``BAD`` nothing can be done in this process any more."""

    def __init__(self, n_at_once: int = 1) -> None:
        super().__init__(n_at_once)
        self.is_lost = False
        sys.modules["torch"] = self  # type: ignore[assignment]

    def zeros(self, size: int, *, device: str) -> None:
        if self.is_lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        self.is_lost |= BAD in request.case_id
        self.zeros(1, device="cuda")
        return super().segment(volume, request)


def prepared(case: str, volume: Volume) -> np.ndarray:
    return volume.array[0] - volume.array.mean()


def segmented(case: str, image: np.ndarray) -> np.ndarray:
    return image > 0.3


def restored(case: str, mask: np.ndarray) -> LabelMap:
    return mask.astype(np.uint8)


def write_scans(folder: Path, *names: str) -> Path:
    """Small images, each with voxels of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        image = np.random.default_rng(number).random((6, 5, 4)).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.diag([1.5, 1.0, 2.0, 1.0])), folder / f"{name}.nii.gz")
    return folder
