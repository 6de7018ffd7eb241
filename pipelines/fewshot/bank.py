"""The novel part of a model: registered structures with what their supports left behind, saved with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.fewshot.kernels import PARTS, Kernel, SupportStatistics, expected_dice, from_tensors
from pipelines.fewshot.rules import BaseKernels, Rule, make_kernel
from segsuite.errors import ModelError, SettingsError

__all__ = ["Bank", "Structure", "is_novel"]

PREFIX = "novel."


@dataclass(frozen=True, eq=False)
class Structure:
    """One registered structure.

    Attributes:
        name: Its name.
        label: Integer in masks.
        session: In which registration it came, counted from 1.
        supports: By content, without repetitions.
        largest_component: Keep only its largest component.
    """

    name: str
    label: int
    session: int
    supports: tuple[SupportStatistics, ...]
    largest_component: bool = True

    def leave_one_out(self, rule: Rule, base: BaseKernels) -> list[float]:
        """Dice on each support of the kernel that the others make; empty with a single support."""
        scores = []
        for held_out in self.supports:
            others = [support for support in self.supports if support is not held_out]
            if others:
                scores.append(expected_dice(make_kernel(others, rule, base), [held_out]))
        return scores


@dataclass(frozen=True, eq=False)
class Bank:
    """All registered structures; every change gives a new bank, so that a failed one leaves the old as it was."""

    structures: tuple[Structure, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """In order of registration."""
        return tuple(structure.name for structure in self.structures)

    def __getitem__(self, name: str) -> Structure:
        """A structure by name."""
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise SettingsError(f"`{name}` must be a registered structure, got one of {list(self.names) or 'none'}.")

    def add(self, name: str, label: int, supports: Sequence[SupportStatistics], *, taken: Mapping[str, int]) -> Bank:
        """A bank with one structure more, or with more supports of one it has.

        Args:
            name: Of the structure.
            label: Its integer; must be free for a new structure and the same for a known one.
            supports: New ones; a support that is there already changes nothing.
            taken: Labels of the base model by name.

        Returns:
            The new bank.

        Raises:
            SettingsError: A base structure's name or integer, 0, 255, or another structure's integer.
            ModelError: No support.
        """
        if not supports:
            raise ModelError(f"`{name}` must be registered from at least one support, got none.")
        known = next((structure for structure in self.structures if structure.name == name), None)
        used = {**taken, **{structure.name: structure.label for structure in self.structures if structure.name != name}}
        if name in taken:
            raise SettingsError(f"`{name}` must be a new name, got one of the base model's structures {sorted(taken)}.")
        if label in (0, 255) or label in used.values():
            owner = next((other for other, value in used.items() if value == label), "reserved")
            raise SettingsError(f"The label of `{name}` must be free, got {label} ({owner}). Give --value with another integer.")
        if known is not None and known.label != label:
            raise SettingsError(f"`{name}` has label {known.label}, got {label}: forget it first to change it.")
        merged = {support.digest: support for support in (*(known.supports if known else ()), *supports)}
        session = known.session if known else 1 + max((structure.session for structure in self.structures), default=0)
        new = Structure(name, label, session, tuple(merged[digest] for digest in sorted(merged)))
        if known is not None:
            return Bank(tuple(new if structure is known else structure for structure in self.structures))
        return Bank((*self.structures, new))

    def without(self, name: str) -> Bank:
        """A bank that never knew a structure.

        Args:
            name: Of the structure.

        Returns:
            The new bank.

        Raises:
            SettingsError: It is not registered.
        """
        gone = self[name]
        return Bank(tuple(structure for structure in self.structures if structure is not gone))

    def kernels(self, rule: Rule, base: BaseKernels) -> list[Kernel]:
        """One per structure."""
        return [make_kernel(structure.supports, rule, base) for structure in self.structures]

    def describe(self) -> list[dict[str, Any]]:
        """JSON values of all structures, without their tensors."""
        return [
            {
                "name": structure.name,
                "label": structure.label,
                "session": structure.session,
                "largest_component": structure.largest_component,
                "supports": [_described(support) for support in structure.supports],
            }
            for structure in self.structures
        ]

    def tensors(self) -> dict[str, Tensor]:
        """All arrays, under names that no network has."""
        return {
            f"{PREFIX}{structure.name}.{support.digest}.{key}": torch.from_numpy(np.ascontiguousarray(array))
            for structure in self.structures
            for support in structure.supports
            for key, array in support.tensors().items()
        }

    @staticmethod
    def load(described: Sequence[Mapping[str, Any]], weights: Mapping[str, Tensor]) -> Bank:
        """The inverse of ``describe`` and ``tensors``.

        Args:
            described: From ``model.json``.
            weights: All tensors of the model.

        Returns:
            The bank.

        Raises:
            ModelError: A tensor is missing.
        """
        structures = []
        for entry in described:
            supports = []
            for support in entry["supports"]:
                start = f"{PREFIX}{entry['name']}.{support['digest']}."
                parts = {name.removeprefix(start): t.numpy() for name, t in weights.items() if name.startswith(start)}
                if sorted(parts) != sorted(PARTS):
                    name, found = entry["name"], sorted(parts)
                    raise ModelError(f"The model must hold what `{name}` was made from, got {found}. Copy it again.")
                supports.append(from_tensors(parts, support["digest"], scan=support.get("scan", "")))
            structures.append(
                Structure(entry["name"], int(entry["label"]), int(entry["session"]), tuple(supports), entry["largest_component"])
            )
        return Bank(tuple(structures))


def _described(support: SupportStatistics) -> dict[str, Any]:
    scan = {"scan": support.scan} if support.scan else {}
    return {"digest": support.digest, "voxels": int(support.counts[0]), **scan}


def is_novel(name: str) -> bool:
    """Whether a tensor of the model folder belongs to the bank."""
    return name.startswith(PREFIX)
