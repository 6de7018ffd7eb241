"""Files of one case that hold a channel each: ``name_0000``, ``name_0001`` and so on, all of them and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segsuite.volumes.channel_count import channels_in_file
from segsuite.volumes.formats.endings import without_ending

__all__ = ["ChannelGroup", "group_channels"]

NUMBER = re.compile(r"_(\d{4})(?=\.[^/]*$)")
MOST_NAMED = 6


@dataclass(frozen=True)
class ChannelGroup:
    """The files of one case.

    Attributes:
        name: Path of the case, without the number of a channel.
        files: In order of the channels.
        problem: What is missing or too much; empty if all is there.
    """

    name: str
    files: tuple[Path, ...]
    problem: str = ""


def group_channels(files: Mapping[str, Path], *, n_channels: int, names: Sequence[str] = ()) -> list[ChannelGroup]:
    """Put files together that are channels of one case.

    A file that holds several channels itself is a case, whatever number its name ends in. For a model of one channel a number is
    part of the name, unless several names come with the same numbers from 0 on: then the others are channels that it has not.

    Args:
        files: Relative path, as the user sees it, to file.
        n_channels: Of the model; with one, each file is a case.
        names: Of the channels, for messages.

    Returns:
        One group per case, in order of the files.
    """
    if n_channels == 1:
        return _single(files)
    groups: dict[str, dict[int, Path]] = {}
    for relative, path in files.items():
        match = NUMBER.search(relative)
        if match is None or channels_in_file(path) > 1:
            groups[relative] = {-1: path}
        else:
            name = relative[: match.start()] + relative[match.end() :]
            groups.setdefault(name, {})[int(match.group(1))] = path
    _join_endings(groups, n_channels)
    return [_group(name, parts, n_channels, names) for name, parts in groups.items()]


def _join_endings(groups: dict[str, dict[int, Path]], n_channels: int) -> None:
    """Channels of one name whose endings differ (``a_0000.nii``, ``a_0001.nii.gz``) are one case if they make up all of it."""
    of_stem: dict[str, list[str]] = {}
    for name, parts in groups.items():
        if -1 not in parts and set(parts) != set(range(n_channels)):
            of_stem.setdefault(without_ending(name), []).append(name)
    for first, *others in of_stem.values():
        numbers = [number for name in (first, *others) for number in groups[name]]
        if others and sorted(numbers) == list(range(n_channels)):
            for other in others:
                groups[first] |= groups.pop(other)


def _single(files: Mapping[str, Path]) -> list[ChannelGroup]:
    numbers: dict[str, set[int]] = {}
    for relative in files:
        if match := NUMBER.search(relative):
            numbers.setdefault(relative[: match.start()], set()).add(int(match.group(1)))
    sets = list(numbers.values())
    are_channels = len(sets) > 1 and len(sets[0]) > 1 and all(found == set(range(len(sets[0]))) for found in sets)
    groups = []
    for relative, path in files.items():
        match = NUMBER.search(relative)
        problem = ""
        if are_channels and match and int(match.group(1)):
            problem = (
                f"{path} must be the channel of a model that has one, _0000, got _{match.group(1)} beside a _0000 in each of "
                f"{len(sets)} cases. Where each file is a case of its own, name the files one by one or in a manifest."
            )
        groups.append(ChannelGroup(relative, (path,), problem))
    return groups


def _group(name: str, parts: Mapping[int, Path], n_channels: int, names: Sequence[str]) -> ChannelGroup:
    files = tuple(parts[number] for number in sorted(parts))
    if set(parts) in ({-1}, set(range(n_channels))):
        return ChannelGroup(name, files)
    missing = [_named(number, names) for number in range(n_channels) if number not in parts]
    more = [_named(number, ()) for number in sorted(parts) if number >= n_channels]
    came = ", ".join(path.name for path in files[:MOST_NAMED])
    found = [f"{', '.join(missing)} missing"] if missing else []
    found += [f"{', '.join(more)} too much"] if more else []
    return ChannelGroup(
        name,
        files,
        f"{files[0].parent} must hold the channels _0000 to _{n_channels - 1:04d} of {name}, got {came}: {' and '.join(found)}. "
        "Add the file or correct its number.",
    )


def _named(number: int, names: Sequence[str]) -> str:
    return f"_{number:04d} ({names[number]})" if number < len(names) else f"_{number:04d}"
