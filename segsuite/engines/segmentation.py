"""What a predictor offers and gives back, and the road from one image to a label map on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segsuite.data.transforms import Preprocessing, prepare_image, region_box
from segsuite.shapes import FloatArray, Image, LabelMap, Mask, Size
from segsuite.volumes.orders import Order, order_to_upright, upright
from segsuite.volumes.regions import Regions, file_word
from segsuite.volumes.volume import Volume

if TYPE_CHECKING:
    from torch import Tensor

    from segsuite.engines.label_reduction import Reduced

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
        keep_regions: Also return which regions each voxel is in.
    """

    case_id: str = ""
    keep_probabilities: bool = False
    force: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    release: bool = False
    keep_regions: bool = False


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One case, segmented; every array on the image's own grid.

    Attributes:
        labels: Integers (i, j, k); ``None``: no mask is made, the report is the result.
        probabilities: (classes or regions, i, j, k) float16, if asked for.
        volumes: More volumes by name, each (i, j, k).
        report: What is written beside the mask as JSON; ``None``: nothing.
        notes: Sentences for the ledger and the report page.
        class_labels: The integer of each class of ``probabilities``.
        regions: Of a model that decides regions: how they are called, and how the labels were written from them.
        region_codes: The regions that each voxel is in, a bit for each, (i, j, k); if asked for.
    """

    labels: LabelMap | None
    probabilities: FloatArray | None = None
    volumes: Mapping[str, FloatArray] = field(default_factory=dict)
    report: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    class_labels: tuple[int, ...] = ()
    regions: Regions | None = None
    region_codes: LabelMap | None = None

    @property
    def channel_words(self) -> tuple[str, ...]:
        """What the files of ``probabilities`` are called after: the classes' integers, or the regions' names."""
        return tuple(map(str, self.class_labels)) if self.regions is None else tuple(map(file_word, self.regions.names))

    def region_masks(self) -> Iterator[tuple[str, Mask]]:
        """Of the regions that were asked for, what their files are called after and where they are, one at a time."""
        if self.regions is not None and self.region_codes is not None:
            for name in self.regions.names:
                yield file_word(name), self.regions.mask(self.region_codes, name)

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


def segment_upright(volume: Volume, segment: Callable[[Volume, Request], Segmentation], request: Request) -> Segmentation:
    """Segment an image in RAS+ order, so that the same scan gets the same mask in whatever order a file stores its axes.

    Args:
        volume: Intensities on their own grid.
        segment: Gets the upright image, see ``volumes.orders.upright``, and a request that says whether it may give it up.
        request: What is asked for.

    Returns:
        What ``segment`` found, on the image's own grid.
    """
    scan, order = upright(volume)
    if scan is volume:
        return segment(volume, request)
    if request.release:
        volume.release()
    found = segment(scan, replace(request, release=True))  # nobody else has it
    return found if order.is_identity else _undone(found, order)


def _undone(found: Segmentation, order: Order) -> Segmentation:
    def back(array: Any) -> Any:
        return None if array is None else np.ascontiguousarray(order.undone(array))

    return replace(
        found,
        labels=back(found.labels),
        probabilities=back(found.probabilities),
        volumes={name: back(volume) for name, volume in found.volumes.items()},
        region_codes=back(found.region_codes),
    )


def segment_rows(
    volume: Volume,
    preprocessing: Preprocessing,
    source: RowSource,
    *,
    class_labels: Sequence[int] | Regions,
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
        class_labels: Integer written for each class; or regions, one per output, with their order.
        extra: Names of the outputs after the classes.
        box: Voxels that the network sees; ``None``: the region of ``preprocessing``. Outside all is background.
        keep_probabilities: Also return them.
        release: Give up the voxels of the volume once they are prepared.

    Returns:
        Labels (of regions also their bits), probabilities and the extra volumes (0 outside the box).
    """
    from segsuite.engines.label_reduction import reduce_to_labels  # loads torch; who only hands out cases does without

    chosen = region_box(volume, preprocessing.region_mm) if box is None else box
    inside = order_to_upright(volume.grid).applied_box(chosen, volume.grid.shape)

    def segment(scan: Volume, request: Request) -> Segmentation:
        native = scan.grid.cropped(inside)
        image, network = prepare_image(scan, preprocessing, box=inside)
        if request.release:
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
            regions=isinstance(class_labels, Regions),
        )
        return _in_the_field(reduced, inside, scan.grid.shape, class_labels, extra)

    return segment_upright(volume, segment, Request(release=release))


def _in_the_field(
    reduced: Reduced, box: tuple[slice, ...], shape: Size, class_labels: Sequence[int] | Regions, extra: Sequence[str]
) -> Segmentation:
    """What was found in a box, in the whole field."""
    volumes = {name: _placed(channel, box, shape) for name, channel in zip(extra, reduced.extra, strict=True)}
    probabilities = None if reduced.probabilities is None else _placed(reduced.probabilities, box, shape)
    if isinstance(class_labels, Regions):
        codes = _placed(reduced.labels, box, shape)
        return Segmentation(class_labels.written(codes), probabilities, volumes, regions=class_labels, region_codes=codes)
    table = np.asarray(class_labels)
    labels: Any = table.astype(np.uint8 if table.max() <= 255 else np.uint16)[reduced.labels]
    if probabilities is not None and reduced.probabilities is not None:
        probabilities[0] = _placed(reduced.probabilities[0], box, shape, outside=1.0)
    return Segmentation(_placed(labels, box, shape), probabilities, volumes, class_labels=tuple(class_labels))


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
