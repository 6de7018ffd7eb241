"""A model with its registered structures at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.fewshot.bank import Bank, Structure, is_novel
from pipelines.fewshot.kernels import Array
from pipelines.fewshot.network import Bias, KernelNetwork, OpenNetwork, build_network
from pipelines.fewshot.rules import BaseKernels, Rule, blended_base
from segsuite.engines.model_folder import ModelFolder
from segsuite.engines.model_predictor import ModelPredictor, model_of_pipeline
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import ModelError, SettingsError
from segsuite.shapes import LabelMap
from segsuite.volumes.components import keep_largest_component, keep_largest_component_per_label
from segsuite.volumes.volume import Volume

__all__ = ["COMPETITIONS", "UNKNOWN", "FewshotPredictor", "load_predictor", "wins_in_the_open", "with_new"]

COMPETITIONS = ("closed", "open")
PRESENT = 0.5
UNKNOWN = "unknown_foreground"
"""Name of the volume of objects that no base class took."""
LEAST_SHARE = 0.25
"""Of the smallest support's volume; a structure found smaller than that is noted."""


class FewshotPredictor(ModelPredictor):
    """Base structures exactly as without registration; new ones where the base found background (or in open competition)."""

    gives_probabilities = True
    network_settings = ("rule", "ridge", "calibrate", "prototypes", "bias", "bias_threshold", "bias_size")

    def __init__(self, model: ModelFolder, *, device: str, overrides: Mapping[str, Any] | None = None) -> None:
        """Open.

        Args:
            model: A single model of this pipeline.
            device: See ``ModelPredictor``.
            overrides: See ``ModelPredictor``.

        Raises:
            ModelError: An ensemble, or a model of an older version.
            SettingsError: An unknown competition or rule, or a map of objects that the model does not see.
        """
        if model.members:
            raise ModelError(f"{model.path} must be one model, got an ensemble. New structures are registered into one model.")
        if "flipped_axes" not in model.description:
            raise ModelError(f"{model.path} must be a model of this version, got one of an older segsuite. Train it again.")
        self.bank = Bank.load(model.description["kernels"], model.weights())
        sees_objects = bool(model.description["network"]["foreground"])
        self.extra = (*self.bank.names, UNKNOWN) if sees_objects else self.bank.names
        self.rule = Rule.of({**model.description["inference"], **(overrides or {})})
        super().__init__(model, build_network, device=device, overrides=overrides)
        self.options = self.inference(model)
        if self.options["foreground_map"] and not sees_objects:
            raise SettingsError("--set foreground_map must have a model trained with `foreground.weight=1`, got one without.")
        if self.options["competition"] not in COMPETITIONS:
            raise SettingsError(f"--set competition must be one of {COMPETITIONS}, got `{self.options['competition']}`.")

    @property
    def network(self) -> OpenNetwork:
        """The loaded network with its kernels."""
        assert isinstance(self._network, OpenNetwork)  # noqa: S101 - a single model is loaded at once
        return self._network

    @property
    def base(self) -> BaseKernels:
        """What rules may know of the base model."""
        return _base_kernels(self.network.network)

    def network_weights(self, member: ModelFolder) -> dict[str, Tensor]:
        """The base model's tensors."""
        return {name: tensor for name, tensor in member.weights().items() if not is_novel(name)}

    def segment_scan(self, volume: Volume, request: Request) -> Segmentation:
        """One image to base and new structures."""
        is_open = self.options["competition"] == "open" and bool(self.bank.structures)
        keep = request.keep_probabilities or is_open
        found = self.segment_box(volume, keep_probabilities=keep, release=request.release)
        labels = keep_largest_component_per_label(found.mask, which=self.largest_component)
        if self.bank.structures:
            maps = np.stack([found.volumes[name] for name in self.bank.names])
            labels = with_new(labels, found.mask, maps, self.bank.structures, found.probabilities if is_open else None)
        shown = {UNKNOWN} if self.options["foreground_map"] else set()
        shown |= set(self.bank.names) if self.options["probability_maps"] else set()
        volumes = {name: volume for name, volume in found.volumes.items() if name in shown}
        probabilities = found.probabilities if request.keep_probabilities else None
        notes = (*found.notes, *self._doubts(labels, volume))
        return replace(found, labels=labels, volumes=volumes, probabilities=probabilities, notes=notes)

    def _doubts(self, labels: LabelMap, volume: Volume) -> list[str]:
        """New structures that are far smaller than in every support: often a scan whose contrast is another one."""
        spacing_mm = self.preprocessing.spacing_mm
        if spacing_mm is None:
            return []
        doubts = []
        for structure in self.bank.structures:
            found = np.count_nonzero(labels == structure.label) * float(np.prod(volume.spacing_mm)) / 1000
            least = min(support.counts[0] for support in structure.supports) * float(np.prod(spacing_mm)) / 1000
            if found < LEAST_SHARE * least:
                doubts.append(
                    f"{structure.name}: {found:.1f} ml, in the supports at least {least:.1f} ml; is the contrast the same?"
                )
        return doubts

    def _load(self, member: ModelFolder) -> nn.Module:
        network = super()._load(member)
        assert isinstance(network, OpenNetwork)  # noqa: S101 - this is what build_network gives
        options = self.inference(member)
        base = _base_kernels(network.network)
        moved = None
        if self.rule.rule == "blended" and self.bank.structures:
            supports = [support for structure in self.bank.structures for support in structure.supports]
            moved = torch.from_numpy(blended_base(base.directions, supports))
        bias = Bias(str(options["bias"]), float(options["bias_threshold"]), float(options["bias_size"]))
        network.register_kernels(self.bank.kernels(self.rule, base), bias=bias, base=moved)
        return network


