"""A forecast is made of the same numbers as the work itself, and the work keeps it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from segsuite.engines.inference import predict_rows
from segsuite.engines.memory import WindowCost, forecast_case, measure_window
from segsuite.engines.model_predictor import ModelPredictor
from segsuite.engines.run_folder import RunFolder
from segsuite.verbs.predicting import open_predictor
from segsuite.volumes.grid import Grid

COST = WindowCost(seconds=0.5, n_bytes=1_000_000, resident_bytes=2_000_000)


@pytest.fixture(scope="module")
def predictor(tiny_run: RunFolder) -> ModelPredictor:
    opened = open_predictor(tiny_run.model, device="cpu", overrides=(), threads=None)
    assert isinstance(opened, ModelPredictor)
    return opened


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(32, 32, 12), (70, 50, 20), (40, 40, 60)])
def test_passes_are_those_that_are_made(predictor: ModelPredictor, shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, np.diag([3.0, 3.0, 6.0, 1.0]))
    forecast = forecast_case(predictor, grid, COST)
    network, n_passes = predictor.first_network(), 0

    def counted(batch: torch.Tensor) -> torch.Tensor:
        nonlocal n_passes
        n_passes += 1
        return network(batch)

    windows = replace(predictor.windows(predictor.model), mirror_axes=())
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    axis = int(np.argmax(shape)) if max(shape) > 1.2 * shape[0] else 0
    for _ in predict_rows(counted, image, windows, axis=axis):
        pass
    assert forecast.n_passes == n_passes
    assert forecast.seconds == pytest.approx(0.5 * n_passes)


@pytest.mark.slow
def test_memory_grows_with_the_image_and_stops_where_it_is_worked_through_in_parts(predictor: ModelPredictor) -> None:
    def forecast(*shape: int) -> dict[str, int]:
        return forecast_case(predictor, Grid(shape, np.diag([3.0, 3.0, 6.0, 1.0])), COST).parts

    small, large, long = forecast(64, 64, 32), forecast(128, 128, 32), forecast(128, 128, 4000)
    assert small["process"] == COST.resident_bytes
    assert sum(large.values()) > sum(small.values())
    assert long.get("volume", 0) in (0, 4 * 128 * 128 * 4000)
    assert forecast_case(predictor, Grid((64, 64, 32), np.diag([3.0, 3.0, 6.0, 1.0])), COST).peak_bytes == sum(small.values())


@pytest.mark.slow
def test_a_volume_stored_in_another_order_is_held_twice_unless_it_is_large(predictor: ModelPredictor) -> None:
    def forecast(sign: float, *shape: int) -> dict[str, int]:
        return forecast_case(predictor, Grid(shape, np.diag([sign * 0.5, 0.5, 0.5, 1.0])), COST).parts

    small, turned = forecast(1, 256, 256, 150), forecast(-1, 256, 256, 150)
    assert turned.pop("volume in RAS+ order") == 4 * 256 * 256 * 150
    assert turned == small
    assert forecast(1, 512, 512, 300) == forecast(-1, 512, 512, 300)


@pytest.mark.slow
def test_a_window_is_measured(predictor: ModelPredictor) -> None:
    cost = measure_window(predictor)
    windows = predictor.windows(predictor.model)
    least = 4 * windows.n_outputs * math.prod(windows.patch_size)
    assert 0 < cost.seconds < 60
    assert cost.resident_bytes > 50_000_000
    assert 0 <= cost.n_bytes < 1_000_000_000
    assert least < 10_000_000, "a small network is measured here"
