"""Images whose channels lie in files of their own (``case_0000``, ``case_0001``): which numbers came is checked case by case."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segsuite.data.importing.found import ImportFinding
from segsuite.data.importing.words import read_name, stem_of
from segsuite.volumes.formats.endings import without_ending

__all__ = ["ChannelFiles", "channel_findings", "group_channels", "image_ending_of"]

MOST_CHANNELS = 16
_NUMBERED = re.compile(r"(?P<stem>.+)_(?P<number>\d{4})")


@dataclass(frozen=True)
class ChannelFiles:
    """Cases of several files.

    Attributes:
        files: The file of channel 0, whether it is there or not, to the files of all channels.
        numbers: The same to the numbers that are there.
        n_channels: Channels of each case; 1: no case has several files.
    """

    files: dict[str, tuple[str, ...]]
    numbers: dict[str, tuple[int, ...]]
    n_channels: int = 1


def group_channels(images: Sequence[str], masks: Sequence[str], *, n_channels: int | None = None) -> ChannelFiles:
    """Take files that are channels of one case together.

    Without a declared number, they are channels where several names have the numbers from 0 on, and the files have no masks
    of their own: ``scan_0000`` to ``scan_0009`` alone are ten scans.

    Args:
        images: Relative paths.
        masks: The same.
        n_channels: How many are declared; ``None``: to be found out.

    Returns:
        Every image is in one of the groups.
    """
    own_masks = {
        (name.folders, stem) for name in map(read_name, masks) for stem in (stem_of(name.path.rsplit("/", 1)[-1]), name.mask_form)
    }
    numbered: dict[str, dict[int, str]] = defaultdict(dict)
    for path in images:
        folder, ending = path.rpartition("/")[0], image_ending_of(path)
        match = _NUMBERED.fullmatch(path[len(folder) + 1 if folder else 0 : len(path) - len(ending)])
        if match and (read_name(path).folders, match[0]) not in own_masks:
            first = f"{folder}/{match['stem']}_0000{ending}".lstrip("/")
            numbered[first][int(match["number"])] = path
    n_found = n_channels or _number_of_channels([frozenset(files) for files in numbered.values()])
    if n_found < 2 and n_channels is None:
        alone: dict[str, tuple[str, ...]] = {path: (path,) for path in images}
        return ChannelFiles(alone, dict.fromkeys(alone, (0,)))
    files = {first: tuple(_numbered(first, number) for number in range(n_found)) for first in numbered}
    numbers = {first: tuple(sorted(there)) for first, there in numbered.items()}
    grouped = {path for there in numbered.values() for path in there.values()}
    files |= {path: (path,) for path in images if path not in grouped}
    numbers |= {path: (0,) for path in images if path not in grouped}
    return ChannelFiles(dict(sorted(files.items())), numbers, n_found)


def image_ending_of(path: str) -> str:
    """The ending of a file's name, as it is written."""
    return path.removeprefix(without_ending(path))


def _number_of_channels(sets: Sequence[frozenset[int]]) -> int:
    sets = [found for found in sets if max(found) < MOST_CHANNELS]
    if len(sets) < 2 or max(map(len, sets), default=0) < 2:
        return 1
    whole = Counter(len(found) for found in sets if len(found) > 1 and found == frozenset(range(len(found))))
    if whole:
        return max(whole, key=lambda number: (whole[number], number))
    return max(map(max, sets)) + 1 if any(0 in found for found in sets) else 1


def _numbered(first: str, number: int) -> str:
    ending = image_ending_of(first)
    return f"{first[: len(first) - len(ending) - 4]}{number:04d}{ending}"


def channel_findings(channels: ChannelFiles, names: Mapping[str, str]) -> list[ImportFinding]:
    """What is wrong with the channels of single cases.

    Args:
        channels: The groups.
        names: Channel number, as text, to its name.

    Returns:
        One finding per kind of lack.
    """
    if channels.n_channels == 1 and all(numbers == (0,) for numbers in channels.numbers.values()):
        return []
    wanted = tuple(range(channels.n_channels))
    by_lack: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for first, numbers in channels.numbers.items():
        if numbers != wanted and len(channels.files[first]) == channels.n_channels:
            by_lack[numbers].append(read_name(first).stem.removesuffix("_0000"))
        elif len(channels.files[first]) != channels.n_channels:
            by_lack[(0,)].append(read_name(first).stem)
    declared = ", ".join(f"_{number:04d} ({names.get(str(number), number)})" for number in wanted)
    findings = []
    for numbers, cases in sorted(by_lack.items()):
        missing = [f"_{n:04d} ({names.get(str(n), n)})" for n in wanted if n not in numbers]
        extra = [f"_{n:04d}" for n in numbers if n not in wanted]
        told = [f"{', '.join(missing)} not there"] * bool(missing) + [f"{', '.join(extra)} not declared"] * bool(extra)
        message = f"Each case must have the channels {declared}; {' and '.join(told)}. Add the files or leave the case out."
        findings.append(ImportFinding("error", "wrong channels", tuple(sorted(cases)), message))
    return findings
