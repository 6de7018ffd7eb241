"""A zone model at work: gate, region of interest, network, whole zones, uncertainty, report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.prostate_zones.case_report import describe_zones
from pipelines.prostate_zones.input_gate import doubts_about_gland, doubts_about_image
from pipelines.prostate_zones.network import build_network
from pipelines.prostate_zones.postprocess import tidy_zones
from segsuite.data.transforms import region_box
from segsuite.engines.model_predictor import ModelPredictor, model_of_pipeline
from segsuite.engines.segmentation import Request, Segmentation, segment_upright
from segsuite.errors import SettingsError, VolumeError
from segsuite.shapes import LabelMap
from segsuite.volumes.components import keep_largest_component
from segsuite.volumes.cropping import box_without_padding, centred_window
from segsuite.volumes.grid import Grid
from segsuite.volumes.orders import order_to_upright
from segsuite.volumes.volume import Volume

__all__ = ["REGIONS", "ZonePredictor", "load_predictor"]

REGIONS = ("centre", "search", "whole")
UNSHEARED = 1e-4
"""Share by which a voxel may be smaller than its edges say."""
BOX = re.compile(r"(\d+):(\d+),(\d+):(\d+),(\d+):(\d+)")


class ZonePredictor(ModelPredictor):
    """Segments T2w series. ``inference`` in ``model.json`` holds ``region``, ``post_processing``, ``uncertainty`` besides."""

    gives_probabilities = True
    extra = ("uncertainty",)

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        """One series to zones, uncertainty and report.

        Raises:
            VolumeError: It is no axial T2w series of a prostate, and ``request.force`` is not set; or its ``box`` is wrong.
        """
        doubts = doubts_about_image(volume)
        _refuse(doubts, request)
        order, shape = order_to_upright(volume.grid), volume.grid.shape
        given = _given_box(str(request.attributes["box"]), volume) if request.attributes.get("box") else None
        zones = partial(
            self._zones,
            grid=order.applied_grid(volume.grid),
            given=None if given is None else order.applied_box(given, shape),
            doubts=doubts,
        )
        found = segment_upright(volume, zones, request)
        report = dict(found.report or {})
        box = order.undone_box(tuple(slice(*part) for part in report["region"]["box"]), shape)
        region = {**report["region"], "box": [[part.start, part.stop] for part in box]}
        return replace(found, report={**report, "region": region})

    def _zones(
        self, scan: Volume, request: Request, *, grid: Grid, given: tuple[slice, ...] | None, doubts: list[str]
    ) -> Segmentation:
        """The same of the upright image, which lies on ``grid`` in the body; its boxes are in upright voxels."""
        options = self.inference(self.model if not self.model.members else self.members[0])
        box = self._box(scan, str(options["region"])) if given is None else given
        found = self.segment_box(scan, box=box, keep_probabilities=request.keep_probabilities, release=request.release)
        labels = found.mask
        if options["post_processing"]:
            labels = tidy_zones(labels, scan.spacing_mm, self.structures)
        uncertainty = found.volumes["uncertainty"]
        if np.isclose(grid.voxel_ml, scan.grid.voxel_ml, rtol=UNSHEARED):
            grid = scan.grid  # sizes without the dust of the header, which differs with the order of the axes
        report = describe_zones(labels, grid, self.structures, uncertainty=uncertainty, attributes=request.attributes, box=box)
        later = doubts_about_gland(report["gland_ml"], _offset_mm(labels, scan))
        _refuse(later, request)
        region = {"mode": options["region"], "box": [[part.start, part.stop] for part in box]}
        forced = tuple(f"forced although {doubt}" for doubt in (*doubts, *later))
        return replace(
            found,
            labels=labels,
            volumes=found.volumes if options["uncertainty"] else {},
            report={**report, "region": region, "forced": list(forced)},
            notes=(*forced, *report["warnings"]),
        )

    def _box(self, volume: Volume, mode: str) -> tuple[slice, ...]:
        """The voxels that the network looks at, as the mode says."""
        if mode not in REGIONS:
            raise SettingsError(f"--set region must be one of {REGIONS}, got `{mode}`.")
        everything = box_without_padding(volume.array)
        centre = region_box(volume, self.preprocessing.region_mm)
        if mode == "whole" or self.preprocessing.region_mm is None:
            return everything
        if mode == "centre":
            return centre
        gland = keep_largest_component(self.segment_box(volume, box=everything).labels > 0)
        if not gland.any():
            return centre
        middle = tuple(round(float(at)) for at in np.argwhere(gland).mean(axis=0))
        size = tuple(part.stop - part.start for part in centre)
        shape = tuple(part.stop - part.start for part in everything)
        inner = centred_window(tuple(at - part.start for at, part in zip(middle, everything, strict=True)), size, shape)
        return tuple(slice(part.start + at.start, part.start + at.stop) for part, at in zip(everything, inner, strict=True))


def _refuse(doubts: list[str], request: Request) -> None:
    if doubts and not request.force:
        raise VolumeError(
            f"case {request.case_id}: this does not look like an axial T2w series of a prostate: {'; '.join(doubts)}. "
            "Give another series, or --force to segment it all the same."
        )


def _given_box(text: str, volume: Volume) -> tuple[slice, ...]:
    match = BOX.fullmatch(text.replace(" ", ""))
    numbers: list[Any] = [int(number) for number in match.groups()] if match else []
    box = tuple(slice(low, high) for low, high in zip(numbers[::2], numbers[1::2], strict=True))
    if not match or any(part.start >= part.stop or part.stop > n for part, n in zip(box, volume.grid.shape, strict=True)):
        raise VolumeError(
            f"{volume.path}: `box` must be i0:i1,j0:j1,k0:k1 in voxels of the image {volume.grid.shape}, got `{text}`."
        )
    return box


def _offset_mm(labels: LabelMap, volume: Volume) -> float:
    """Distance of the gland's centre from the foot-head axis through the middle of the upright field; 0 without a gland."""
    if not labels.any():
        return 0.0
    middle = (np.asarray(labels.shape) - 1) / 2
    apart = (np.argwhere(labels > 0).mean(axis=0) - middle) * np.asarray(volume.spacing_mm)
    return float(np.linalg.norm(apart[:2]))


def load_predictor(model: Path, *, device: str, overrides: Mapping[str, Any]) -> ZonePredictor:
    """See ``segsuite.pipeline.Opener``."""
    return ZonePredictor(model_of_pipeline(model, pipeline="prostate_zones"), build_network, device=device, overrides=overrides)
