"""Structures that contain each other: named unions of the integers of a label map.

A network decides each region by itself; which regions a voxel is in is one number, a bit per region, so that however many
there are, no more is held than a label map. The map is written from these numbers by one declared order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segsuite.shapes import LabelMap, Mask
from segsuite.volumes.components import keep_largest_component

__all__ = [
    "MOST_REGIONS",
    "THRESHOLD",
    "Label",
    "Regions",
    "code_dtype",
    "file_word",
    "integers_of",
    "label_of",
    "mask_of",
]

THRESHOLD = 0.5
"""Probability from which a voxel is in a region."""
MOST_REGIONS = 31
"""As many bits as the numbers have."""
Label: TypeAlias = int | str
"""An integer of a label map, or several joined by `+` (`1+2+3`): a region, their union."""


@dataclass(frozen=True)
class Regions:
    """What a model with regions decides, and how that becomes one integer per voxel.

    Attributes:
        members: Name to the integers of a label map whose union the region is; the order of the names is that of the
            network's outputs.
        order: The integer that each region writes into the map, region by region; what comes later overwrites what was
            written before, as nnU-Net's ``regions_class_order``.
    """

    members: Mapping[str, tuple[int, ...]]
    order: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the regions, in order of the outputs."""
        return tuple(self.members)

    @property
    def labels(self) -> dict[Label, str]:
        """The regions as structures of an evaluation: integers joined by ``+`` to name."""
        return {label_of(integers): name for name, integers in self.members.items()}

    def __len__(self) -> int:
        return len(self.members)

    def of_classes(self, class_labels: tuple[int, ...]) -> Regions:
        """The same of class indices.

        Args:
            class_labels: The integer of each class index.
        """
        index = {value: place for place, value in enumerate(class_labels)}
        members = {name: tuple(index[value] for value in integers) for name, integers in self.members.items()}
        return Regions(members, tuple(index[value] for value in self.order))

    def membership(self, n_classes: int) -> NDArray[np.bool_]:
        """Which integer is in which region.

        Args:
            n_classes: Integers from 0 on.

        Returns:
            (regions, n_classes).
        """
        return np.array([np.isin(np.arange(n_classes), integers) for integers in self.members.values()])

    def mask(self, codes: LabelMap, name: str) -> Mask:
        """One region as it was decided.

        Args:
            codes: A bit per region, (i, j, k).
            name: Of the region.

        Returns:
            Boolean (i, j, k).
        """
        inside: Mask = np.bitwise_and(codes, codes.dtype.type(1 << self.names.index(name))) != 0
        return inside

    def written(self, codes: LabelMap) -> LabelMap:
        """The integer map, region by region in the declared order.

        Args:
            codes: A bit per region, (i, j, k).

        Returns:
            Integers (i, j, k), uint8 or uint16; 0 in no region.
        """
        labels = np.zeros(codes.shape, dtype=np.uint8 if max(self.order) <= 255 else np.uint16)
        for name, value in zip(self.names, self.order, strict=True):
            labels[self.mask(codes, name)] = value
        return labels

    def with_largest_components(self, codes: LabelMap, *, which: tuple[str, ...]) -> LabelMap:
        """Each of the given regions reduced to its largest component; what is cut off stays in the regions around it.

        Args:
            codes: A bit per region, (i, j, k).
            which: Names of regions; others stay as they are.

        Returns:
            New numbers.
        """
        result = codes.copy()
        for name in which:
            mask = self.mask(codes, name)
            result[mask & ~keep_largest_component(mask)] &= ~codes.dtype.type(1 << self.names.index(name))
        return result

    def to_json(self) -> dict[str, Any]:
        """As a manifest and ``model.json`` hold them."""
        members = {name: list(integers) for name, integers in self.members.items()}
        return {"regions": members, "regions_class_order": list(self.order)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Regions | None:
        """From a manifest's or a model's keys; ``None`` if there are no regions."""
        members = {str(name): tuple(int(n) for n in integers) for name, integers in (content.get("regions") or {}).items()}
        return Regions(members, tuple(int(n) for n in content["regions_class_order"])) if members else None


def code_dtype(n_regions: int) -> np.dtype[Any]:
    """The smallest integers that have a bit per region.

    Args:
        n_regions: At most ``MOST_REGIONS``.
    """
    return np.dtype(np.uint8 if n_regions <= 8 else np.uint16 if n_regions <= 15 else np.int32)


def label_of(integers: tuple[int, ...]) -> str:
    """Several integers of a label map as one label, ``1+2+3``."""
    return "+".join(map(str, integers))


def integers_of(label: Label) -> tuple[int, ...]:
    """The integers of a label map that a label stands for."""
    return (label,) if isinstance(label, int) else tuple(map(int, label.split("+")))


def mask_of(labels: LabelMap, label: Label) -> Mask:
    """Where a label map holds a label, or one of the integers of a region.

    Args:
        labels: Integers (i, j, k).
        label: What is looked for.

    Returns:
        Boolean (i, j, k).
    """
    integers = integers_of(label)
    inside: Mask = labels == integers[0] if len(integers) == 1 else np.isin(labels, integers)
    return inside


def file_word(name: str) -> str:
    """A region's name as a part of a file's name: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^\w]+", "-", name).strip("-")
