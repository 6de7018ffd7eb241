"""A model with its registered structures at work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from pipelines.fewshot.bank import Bank, is_novel
from pipelines.fewshot.network import OpenNetwork, build_network
from segsuite.engines.model_folder import ModelFolder
from segsuite.engines.model_predictor import ModelPredictor
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import ModelError, SettingsError
from segsuite.volumes.components import keep_largest_component, keep_largest_component_per_label
from segsuite.volumes.volume import Volume

__all__ = ["COMPETITIONS", "FewshotPredictor"]

COMPETITIONS = ("closed", "open")
PRESENT = 0.5


class FewshotPredictor(ModelPredictor):
    """Base structures exactly as without registration; new ones where the base found background (or in open competition)."""

    gives_probabilities = True

    def __init__(self, model: ModelFolder, *, device: str, overrides: Mapping[str, Any] | None = None) -> None:
        """Open.

        Args:
            model: A single model of this pipeline.
            device: See ``ModelPredictor``.
            overrides: See ``ModelPredictor``.

        Raises:
            ModelError: An ensemble.
            SettingsError: An unknown competition or rule.
        """
        if model.members:
            raise ModelError(f"{model.path} must be one model, got an ensemble. New structures are registered into one model.")
        self.bank = Bank.load(model.description["kernels"], model.weights())
        self.extra = self.bank.names
        super().__init__(model, build_network, device=device, overrides=overrides)
        self.options = self.inference(model)
        if self.options["competition"] not in COMPETITIONS:
            raise SettingsError(f"--set competition must be one of {COMPETITIONS}, got `{self.options['competition']}`.")

    @property
    def network(self) -> OpenNetwork:
        """The loaded network with its kernels."""
        assert isinstance(self._network, OpenNetwork)  # noqa: S101 - a single model is loaded at once
        return self._network

    def network_weights(self, member: ModelFolder) -> dict[str, Tensor]:
        """The base model's tensors."""
        return {name: tensor for name, tensor in member.weights().items() if not is_novel(name)}

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        """One image to base and new structures."""
        is_open = self.options["competition"] == "open" and bool(self.bank.structures)
        found = self.segment_box(volume, keep_probabilities=request.keep_probabilities or is_open)
        labels = keep_largest_component_per_label(found.labels, which=self.largest_component)
        if self.bank.structures:
            maps = np.stack([found.volumes[name] for name in self.bank.names])
            best, which = maps.max(axis=0), maps.argmax(axis=0)
            rival = found.probabilities[1:].max(axis=0) if is_open and found.probabilities is not None else None
            free = found.labels == 0 if rival is None else best > rival
            for number, structure in enumerate(self.bank.structures):
                mask = free & (which == number) & (best > PRESENT)
                labels[keep_largest_component(mask) if structure.largest_component else mask] = structure.label
        wanted = self.options["probability_maps"]
        probabilities = found.probabilities if request.keep_probabilities else None
        return replace(found, labels=labels, volumes=found.volumes if wanted else {}, probabilities=probabilities)

    def _load(self, member: ModelFolder) -> nn.Module:
        network = super()._load(member)
        options = self.inference(member)
        kernels = self.bank.kernels(
            rule=str(options["rule"]), ridge=float(options["ridge"]), calibrate=bool(options["calibrate"])
        )
        network.register_kernels(kernels)  # type: ignore[operator]
        return network
