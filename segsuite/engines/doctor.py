"""What this installation runs on, and whether geometry survives the way to the network and back on it."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from segsuite.engines.devices import choose_device, has_fast_bfloat16
from segsuite.engines.machine import available_cores, available_memory, shared_memory
from segsuite.engines.run_folder import versions
from segsuite.volumes.grid import Grid, back_to_grid, network_grid, resample
from segsuite.volumes.reading import read_labels
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_mask

__all__ = ["all_orientations", "asymmetric_object", "examine", "geometry_survives", "written_file_survives"]


def examine(folder: Path) -> dict[str, Any]:
    """Machine, versions and self-tests.

    Args:
        folder: Whose disk is asked for free space.

    Returns:
        ``machine``, ``versions`` and ``tests``: name and problem (empty if it passed).
    """
    device = choose_device("auto")
    machine = {
        "device": str(device) if device.type != "cuda" else f"{device} {torch.cuda.get_device_name(device)}",
        "bfloat16 in hardware": "yes" if has_fast_bfloat16(device) else "no",
        "cores": f"{available_cores()} of {psutil.cpu_count()}",
        "memory free": f"{available_memory() / 1e9:.1f} of {psutil.virtual_memory().total / 1e9:.1f} GB",
        "memory that loaders can share": "as memory" if (shared := shared_memory()) is None else f"{shared / 1e9:.2f} GB",
        "disk free": f"{shutil.disk_usage(folder.resolve()).free / 1e9:.1f} GB",
    }
    tests = [
        _test("48 orientations, oblique, to the network's grid and back", geometry_survives),
        _test("a written mask reads back with its grid and codes", written_file_survives),
    ]
    return {"machine": machine, "versions": versions(), "tests": tests}


def all_orientations() -> list[np.ndarray]:
    """The 48 ways in which three axes can run along right, anterior, superior: signed permutation matrices, (4, 4)."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.eye(4)
            matrix[:3, :3] = 0
            matrix[list(order), range(3)] = signs
            found.append(matrix)
    return found


def asymmetric_object() -> np.ndarray:
    """A small label map that no flip or rotation maps onto itself, odd sizes, (7, 9, 5)."""
    labels = np.zeros((7, 9, 5), dtype=np.uint8)
    labels[1:5, 2:8, 1:4] = 1
    labels[1:3, 2:5, 1] = 2
    labels[4, 7, 3] = 3
    return labels


def geometry_survives() -> None:
    """Bring the asymmetric object through every orientation, oblique, with and without resampling.

    Raises:
        ValueError: It did not come back, or lies elsewhere in space.
    """
    labels = asymmetric_object()
    tilt = np.radians(17.0)
    oblique = np.eye(4)
    oblique[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    for matrix in all_orientations():
        native = Grid(labels.shape, oblique @ matrix @ np.diag([0.7, 1.1, 3.0, 1.0]))
        network = network_grid(native, spacing_mm=None)
        moved = resample(labels, native, network, interpolation="label")
        if not np.array_equal(back_to_grid(moved, network, native), labels):
            raise ValueError(f"orientation {native.orientation} did not come back")
        if not np.allclose(_centre_mm(moved == 3, network), _centre_mm(labels == 3, native), atol=1e-6):
            raise ValueError(f"orientation {native.orientation} moved in space")


def written_file_survives() -> None:
    """Write a mask as NIfTI, read it back.

    Raises:
        ValueError: Another grid or other labels.
    """
    grid = Grid((7, 9, 5), np.array([[-0.7, 0, 0.1, 5], [0, -1.1, 0, -7], [0.1, 0, 3.0, 11], [0, 0, 0, 1]]))
    labels = asymmetric_object()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.nii.gz"
        write_mask(path, labels, like=Volume(labels[None], grid))
        again = read_labels(path)
    if not np.array_equal(again.labels, labels) or not np.allclose(again.grid.affine, grid.affine, atol=1e-5):
        raise ValueError(f"wrote {grid.affine.tolist()}, read {again.grid.affine.tolist()}")


def _centre_mm(mask: np.ndarray, grid: Grid) -> np.ndarray:
    centre: np.ndarray = grid.affine @ np.append(np.argwhere(mask).mean(axis=0), 1.0)
    return centre


def _test(name: str, check: Callable[[], None]) -> dict[str, str]:
    try:
        check()
    except (ValueError, OSError) as error:
        return {"name": name, "problem": str(error)}
    return {"name": name, "problem": ""}