def with_new(
    labels: LabelMap,
    base: LabelMap,
    maps: NDArray[Any],
    structures: Sequence[Structure],
    probabilities: NDArray[Any] | None = None,
) -> LabelMap:
    """Put new structures into a label map.

    Args:
        labels: Base structures after post-processing, (i, j, k).
        base: The same before it: what the base model won.
        maps: Probability of each new structure rather than background, (new, i, j, k).
        structures: In the order of the maps.
        probabilities: Softmax over background and base classes, for open competition; ``None``: base structures stay.

    Returns:
        A new label map.
    """
    best, which = maps.max(axis=0), maps.argmax(axis=0)
    free = base == 0 if probabilities is None else wins_in_the_open(best, probabilities)
    result = labels.copy()
    for number, structure in enumerate(structures):
        mask = free & (which == number) & (best > PRESENT)
        result[keep_largest_component(mask) if structure.largest_component else mask] = structure.label
    return result


def wins_in_the_open(probability: NDArray[Any], base: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a new structure has the largest of all logits: its odds against background, times background's probability.

    Args:
        probability: Of the new structure rather than background, (i, j, k).
        base: Softmax over background and base classes, (1 + base, i, j, k).

    Returns:
        (i, j, k).
    """
    odds = probability.astype(np.float32) / np.maximum(1 - probability.astype(np.float32), 1e-3)
    rivals: NDArray[np.bool_] = odds * base[0] > base.max(axis=0)
    return rivals


def _base_kernels(network: KernelNetwork) -> BaseKernels:
    directions = F.normalize(network.kernels.detach().double(), dim=1, eps=1e-12).cpu().numpy()
    if network.update is None:
        return BaseKernels(directions)
    gate = network.update

    def update(prototype: Array) -> Array:
        with torch.no_grad():
            same = torch.from_numpy(prototype).float()[None].to(network.kernels.device)
            made: Array = gate(same, same)[0].double().cpu().numpy()
        return made

    return BaseKernels(directions, update)


def load_predictor(model: Path, *, device: str, overrides: Mapping[str, Any]) -> FewshotPredictor:
    """See ``segsuite.pipeline.Opener``."""
    return FewshotPredictor(model_of_pipeline(model, pipeline="fewshot"), device=device, overrides=overrides)
