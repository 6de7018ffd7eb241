"""Regions as data sets declare them: in a manifest, in nnU-Net's ``dataset.json``, in a ``model.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segsuite.documents import read_json
from segsuite.errors import ManifestError
from segsuite.volumes.regions import MOST_REGIONS, Regions, file_word

__all__ = ["declared_regions", "read_regions", "require_sound_regions", "split_labels"]


def require_sound_regions(
    regions: Mapping[str, Sequence[int]], order: Sequence[int], labels: Mapping[str, int], *, ignore_label: int | None
) -> None:
    """Check that regions and their order say for every label what is trained and what is written.

    Args:
        regions: Name to integers.
        order: The integer that each region writes.
        labels: Name to integer, background included.
        ignore_label: Integer that is not scored.

    Raises:
        ValueError: The message names the region, and what is wrong with it.
    """
    if not regions and not order:
        return
    if not regions:
        raise ValueError(f"`regions_class_order` must order `regions`, got {list(order)} and no regions")
    structures = {value: name for name, value in labels.items() if value not in (0, ignore_label)}
    _require_integers(regions, structures)
    _require_names(regions, labels)
    _require_order(regions, order)
    uncovered = [f"{value} ({name})" for value, name in structures.items() if not any(value in r for r in regions.values())]
    if uncovered:
        raise ValueError(
            f"`regions` must hold every label, or it would be learned as background; in no region: {', '.join(uncovered)}. "
            "Add it to a region, make a region of it alone, or leave it out of `labels` by `label_mapping` to 0"
        )
    for value, name in structures.items():
        inside = [region for region, integers in regions.items() if value in integers]
        writes = [number for integers, number in zip(regions.values(), order, strict=True) if value in integers][-1]
        back = [region for region, integers in regions.items() if writes in integers]
        if back != inside:
            raise ValueError(
                f"`regions_class_order` must write each label so that its regions can be read from the map; label {value} "
                f"({name}) is in {inside}, but {list(order)} would write {writes} there, which is in {back}. Declare regions "
                "from the largest to the smallest, each writing the integer that none of the later ones has"
            )


def _require_integers(regions: Mapping[str, Sequence[int]], structures: Mapping[int, str]) -> None:
    known = {value: structures[value] for value in sorted(structures)}
    for name, integers in regions.items():
        if not integers:
            raise ValueError(f"region `{name}` must have at least one integer of `labels`, got none")
        unknown = [value for value in integers if value not in structures]
        if unknown:
            raise ValueError(f"region `{name}` must be of structures of `labels` {known}, got {unknown} among {list(integers)}")
        twice = [value for value, count in Counter(integers).items() if count > 1]
        if twice:
            raise ValueError(f"region `{name}` must name each integer once, got {twice} several times in {list(integers)}")


def _require_names(regions: Mapping[str, Sequence[int]], labels: Mapping[str, int]) -> None:
    if len(regions) > MOST_REGIONS:
        raise ValueError(f"`regions` must be at most {MOST_REGIONS}, got {len(regions)}")
    same: dict[frozenset[int], str] = {}
    words: dict[str, str] = {}
    for name, integers in regions.items():
        word = file_word(name)
        if not word or word.isdigit():
            raise ValueError(f"a region must have a name with letters, since files are called after it, got `{name}`")
        if word.lower() in words:
            raise ValueError(f"regions must have names that files can be called after, got `{words[word.lower()]}` and `{name}`")
        if name in labels and [labels[name]] != list(integers):
            raise ValueError(f"region `{name}` must not be called as another structure, got label {labels[name]} of that name")
        if frozenset(integers) in same:
            raise ValueError(
                f"regions must differ, got the integers {list(integers)} as `{same[frozenset(integers)]}` and `{name}`"
            )
        same[frozenset(integers)], words[word.lower()] = name, name


def _require_order(regions: Mapping[str, Sequence[int]], order: Sequence[int]) -> None:
    if len(order) != len(regions):
        raise ValueError(
            f"`regions_class_order` must have the integer that each region writes, {len(regions)} for {list(regions)} in this "
            f"order, got {list(order) or 'none'}"
        )
    twice = [value for value, count in Counter(order).items() if count > 1]
    if twice:
        raise ValueError(f"`regions_class_order` must give each region an integer of its own, got {twice} several times")
    for (name, integers), value in zip(regions.items(), order, strict=True):
        if value not in integers:
            raise ValueError(
                f"`regions_class_order` must give each region one of its own integers, got {value} for `{name}` "
                f"{list(integers)}. The integers come in the order of the regions {list(regions)}"
            )


def split_labels(labels: Mapping[str, Any], order: Sequence[int]) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Labels as nnU-Net writes them where some are lists of integers, as labels and regions.

    Every entry but ``background`` and ``ignore`` is a region there, also a single integer. An integer that no entry has for
    itself is called after the region that writes it.

    Args:
        labels: Name to integer, or to a list of integers.
        order: ``regions_class_order``.

    Returns:
        Name to integer, and regions by name; no regions where no entry is a list.

    Raises:
        ManifestError: An entry that is neither.
    """
    members: dict[str, list[int]] = {}
    for name, value in labels.items():
        try:
            members[str(name)] = [int(n) for n in value] if isinstance(value, list | tuple) else [int(value)]
        except (TypeError, ValueError) as error:
            raise ManifestError(f"label `{name}` must be an integer or a list of integers, got {value!r}.") from error
    single = {name: integers[0] for name, integers in members.items() if not isinstance(labels[name], list | tuple)}
    if len(single) == len(members):
        return single, {}
    regions = {name: integers for name, integers in members.items() if name not in ("background", "ignore")}
    named = {"background": 0, **single, **{name: n[0] for name, n in regions.items() if len(n) == 1}}
    writers = dict(zip(order, regions, strict=False))
    for value in sorted({n for integers in regions.values() for n in integers} - set(named.values())):
        alone = f"{writers[value]}_only" if value in writers else f"label_{value}"
        named[alone if alone not in {*named, *regions} else f"label_{value}"] = value
    return named, regions


