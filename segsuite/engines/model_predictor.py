"""A model folder as a predictor: one network, or an ensemble whose members are in memory one at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segsuite.data.transforms import Preprocessing
from segsuite.engines.backends import Backend, Forward, choose_backend, open_backend
from segsuite.engines.devices import choose_device, in_fast_layout
from segsuite.engines.inference import WindowInference, predict_rows
from segsuite.engines.model_folder import ModelFolder, load_own_weights, read_model_folder
from segsuite.engines.segmentation import Request, RowSource, Segmentation, segment_rows, segment_upright
from segsuite.errors import ModelError, SettingsError, closest_hint
from segsuite.files import hash_of_json
from segsuite.shapes import Image, Size, row_order
from segsuite.volumes.components import keep_largest_component_per_label
from segsuite.volumes.volume import Volume

__all__ = ["ModelPredictor", "check_overrides", "model_of_pipeline"]

BuildNetwork = Callable[[dict[str, Any]], nn.Module]
ROWS_PER_PART = 16
MOST_AT_ONCE = 8
AUTO = "auto"


class ModelPredictor:
    """Fulfils ``engines.segmentation.Predictor`` for model folders that hold ``network`` and ``inference`` arguments."""

    gives_probabilities = False
    """Whether the networks give probabilities, not logits."""
    extra: tuple[str, ...] = ()
    """Names of the networks' outputs after the classes."""
    network_settings: tuple[str, ...] = ()
    """Keys of ``inference`` that change the network itself; with one of them overridden, torch runs it."""

    def __init__(
        self, model: ModelFolder, build_network: BuildNetwork, *, device: str, overrides: Mapping[str, Any] | None = None
    ) -> None:
        """Open; the weights of a single model are loaded at once, those of members when their turn comes.

        Args:
            model: A checked model folder.
            build_network: Constructor arguments to a network.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            overrides: Values of ``inference`` in ``model.json`` to use instead; besides, ``backend``: ``auto``, or by what the
                network is run.

        Raises:
            SettingsError: An override that the model does not have, or of another type.
        """
        self.overrides = dict(overrides or {})
        self.wished_backend = str(self.overrides.pop("backend", AUTO))
        self.model, self.build_network = model, build_network
        self.device = choose_device(device)
        self.members = [read_model_folder(member) for member in model.members] or [model]
        self.preprocessing = Preprocessing.from_json(model.description["preprocessing"])
        self.structures = {value: name for name, value in model.labels.items() if value != 0}
        self.class_labels = tuple(int(value) for value in self.members[0].description["class_labels"])
        self.regions = self.members[0].regions
        for member in self.members:
            check_overrides(member, self.overrides)
        self.largest_component = self._agreed_components()
        self._backends: dict[Path, Backend] = {}
        self._network = self._load(self.members[0]) if len(self.members) == 1 else None
        self._forward = None if self._network is None else self._runner(self.members[0], self._network)

    @property
    def sha256(self) -> str:
        """Model and number format: what decides a mask.

        Where the choice of the format is left to the machine, all count as one: nodes of a cluster differ, and what one of them
        has done is not done again on another. The ledger keeps which it was.
        """
        formats = [AUTO if self._is_free(member) else str(self.backend(member).dtype) for member in self.members]
        return hash_of_json([self.model.sha256, formats, self.device.type, self.overrides])

    @property
    def computed_by(self) -> str:
        """For the record: how the members' networks run, and where."""
        names = sorted({self.backend(member).name for member in self.members})
        return f"{', '.join(names)} on {self.device}"

    @property
    def n_channels(self) -> int:
        """Of the image."""
        return len(self.preprocessing.normalisation)

    @property
    def n_classes(self) -> int:
        """Outputs of the network that decide: classes with background, or regions."""
        return len(self.class_labels) if self.regions is None else len(self.regions)

    @property
    def n_at_once(self) -> int:
        """One on a CPU, whose cores a single case uses all; on a GPU as many as there are threads, at most 8."""
        return min(MOST_AT_ONCE, torch.get_num_threads()) if self.device.type == "cuda" else 1

    @property
    def n_inputs(self) -> int:
        """Channels that the network sees: those of the image, and where the model wants it, the place in the body."""
        return self.n_channels + 3 * self.preprocessing.with_place

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        """One image to its labels on its own grid, the same ones in whatever order its file stores the axes."""
        return segment_upright(volume, self.segment_scan, request)

    def segment_scan(self, volume: Volume, request: Request) -> Segmentation:
        """What ``segment`` does with the upright image: pipelines that do more than this do it here."""
        found = self.segment_box(volume, keep_probabilities=request.keep_probabilities, release=request.release)
        if found.regions is not None and found.region_codes is not None:
            which = tuple(map(str, self.largest_component))
            codes = found.regions.with_largest_components(found.region_codes, which=which)
            labels = found.regions.written(codes) if which else found.labels
            return replace(found, labels=labels, region_codes=codes if request.keep_regions else None)
        return replace(found, labels=keep_largest_component_per_label(found.mask, which=self.largest_component))

    def segment_box(
        self, volume: Volume, *, box: tuple[slice, ...] | None = None, keep_probabilities: bool = False, release: bool = False
    ) -> Segmentation:
        """Labels of the voxels in a box as the network gives them.

        Args:
            volume: Intensities on their own grid.
            box: One slice per axis; ``None``: the region that the model was trained on.
            keep_probabilities: Also return them.
            release: Give up the voxels once they are prepared.

        Returns:
            Labels and extra volumes on the image's own grid.
        """
        return segment_rows(
            volume,
            self.preprocessing,
            RowSource(self.rows, self._parts),
            class_labels=self.class_labels if self.regions is None else self.regions,
            extra=self.extra,
            box=box,
            keep_probabilities=keep_probabilities,
            release=release,
        )

    def inference(self, member: ModelFolder) -> dict[str, Any]:
        """How a member is applied: as in its folder, with the overrides."""
        return {**member.description["inference"], **self.overrides}

    def rows(self, image: Image, axis: int = 0, columns: slice | None = None) -> Iterator[Tensor]:
        """Probabilities of a prepared image, in order of one axis; see ``predict_rows``."""
        if self._forward is not None:
            yield from predict_rows(self._forward, image, self.windows(self.model), axis=axis, columns=columns)
            return
        n_outputs = self.n_classes + len(self.extra)
        shape = [image.shape[1 + other] for other in row_order(axis)]
        if columns is not None:
            shape[1] = columns.stop - columns.start
        with tempfile.TemporaryFile() as stream:
            # the sum over members is kept on disk: classes x volume may not fit into memory
            total = np.memmap(stream, dtype=np.float32, mode="w+", shape=(n_outputs, *shape))
            for member in self.members:
                at = 0
                forward = self._runner(member, self._load(member))
                for part in predict_rows(forward, image, self.windows(member), axis=axis, columns=columns):
                    total[:, at : at + part.shape[1]] += part.cpu().numpy()
                    at += part.shape[1]
            for at in range(0, shape[0], ROWS_PER_PART):
                yield torch.from_numpy(total[:, at : at + ROWS_PER_PART] / len(self.members))

    def _parts(self, shape: Size, axis: int) -> list[slice]:
        return max((self.windows(member).parts(shape, axis=axis) for member in self.members), key=len)

    def first_network(self) -> nn.Module:
        """The network, of an ensemble that of its first member."""
        return self._network if self._network is not None else self._load(self.members[0])

    def first_forward(self) -> Forward:
        """What runs it, to measure what it takes."""
        return self._forward if self._forward is not None else self._runner(self.members[0], self.first_network())

    def backend(self, member: ModelFolder) -> Backend:
        """By what a member's network is run."""
        if member.path not in self._backends:
            windows = self._windows(member)
            self._backends[member.path] = choose_backend(
                member,
                lambda: self.first_network() if len(self.members) == 1 else self._load(member),
                wish=self._wished_backend(),
                precision=str(self.inference(member)["precision"]),
                device=self.device,
                shape=(windows.windows_per_pass, self.n_inputs, *windows.patch_size),
            )
        return self._backends[member.path]

    def _is_free(self, member: ModelFolder) -> bool:
        return self.wished_backend == AUTO and self.inference(member)["precision"] == AUTO

    def network_weights(self, member: ModelFolder) -> dict[str, Tensor]:
        """The tensors of a member that belong to its network."""
        return member.weights()

    def _load(self, member: ModelFolder) -> nn.Module:
        network = self.build_network(member.description["network"])
        load_own_weights(network, self.network_weights(member), model=member)
        return in_fast_layout(network.to(self.device)).eval()

    def _runner(self, member: ModelFolder, network: nn.Module) -> Forward:
        return open_backend(self.backend(member), network, member)

    def _wished_backend(self) -> str:
        """As the user wants it; a network other than the judged one is run by torch."""
        changed = [key for key in self.network_settings if key in self.overrides]
        if changed and not self.wished_backend.startswith(("auto", "torch")):
            raise SettingsError(
                f"--set backend={self.wished_backend} must have the network as it was exported, got --set {changed[0]}, "
                "which changes it. Leave one of them away."
            )
        return "torch" if changed and self.wished_backend == "auto" else self.wished_backend

    def windows(self, member: ModelFolder) -> WindowInference:
        """How a member is applied to a prepared image."""
        return replace(self._windows(member), precision=self.backend(member).dtype)

    def _windows(self, member: ModelFolder) -> WindowInference:
        inference = self.inference(member)
        return WindowInference(
            patch_size=tuple(inference["patch_size"]),
            n_classes=self.n_classes,
            overlap=float(inference["overlap"]),
            mirror_axes=tuple(inference["mirror_axes"]),
            device=self.device,
            gives_probabilities=self.gives_probabilities,
            n_extra=len(self.extra),
            sigmoid=self.regions is not None,
        )

    def _agreed_components(self) -> tuple[Any, ...]:
        """Labels (of regions their names) that every member reduces to their largest component.

        Raises:
            SettingsError: A name of no region.
        """
        chosen = [set(self.inference(member)["largest_component"]) for member in self.members]
        agreed = tuple(sorted(set.intersection(*chosen)))
        names = agreed if self.regions is None else self.regions.names
        for word in agreed:
            if word not in names:
                raise SettingsError(f"--set largest_component must name regions, got `{word}`. {closest_hint(str(word), names)}")
        return agreed


