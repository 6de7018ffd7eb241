"""The list of cases: JSON that MONAI's Decathlon reader accepts, plus patients, sites, groups, folds and label names."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from segsuite.data.regions import require_sound_regions
from segsuite.documents import read_json
from segsuite.errors import ManifestError, closest_hint, what_is_wrong
from segsuite.files import write_json
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.regions import Regions

__all__ = ["Case", "Manifest", "case_name", "read_manifest", "write_manifest"]


class Case(BaseModel):
    """One row: the files of one case and who it belongs to. Paths are relative to the data root.

    ``labelled`` names the structures that this case's mask shows, where it is not all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str | list[str]
    label: str | None = None
    case_id: str = ""
    patient_id: str = ""
    site: str | None = None
    group: str | None = None
    session: str | None = None
    labelled: list[str] | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)
    fold: int | None = Field(default=None, ge=0)
    meta: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _default_ids(cls, row: Any) -> Any:
        if isinstance(row, dict) and row.get("image"):
            first = row["image"][0] if isinstance(row["image"], list) else row["image"]
            case_id = row.get("case_id") or case_name(str(first))
            return {**row, "case_id": case_id, "patient_id": row.get("patient_id") or case_id}
        return row

    @property
    def images(self) -> tuple[str, ...]:
        """The image files, one per channel or one for all."""
        return (self.image,) if isinstance(self.image, str) else tuple(self.image)


