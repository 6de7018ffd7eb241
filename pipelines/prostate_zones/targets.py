"""What a patch's label says besides the label: which zones are known, and how far their surfaces are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.prostate_zones.losses import DISTANCE_LIMIT_MM
from segsuite.data.cache import PreparedCase
from segsuite.shapes import Spacing
from segsuite.volumes.distances import signed_distance_mm

__all__ = ["ZoneTargets"]


@dataclass(frozen=True)
class ZoneTargets:
    """Computes the targets of one patch.

    Attributes:
        names: Of the classes, background first.
        spacing_mm: Voxel size of the network's grid.
        with_distances: Whether signed distances are wanted.
    """

    names: tuple[str, ...]
    spacing_mm: Spacing
    with_distances: bool

    def __call__(self, case: PreparedCase, label: np.ndarray) -> dict[str, np.ndarray]:
        """Targets of a patch.

        Args:
            case: Where the patch is from.
            label: (i, j, k) class indices, -1 where nothing is scored.

        Returns:
            ``labelled`` (classes) boolean: whether the case's mask shows the class; ``distances`` (zones, i, j, k) float32
            in mm, positive inside, if wanted.
        """
        known = case.case.labelled
        labelled = np.array([known is None or name in known or index == 0 for index, name in enumerate(self.names)])
        if not self.with_distances:
            return {"labelled": labelled}
        zones = range(1, len(self.names))
        distances = [signed_distance_mm(label == zone, self.spacing_mm, limit_mm=DISTANCE_LIMIT_MM) for zone in zones]
        return {"labelled": labelled, "distances": np.stack(distances)}