def read_regions(path: Path) -> Regions:
    """The regions of a file that must declare some.

    Args:
        path: A manifest, a ``model.json``, or nnU-Net's ``dataset.json``.

    Returns:
        The regions.

    Raises:
        FileNotFoundError: Nothing is there.
        ManifestError: No JSON, no regions, or unsound ones.
    """
    found = declared_regions(path)
    if found is None:
        raise ManifestError(
            f"{path} must declare `regions` of its `labels`, got none (a manifest, a model.json, a dataset.json)."
        )
    return found


def declared_regions(path: Path) -> Regions | None:
    """The regions that a file declares, if it does.

    Args:
        path: See ``read_regions``; or another table of labels.

    Returns:
        The regions; ``None`` for single labels.

    Raises:
        FileNotFoundError: Nothing is there.
        ManifestError: No JSON, or unsound regions.
    """
    if not path.is_file():
        raise FileNotFoundError(f"The file of regions {path} must be a file, but nothing is there.")
    content = read_json(path, error=ManifestError)
    labels = content.get("labels")
    order = content.get("regions_class_order") or []
    if not isinstance(labels, dict):
        return None
    if all(str(key).isdigit() for key in labels):
        labels = {str(name): int(value) for value, name in labels.items()}
    if content.get("regions"):
        regions = {str(name): [int(n) for n in integers] for name, integers in content["regions"].items()}
    else:
        labels, regions = split_labels(labels, order)
    if not regions:
        return None
    try:
        require_sound_regions(regions, order, labels, ignore_label=content.get("ignore_label", labels.get("ignore")))
    except ValueError as error:
        raise ManifestError(f"{path}: {error}.") from error
    return Regions({name: tuple(integers) for name, integers in regions.items()}, tuple(order))
