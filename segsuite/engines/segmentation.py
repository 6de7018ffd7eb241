"""What a predictor offers and gives back, and the road from one image to a label map on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from segsuite.data.transforms import Preprocessing, prepare_image, region_box
from segsuite.engines.label_reduction import reduce_to_labels
from segsuite.shapes import FloatArray, Image, LabelMap
from segsuite.volumes.volume import Volume

__all__ = ["Predictor", "Request", "Segmentation", "segment_rows"]

Rows = Callable[[Image], Iterator[FloatArray]]
"""A prepared image (channels, i, j, k) to outputs (outputs, rows, j, k), in order of its first axis."""


@dataclass(frozen=True)
class Request:
    """What is asked for one case.

    Attributes:
        case_id: For messages.
        keep_probabilities: Also return one volume per class.
        force: Segment also what looks like another kind of image.
        attributes: What is known about the case (PSA, a box): from the manifest or from a table.
    """

    case_id: str = ""
    keep_probabilities: bool = False
    force: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One case, segmented; every array on the image's own grid.

    Attributes:
        labels: Integers (i, j, k); ``None``: no mask is made, the report is the result.
        probabilities: (classes, i, j, k) float16, if asked for.
        volumes: More volumes by name, each (i, j, k).
        report: What is written beside the mask as JSON; ``None``: nothing.
        notes: Sentences for the ledger and the report page.
        class_labels: The integer of each class of ``probabilities``.
    """

    labels: LabelMap | None
    probabilities: FloatArray | None = None
    volumes: Mapping[str, FloatArray] = field(default_factory=dict)
    report: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    class_labels: tuple[int, ...] = ()

    @property
    def mask(self) -> LabelMap:
        """The labels of a segmentation that has some.

        Raises:
            RuntimeError: It has none.
        """
        if self.labels is None:
            raise RuntimeError("A segmentation must have labels here, got one without: its predictor makes reports only.")
        return self.labels


class Predictor(Protocol):
    """What a pipeline hands to the batch engine."""

    @property
    def n_channels(self) -> int:
        """Of the image."""

    @property
    def structures(self) -> dict[int, str]:
        """Integer to name."""

    @property
    def sha256(self) -> str:
        """Changes when anything changes that can change an output."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        """Segment one image.

        Raises:
            InputError: The image cannot be segmented; the message says why.
        """


def segment_rows(
    volume: Volume,
    preprocessing: Preprocessing,
    rows: Rows,
    *,
    class_labels: Sequence[int],
    extra: Sequence[str] = (),
    box: tuple[slice, ...] | None = None,
    keep_probabilities: bool = False,
) -> Segmentation:
    """One image to its label map on its own grid: the road that all predictors share.

    Args:
        volume: Intensities on their own grid.
        preprocessing: What the network was trained with.
        rows: The network.
        class_labels: Integer written for each class.
        extra: Names of the outputs after the classes.
        box: Voxels that the network sees; ``None``: the region of ``preprocessing``. Outside all is background.
        keep_probabilities: Also return them.

    Returns:
        Labels, probabilities and the extra volumes (0 outside the box).
    """
    inside = region_box(volume, preprocessing.region_mm) if box is None else box
    part = volume.cropped(inside)
    image, network = prepare_image(part, replace(preprocessing, region_mm=None))
    reduced = reduce_to_labels(rows(image), network, part.grid, keep_probabilities=keep_probabilities, n_extra=len(extra))
    table = np.asarray(class_labels)
    labels: Any = table.astype(np.uint8 if table.max() <= 255 else np.uint16)[reduced.labels]
    shape = volume.grid.shape
    probabilities = None
    if reduced.probabilities is not None:
        probabilities = _placed(reduced.probabilities, inside, shape)
        probabilities[0] = _placed(reduced.probabilities[0], inside, shape, outside=1.0)
    volumes = {name: _placed(channel, inside, shape) for name, channel in zip(extra, reduced.extra, strict=True)}
    return Segmentation(_placed(labels, inside, shape), probabilities, volumes, class_labels=tuple(class_labels))


def _placed(part: Any, box: tuple[slice, ...], shape: tuple[int, ...], *, outside: float = 0.0) -> Any:
    """An array of the box in the whole field."""
    if part.shape[-3:] == tuple(shape):
        return part
    whole = np.full((*part.shape[:-3], *shape), outside, dtype=part.dtype)
    i, j, k = box
    whole[..., i, j, k] = part
    return whole