def model_of_pipeline(path: Path, *, pipeline: str) -> ModelFolder:
    """A model folder that a given pipeline made.

    Args:
        path: Model or run folder.
        pipeline: Which pipeline must have made it.

    Returns:
        The checked folder.

    Raises:
        ModelError: Made by another pipeline.
    """
    model = read_model_folder(path)
    if model.pipeline != pipeline:
        raise ModelError(f"{path} must be a model of `{pipeline}`, got one of `{model.pipeline}`.")
    return model


def check_overrides(member: ModelFolder, overrides: Mapping[str, Any]) -> None:
    """Check that a model has what a user wants to override, and that the values are of the same kind.

    Args:
        member: A model folder with ``inference`` in its description.
        overrides: Key to value.

    Raises:
        SettingsError: An unknown key, or a value of another type.
    """
    known = member.description["inference"]
    for key, value in overrides.items():
        if key not in known:
            raise SettingsError(f"--set must name how the model is applied, got `{key}`. {closest_hint(key, known)}")
        before = known[key]
        same = isinstance(value, type(before)) or (isinstance(before, float) and isinstance(value, int))
        if before is not None and (not same or isinstance(value, bool) != isinstance(before, bool)):
            raise SettingsError(f"--set {key} must be like {before!r}, got {value!r}.")
