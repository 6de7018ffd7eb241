"""A model folder of this pipeline, opened for prediction; nothing of training is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.supervised.network import build_network
from segsuite.engines.model_predictor import ModelPredictor, model_of_pipeline

__all__ = ["load_predictor"]


def load_predictor(model: Path, *, device: str, overrides: Mapping[str, Any]) -> ModelPredictor:
    """See ``segsuite.pipeline.Opener``."""
    return ModelPredictor(model_of_pipeline(model, pipeline="supervised"), build_network, device=device, overrides=overrides)
