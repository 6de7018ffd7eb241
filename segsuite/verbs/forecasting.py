"""The word predict with --dry-run: what it would take here, without writing anything."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segsuite.engines.case_sizes import require_ordinary_files
from segsuite.engines.inputs import PLAIN_SEARCH, InputCase, SearchOptions, search_inputs, take_shard
from segsuite.engines.machine import available_memory
from segsuite.engines.memory import CaseForecast, forecast_case, measure_window
from segsuite.engines.model_folder import read_model_folder
from segsuite.engines.model_predictor import ModelPredictor
from segsuite.errors import SettingsError, VolumeError
from segsuite.failures import Step, reason_of
from segsuite.verbs.predicting import open_predictor
from segsuite.volumes.archives import WorkFolder
from segsuite.volumes.grid import Grid
from segsuite.volumes.reading import read_grid

__all__ = ["forecast_prediction"]


def forecast_prediction(
    model: Path,
    inputs: Sequence[Path],
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    shard: tuple[int, int] = (1, 1),
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
    where: SearchOptions = PLAIN_SEARCH,
) -> dict[str, Any]:
    """Memory and time of a prediction, from the headers of the images and one real pass of the network.

    Args:
        model: Model or run folder.
        inputs: As ``predict`` takes them.
        data_root: For manifests.
        fold: For manifests, only this fold.
        shard: This process's part of how many, counted from 1.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: Of the network on a CPU; ``None``: one per core.
        overrides: ``key=value`` of how the model is applied.
        where: Which DICOM series, where the outputs would go.

    Returns:
        ``cases``, ``left_out`` (kind to number), ``unreadable`` (case to reason), ``largest`` (case, shape, memory by part in
        GB), ``peak_gb``, ``free_gb``, ``network_minutes``, ``window_seconds``; JSON values.

    Raises:
        SettingsError: A model that does not go over an image in windows.
    """
    folder = read_model_folder(model)
    predictor = open_predictor(folder.path, device=device, overrides=overrides, threads=threads)
    if not isinstance(predictor, ModelPredictor):
        raise SettingsError(f"--dry-run must have a model that goes over an image in windows, got one of `{folder.pipeline}`.")
    with WorkFolder(Path(tempfile.gettempdir())) as work:
        found = search_inputs(
            inputs, n_channels=predictor.n_channels, data_root=data_root, fold=fold, where=replace(where, work=work)
        )
        return _forecast(take_shard(found.cases, shard), predictor) | {"left_out": dict(found.left_out)}


def _forecast(cases: Sequence[InputCase], predictor: ModelPredictor) -> dict[str, Any]:
    cost = measure_window(predictor)
    unreadable, seconds = dict[str, str](), 0.0
    largest: tuple[str, Grid, CaseForecast] | None = None
    for case in cases:
        try:
            require_ordinary_files(case)
            if case.problem:
                raise VolumeError(case.problem)
            grid = read_grid(case.images[0])
        except Exception as error:
            unreadable[case.case_id] = reason_of(error, Step.LOOKING)
            continue
        forecast = forecast_case(predictor, grid, cost, bytes_per_voxel=_stored_bytes(case, grid))
        seconds += forecast.seconds
        if largest is None or forecast.peak_bytes > largest[2].peak_bytes:
            largest = case.case_id, grid, forecast
    if largest is None:
        raise SettingsError(f"--dry-run must have at least one readable image, got none of {len(cases)}: {unreadable}.")
    name, grid, forecast = largest
    return {
        "cases": len(cases),
        "unreadable": unreadable,
        "largest": {
            "case": name,
            "shape": list(grid.shape),
            "memory_gb": {part: round(n_bytes / 1e9, 3) for part, n_bytes in forecast.parts.items()},
        },
        "peak_gb": round(forecast.peak_bytes / 1e9, 2),
        "free_gb": round(available_memory() / 1e9, 2),
        "network_minutes": round(seconds / 60, 4),
        "window_seconds": round(cost.seconds, 4),
    }


def _stored_bytes(case: InputCase, grid: Grid) -> int:
    """Per voxel, for plain files by their size, else two."""
    path = case.images[0]
    if path.is_dir() or path.name.lower().endswith(".gz"):
        return 2
    return max(1, round(path.stat().st_size / float(np.prod(grid.shape))))
