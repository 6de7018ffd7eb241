"""What a predictor offers and gives back, and the road from one image to a label map on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segsuite.data.transforms import Preprocessing, prepare_image, region_box
from segsuite.shapes import FloatArray, Image, LabelMap, Size
from segsuite.volumes.orders import Order, order_to_upright, upright
from segsuite.volumes.volume import Volume

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Predictor", "Request", "RowSource", "Segmentation", "row_axis", "segment_rows", "segment_upright"]

LONGER = 1.2
"""Rows come along another axis than the first where that one is so much longer: fewer are held at a time."""


def _at_once(shape: Size, axis: int) -> Sequence[slice] | None:
    return None


@dataclass(frozen=True)
class RowSource:
    """A network, as ``segment_rows`` asks it.

    Attributes:
        rows: A prepared image (channels, i, j, k), the axis of the rows and columns of the first other axis, to outputs
            (outputs, rows, columns, third axis), in order of the rows; tensors on any device, or arrays.
        parts: Shape of the image and axis to the columns that are asked for together; ``None``: all.
    """

    rows: Callable[[Image, int, slice], Iterator[Tensor | FloatArray]]
    parts: Callable[[Size, int], Sequence[slice] | None] = _at_once


@dataclass(frozen=True)
class Request:
    """What is asked for one case.

    Attributes:
        case_id: For messages.
        keep_probabilities: Also return one volume per class.
        force: Segment also what looks like another kind of image.
        attributes: What is known about the case (PSA, a box): from the manifest or from a table.
        release: The voxels of the volume may be given up as soon as they are prepared: memory is short.
    """

    case_id: str = ""
    keep_probabilities: bool = False
    force: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    release: bool = False


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
    def n_at_once(self) -> int:
        """Cases that may be segmented at the same time, each in a thread of its own; 1: one after the other."""

    @property
    def computed_by(self) -> str:
        """Engine, number format and device, for the record."""

    @property
    def sha256(self) -> str:
        """Changes when anything changes that can change an output."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        """Segment one image.

        Raises:
            InputError: The image cannot be segmented; the message says why.
        """


def segment_upright(volume: Volume, segment: Callable[[Volume], Segmentation], *, release: bool = False) -> Segmentation:
    """Segment an image in RAS+ order, so that the same scan gets the same mask in whatever order a file stores its axes.

    Args:
        volume: Intensities on their own grid.
        segment: Sees the upright image; see ``volumes.orders.upright``.
        release: Give up the voxels of the volume; ``segment`` gives up those that it gets.

    Returns:
        What ``segment`` found, on the image's own grid.
    """
    scan, order = upright(volume)
    if release and scan is not volume:
        volume.release()
    found = segment(scan)
    return found if order.is_identity else _undone(found, order)


def _undone(found: Segmentation, order: Order) -> Segmentation:
    labels = None if found.labels is None else np.ascontiguousarray(order.undone(found.labels))
    kept = None if found.probabilities is None else np.ascontiguousarray(order.undone(found.probabilities))
    volumes = {name: np.ascontiguousarray(order.undone(volume)) for name, volume in found.volumes.items()}
    return replace(found, labels=labels, probabilities=kept, volumes=volumes)


def segment_rows(
    volume: Volume,
    preprocessing: Preprocessing,
    source: RowSource,
    *,
    class_labels: Sequence[int],
    extra: Sequence[str] = (),
    box: tuple[slice, ...] | None = None,
    keep_probabilities: bool = False,
    release: bool = False,
) -> Segmentation:
    """One image to its label map on its own grid: the road that all predictors share.

    Args:
        volume: Intensities on their own grid.
        preprocessing: What the network was trained with.
        source: The network.
        class_labels: Integer written for each class.
        extra: Names of the outputs after the classes.
        box: Voxels that the network sees; ``None``: the region of ``preprocessing``. Outside all is background.
        keep_probabilities: Also return them.
        release: Give up the voxels of the volume once they are prepared.

    Returns:
        Labels, probabilities and the extra volumes (0 outside the box).
    """
    from segsuite.engines.label_reduction import reduce_to_labels  # loads torch; who only hands out cases does without

    chosen = region_box(volume, preprocessing.region_mm) if box is None else box
    inside = order_to_upright(volume.grid).applied_box(chosen, volume.grid.shape)
    table = np.asarray(class_labels).astype(np.uint8 if max(class_labels) <= 255 else np.uint16)

    def segment(scan: Volume) -> Segmentation:
        native, shape = scan.grid.cropped(inside), scan.grid.shape
        image, network = prepare_image(scan, preprocessing, box=inside)
        if release:
            scan.release()
        axis = row_axis(network.shape)
        reduced = reduce_to_labels(
            partial(source.rows, image, axis),
            network,
            native,
            axis=axis,
            parts=source.parts(network.shape, axis),
            keep_probabilities=keep_probabilities,
            n_extra=len(extra),
        )
        probabilities = None
        if reduced.probabilities is not None:
            probabilities = _placed(reduced.probabilities, inside, shape)
            probabilities[0] = _placed(reduced.probabilities[0], inside, shape, outside=1.0)
        volumes = {name: _placed(channel, inside, shape) for name, channel in zip(extra, reduced.extra, strict=True)}
        labels = _placed(table[reduced.labels], inside, shape)
        return Segmentation(labels, probabilities, volumes, class_labels=tuple(class_labels))

    return segment_upright(volume, segment, release=release)


def row_axis(shape: Size) -> int:
    """The axis along which an image is worked through.

    Args:
        shape: Of the image on the network's grid.
    """
    longest = int(np.argmax(shape))
    return longest if shape[longest] > LONGER * shape[0] else 0


def _placed(part: Any, box: tuple[slice, ...], shape: tuple[int, ...], *, outside: float = 0.0) -> Any:
    """An array of the box in the whole field."""
    if part.shape[-3:] == tuple(shape):
        return part
    whole = np.full((*part.shape[:-3], *shape), outside, dtype=part.dtype)
    i, j, k = box
    whole[..., i, j, k] = part
    return whole
