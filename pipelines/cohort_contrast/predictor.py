"""A trained contrast at work on one scan: a score, how rare it is, a map of where it comes from, the salient region."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.cohort_contrast.maps import integrated_gradients, occlusion, salient_region
from pipelines.cohort_contrast.network import TwoBranches, build_network
from pipelines.cohort_contrast.scoring import Reference
from pipelines.cohort_contrast.subjects import fixed_window, placed_back, within_mask
from segsuite.data.transforms import Preprocessing, prepare_image, prepare_labels
from segsuite.engines.backends import REFERENCE
from segsuite.engines.devices import choose_device
from segsuite.engines.model_folder import ModelFolder, load_own_weights
from segsuite.engines.model_predictor import check_overrides, model_of_pipeline
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import SettingsError, VolumeError, closest_hint
from segsuite.files import hash_of_json
from segsuite.shapes import Image
from segsuite.volumes.grid import resample
from segsuite.volumes.orders import order_to_upright, upright, upright_grid, upright_mask
from segsuite.volumes.reading import read_labels
from segsuite.volumes.volume import Volume

__all__ = ["MAPS", "CohortPredictor", "load_predictor", "saliency_of"]

MAPS = ("gradients", "occlusion", "none")
REGION = 1
LEAST_SPREAD = 1e-3


class CohortPredictor:
    """Fulfils ``engines.segmentation.Predictor``. With ``maps=none`` no mask is made, the report alone."""

    def __init__(self, model: ModelFolder, *, device: str, overrides: Mapping[str, Any] | None = None) -> None:
        """Open.

        Args:
            model: A checked model folder of this pipeline.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            overrides: Values of ``inference`` in ``model.json`` to use instead.

        Raises:
            SettingsError: An override that the model does not have, or of another type.
            ModelError: The weights are not of this network.
        """
        self.model, self.overrides = model, dict(overrides or {})
        check_overrides(model, self.overrides)
        self.options = {**model.description["inference"], **self.overrides}
        if self.options["maps"] not in MAPS:
            raise SettingsError(
                f"--set maps must be one of {MAPS}, got `{self.options['maps']}`. {closest_hint(str(self.options['maps']), MAPS)}"
            )
        self.device = choose_device(device)
        self.preprocessing = Preprocessing.from_json(model.description["preprocessing"])
        self.structures = {value: name for name, value in model.labels.items() if value != 0}
        tensors = model.weights()
        kept = {name: tensors.pop(name) for name in list(tensors) if name.startswith("reference.")}
        self.network: TwoBranches = build_network(model.description["network"])
        load_own_weights(self.network, tensors, model=model)
        self.network = self.network.to(self.device).eval().requires_grad_(False)
        self.baseline = kept["reference.baseline"].to(self.device)
        self.healthy_map = kept["reference.healthy_map"].numpy()
        people = model.description["reference"]
        self.reference = Reference(
            np.asarray(people["healthy_scores"]),
            people["healthy_subjects"],
            kept["reference.common"].numpy(),
            kept["reference.salient"].numpy(),
            people["subjects"],
            float("inf") if people["outlying_distance"] is None else float(people["outlying_distance"]),
        )
        self.subject_of = dict(people["subject_of_case"])

    @property
    def n_at_once(self) -> int:
        """One: a scan is scored faster than it is read, and its map needs gradients."""
        return 1

    @property
    def computed_by(self) -> str:
        """For the record: torch, and where."""
        return f"{REFERENCE.name} on {self.device}"

    @property
    def n_channels(self) -> int:
        """Of the image."""
        return len(self.preprocessing.normalisation)

    @property
    def sha256(self) -> str:
        """Model, device and options."""
        return hash_of_json([self.model.sha256, self.device.type, self.options])

    def window(self, volume: Volume, mask: str | Path | None = None) -> tuple[Image, tuple[int, ...], Any]:
        """What the network sees of a volume.

        Args:
            volume: Intensities on their own grid.
            mask: File of the organ's mask, for models that were trained within one.

        Returns:
            (channels, i, j, k) of the model's shape, the shape of the prepared image, and its grid beside that of the
            upright volume.

        Raises:
            VolumeError: The model was trained within masks and none is given.
            GridError: The mask lies on another grid.
        """
        image, grid = prepare_image(upright(volume)[0], self.preprocessing)
        if self.model.description["within_label"]:
            if not mask:
                raise VolumeError(
                    f"{volume.path} must come with its organ's mask, which this model was trained within, got none. Give a "
                    "manifest with masks to `segsuite cohort`, or --attributes TABLE with a column `mask` to `segsuite predict`."
                )
            labels = upright_mask(read_labels(Path(mask)), volume.grid, names=(str(volume.path), str(mask)))
            image = within_mask(image, prepare_labels(labels, grid), name=str(mask))
        shape: Any = tuple(self.model.description["network"]["spatial_shape"])
        return fixed_window(image, shape), image.shape[1:], grid

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        """Score and map of one scan; the salient region is empty unless the score stands out among healthy subjects."""
        window, shape, grid = self.window(volume, request.attributes.get("mask"))
        image = torch.from_numpy(window).to(self.device)
        with torch.inference_mode():
            found = self.network(image[None])
        score = float(found.salient_head.norm(dim=1)[0])
        common, salient = found.common[0].cpu().numpy(), found.salient[0].cpu().numpy()
        report: dict[str, Any] = self.reference.report(score, common, salient, subject=self.subject_of.get(request.case_id, ""))
        flags = list(self._flags(volume, window, report))
        report |= {"flags": flags, "stands_out": self._stands_out(report), "use": "deviation score, research use only"}
        report |= {"common": [round(float(v), 5) for v in common], "salient": [round(float(v), 5) for v in salient]}
        if self.options["maps"] == "none":
            return Segmentation(None, report=report, notes=tuple(flags))
        saliency = saliency_of(self.network, image, self.baseline, self.options).cpu().numpy() - self.healthy_map
        region = salient_region(saliency, share=float(self.options["region_share"])) & bool(report["stands_out"])
        native, order = upright_grid(volume.grid), order_to_upright(volume.grid)
        back = resample(placed_back(saliency, shape)[None], grid, native, interpolation="linear")[0]
        labels: Any = resample(placed_back(region.astype(np.uint8), shape), grid, native, interpolation="label")
        volumes = {"saliency": np.ascontiguousarray(order.undone(np.asarray(back, np.float32)))}
        return Segmentation(np.ascontiguousarray(order.undone(labels)), volumes=volumes, report=report, notes=tuple(flags))

    def _stands_out(self, report: Mapping[str, Any]) -> bool:
        """Whether few enough held-out healthy subjects reach the score; without such subjects nobody can say, and it does."""
        if report["p"] is None:
            return True
        least = 1 / (len(self.reference.healthy_scores) + 1)
        return bool(report["p"] <= max(float(self.options["alpha"]), least + 1e-9))

    def _flags(self, volume: Volume, window: Image, report: Mapping[str, Any]) -> list[str]:
        """What makes a score doubtful."""
        flags = []
        if report["unlike_training"]:
            flags.append("unlike the training scans in what is common: the score may mean another scanner or body part")
        if float(window.std()) < LEAST_SPREAD:
            flags.append("nothing varies within the field that the network sees")
        covered = [n * mm for n, mm in zip(volume.grid.shape, volume.spacing_mm, strict=True)]
        needed = [n * mm for n, mm in zip(window.shape[1:], self.preprocessing.spacing_mm or (1, 1, 1), strict=True)]
        if min(sorted(covered)[i] / sorted(needed)[i] for i in range(3)) < 0.5:
            flags.append("the scan covers less than half of the field that the network sees")
        return flags


def saliency_of(network: TwoBranches, image: torch.Tensor, baseline: torch.Tensor, options: Mapping[str, Any]) -> torch.Tensor:
    """The map that the options name.

    Args:
        network: Trained, in evaluation mode.
        image: (channels, ...).
        baseline: Same shape.
        options: ``maps`` and ``steps``.

    Returns:
        (...).
    """
    if options["maps"] == "occlusion":
        return occlusion(network, image, baseline)
    return integrated_gradients(network, image, baseline, steps=int(options["steps"]))


def load_predictor(model: Path, *, device: str, overrides: Mapping[str, Any]) -> CohortPredictor:
    """See ``segsuite.pipeline.Opener``."""
    return CohortPredictor(model_of_pipeline(model, pipeline="cohort_contrast"), device=device, overrides=overrides)
