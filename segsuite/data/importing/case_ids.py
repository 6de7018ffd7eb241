"""What a case is called where nobody said it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from segsuite.data.importing.words import read_name
from segsuite.files import printable

__all__ = ["case_ids_of"]


def case_ids_of(firsts: Sequence[str]) -> dict[str, str]:
    """The stem where only one image has it, else with its folders, else with a number.

    Args:
        firsts: Relative paths, of the first channel where there are several.

    Returns:
        Path to case id.
    """
    stems = {path: printable(read_name(path).stem.removesuffix("_0000")) or "case" for path in firsts}
    counts = Counter(stems.values())
    long = {
        path: printable("_".join((*path.split("/")[:-1], stem))) if counts[stem] > 1 else stem for path, stem in stems.items()
    }
    seen: Counter[str] = Counter()
    found = {}
    for path, case_id in long.items():
        seen[case_id] += 1
        found[path] = case_id if seen[case_id] == 1 else f"{case_id}__{seen[case_id]}"
    return found