class Manifest(BaseModel):
    """All cases of a data set, with what its channels and labels mean.

    ``regions`` names unions of labels that are trained, predicted and scored as structures of their own (``"whole": [1, 2, 3]``,
    ``"core": [2, 3]``). ``regions_class_order`` has one integer per region, in the order of the regions: predict writes the
    first region with the first integer, then the second over it, and so on; what comes later overwrites, as in nnU-Net.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str = ""
    licence: str = ""
    source: str = ""
    channels: dict[str, str] = Field(default_factory=lambda: {"0": "image"})
    labels: dict[str, int] = Field(default_factory=lambda: {"background": 0})
    regions: dict[str, list[int]] = Field(default_factory=dict)
    regions_class_order: list[int] = Field(default_factory=list)
    ignore_label: int | None = None
    label_mapping: dict[int, int] = Field(default_factory=dict)
    data_root: str | None = None
    training: list[Case] = Field(default_factory=list)
    test: list[Case] = Field(default_factory=list)
    meta: dict[str, Any] = Field(default_factory=dict)

    @field_validator("labels", mode="before")
    @classmethod
    def _names_to_integers(cls, labels: Any) -> Any:
        """Accept both directions: name to integer (nnU-Net) and integer to name (Decathlon)."""
        if isinstance(labels, dict) and labels and all(re.fullmatch(r"\d+", str(key)) for key in labels):
            twice = [name for name, count in Counter(map(str, labels.values())).items() if count > 1]
            if twice:
                raise ValueError(f"`labels` must give each structure its own name, got {twice} twice")
            return {str(name): int(value) for value, name in labels.items()}
        lists = {name: value for name, value in labels.items() if isinstance(value, list)} if isinstance(labels, dict) else {}
        if lists:
            raise ValueError(f"`labels` must be single integers, got lists for {list(lists)}. Put these under `regions`: {lists}")
        return labels

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if 0 not in self.labels.values():
            raise ValueError(f"`labels` must name the background 0, got {self.labels}")
        repeated = [value for value, count in Counter(self.labels.values()).items() if count > 1]
        if repeated:
            raise ValueError(f"`labels` must give each structure its own integer, got {repeated} twice")
        ids = Counter(case.case_id for case in self.cases)
        twice = [case_id for case_id, count in ids.items() if count > 1]
        if twice:
            raise ValueError(f"`case_id` must be unique, got {twice[:5]} more than once")
        unknown = {name for case in self.cases for name in case.labelled or () if name not in self.labels}
        if unknown:
            raise ValueError(f"`labelled` must name structures of `labels` {sorted(self.labels)}, got {sorted(unknown)}")
        require_sound_regions(self.regions, self.regions_class_order, self.labels, ignore_label=self.ignore_label)
        return self

    @property
    def cases(self) -> list[Case]:
        """Training and test rows together."""
        return [*self.training, *self.test]

    @property
    def structures(self) -> dict[int, str]:
        """Integer to name, without background and ignore label, in order of the integers."""
        named = {value: name for name, value in self.labels.items() if value not in (0, self.ignore_label)}
        return dict(sorted(named.items()))

    @property
    def region_set(self) -> Regions | None:
        """The regions with their order; ``None`` where single labels are the structures."""
        return Regions.from_json({"regions": self.regions, "regions_class_order": self.regions_class_order})

    def without_regions(self) -> Manifest:
        """The same cases with single labels as the structures."""
        return self.model_copy(update={"regions": {}, "regions_class_order": []})

    def shown_by(self, case: Case) -> tuple[str, ...] | None:
        """The structures that a case's mask shows, regions among them where all of their labels are shown.

        Args:
            case: One of the rows.

        Returns:
            Names; ``None``: all.
        """
        if case.labelled is None:
            return None
        shown = {self.labels[name] for name in case.labelled}
        return (*case.labelled, *(name for name, integers in self.regions.items() if set(integers) <= shown))

    @property
    def n_channels(self) -> int:
        """How many input channels each case has."""
        return len(self.channels)

    @property
    def folds(self) -> list[int]:
        """The fold numbers in use."""
        return sorted({case.fold for case in self.training if case.fold is not None})

    @property
    def unlabelled(self) -> list[Case]:
        """Training rows without a mask."""
        return [case for case in self.training if case.label is None]

    def split(self, fold: int | None, *, labelled: bool = True) -> tuple[list[Case], list[Case]]:
        """Training cases and held-out cases of a fold.

        Args:
            fold: The fold to hold out; ``None``: train on all, hold out nothing.
            labelled: Only cases with a mask.

        Returns:
            Training cases and held-out cases.

        Raises:
            ManifestError: The manifest has no such fold.
        """
        cases = [case for case in self.training if case.label is not None or not labelled]
        if fold is None:
            return cases, []
        if fold not in self.folds:
            raise ManifestError(
                f"{self.name} must have fold {fold}, got folds {self.folds}. "
                "Make them with `segsuite manifest split M.json --folds 5`."
            )
        return [c for c in cases if c.fold != fold], [c for c in cases if c.fold == fold]


def case_name(file: str) -> str:
    """The stem of an image file: no folder, no ending.

    Args:
        file: A path in any style.

    Returns:
        For example ``hippocampus_001``.
    """
    return without_ending(Path(file).name)


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Args:
        path: JSON file.

    Returns:
        The manifest; ``case_id`` and ``patient_id`` are filled in where absent (patient = case).

    Raises:
        FileNotFoundError: Nothing is there.
        ManifestError: No JSON, an unknown key (with the closest known one), a wrong type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"The manifest {path} must be a file, but nothing is there.")
    content = read_json(path, error=ManifestError)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise ManifestError(f"{path}: " + "; ".join(_finding(item) for item in error.errors()[:8])) from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest atomically; defaults and empty values are left out.

    Args:
        path: JSON file.
        manifest: What to write.
    """
    content = manifest.model_dump(exclude_defaults=True)
    content["channels"], content["labels"] = manifest.channels, manifest.labels
    for case, row in zip(manifest.training, content.get("training", []), strict=True):
        row.setdefault("case_id", case.case_id)
    write_json(path, content)


def _finding(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = Case.model_fields if len(item["loc"]) > 1 else Manifest.model_fields
        return f"key `{place}` is unknown. {closest_hint(str(item['loc'][-1]), known)} Own keys go under `meta`."
    return what_is_wrong(item, most=80)
