"""A predictor for tests that run in other processes: calls bright voxels structure 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch  # noqa: F401 - loaded before the first case, as by every real model: its time counts for no case

from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.segmentation import Request, RowSource, Segmentation, segment_rows
from segsuite.volumes.volume import Volume

__all__ = ["CallsBright"]


class CallsBright:
    """Those that say more, or get into trouble, inherit from it."""

    structures = {1: "bright"}
    n_channels = 1
    n_at_once = 1
    computed_by = "nothing on cpu"
    sha256 = "v1"

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        return segment_rows(volume, Preprocessing(None, (Normalisation(),)), RowSource(self.rows), class_labels=(0, 1))

    def rows(self, image: np.ndarray, axis: int, columns: slice) -> Iterator[np.ndarray]:
        for row in np.moveaxis(image[0], axis, 0)[:, columns]:
            yield np.stack([row <= 1, row > 1])[:, None].astype(np.float32)
