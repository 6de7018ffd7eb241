"""A model folder as a predictor: one network, or an ensemble whose members are in memory one at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from segsuite.data.transforms import Preprocessing
from segsuite.engines.devices import choose_device, choose_precision, in_fast_layout
from segsuite.engines.inference import WindowInference, predict_rows
from segsuite.engines.model_folder import ModelFolder, read_model_folder
from segsuite.errors import ModelError
from segsuite.files import hash_of_json
from segsuite.shapes import FloatArray, Image

__all__ = ["ModelPredictor", "open_predictor"]

BuildNetwork = Callable[[dict[str, Any]], nn.Module]
ROWS_PER_PART = 16


class ModelPredictor:
    """Fulfils ``engines.prediction.Predictor`` for model folders that hold ``network`` and ``inference`` arguments."""

    def __init__(self, model: ModelFolder, build_network: BuildNetwork, *, device: str) -> None:
        """Open; the weights of a single model are loaded at once, those of members when their turn comes.

        Args:
            model: A checked model folder.
            build_network: Constructor arguments to a network.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        """
        self.model, self.build_network = model, build_network
        self.device = choose_device(device)
        self.members = [read_model_folder(member) for member in model.members] or [model]
        self.preprocessing = Preprocessing.from_json(model.description["preprocessing"])
        self.structures = {value: name for name, value in model.labels.items() if value != 0}
        self.class_labels = tuple(int(value) for value in self.members[0].description["class_labels"])
        self.largest_component = self._agreed_components()
        self._network = self._load(self.members[0]) if len(self.members) == 1 else None

    @property
    def sha256(self) -> str:
        """Model and number format: what decides a mask."""
        precisions = [str(self._windows(member).precision) for member in self.members]
        return hash_of_json([self.model.sha256, precisions, self.device.type])

    def rows(self, image: Image) -> Iterator[FloatArray]:
        """Probabilities of a prepared image, in order of its first axis."""
        if self._network is not None:
            yield from predict_rows(self._network, image, self._windows(self.model))
            return
        n_classes = len(self.class_labels)
        with tempfile.TemporaryFile() as stream:
            # the sum over members is kept on disk: classes x volume may not fit into memory
            total = np.memmap(stream, dtype=np.float32, mode="w+", shape=(n_classes, *image.shape[1:]))
            for member in self.members:
                at = 0
                for part in predict_rows(self._load(member), image, self._windows(member)):
                    total[:, at : at + part.shape[1]] += part
                    at += part.shape[1]
            for at in range(0, image.shape[1], ROWS_PER_PART):
                yield np.asarray(total[:, at : at + ROWS_PER_PART]) / len(self.members)

    def _load(self, member: ModelFolder) -> nn.Module:
        network = self.build_network(member.description["network"])
        try:
            network.load_state_dict(member.weights())
        except RuntimeError as error:
            raise ModelError(
                f"{member.path} must hold the weights of its own network, got: {str(error).splitlines()[-1].strip()}. "
                "Export the model again."
            ) from error
        return in_fast_layout(network.to(self.device)).eval()

    def _windows(self, member: ModelFolder) -> WindowInference:
        inference = member.description["inference"]
        return WindowInference(
            patch_size=tuple(inference["patch_size"]),
            n_classes=len(self.class_labels),
            overlap=float(inference["overlap"]),
            mirror_axes=tuple(inference["mirror_axes"]),
            precision=choose_precision(inference["precision"], self.device),
            device=self.device,
        )

    def _agreed_components(self) -> tuple[int, ...]:
        """Labels that every member reduces to their largest component."""
        chosen = [set(member.description["inference"]["largest_component"]) for member in self.members]
        return tuple(sorted(set.intersection(*chosen)))


def open_predictor(path: Path, build_network: BuildNetwork, *, pipeline: str, device: str) -> ModelPredictor:
    """Open a model folder that a given pipeline made.

    Args:
        path: Model or run folder.
        build_network: Constructor arguments to a network.
        pipeline: Which pipeline must have made it.
        device: See ``ModelPredictor``.

    Returns:
        The predictor.

    Raises:
        ModelError: Made by another pipeline.
    """
    model = read_model_folder(path)
    if model.pipeline != pipeline:
        raise ModelError(f"{path} must be a model of `{pipeline}`, got one of `{model.pipeline}`.")
    return ModelPredictor(model, build_network, device=device)
