"""Which integer is which structure on either side of an evaluation: names count before numbers, and what differs is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.engines.pairs import NO_STRUCTURE, Pair, Pairing
from segsuite.engines.structure_files import common_name
from segsuite.errors import InputError, ManifestError, SettingsError, few_of
from segsuite.volumes.labels import labels_present
from segsuite.volumes.reading import image_ending, read_labels, read_segment_names
from segsuite.volumes.regions import Label, Regions

__all__ = ["match_labels", "structures_scored", "with_structures"]

N_NAMED = 5
"""Labels named in a note."""
MOST_LABELS = 32
"""Of a reference that nobody looks at twice."""
Names = Mapping[int, str]


def with_structures(pairing: Pairing, table: Names | None = None) -> Pairing:
    """The pairs with what every integer of every file means.

    Args:
        pairing: From ``find_pairs``.
        table: Integer of the references to name, from the user; it wins over what lies beside the masks.

    Returns:
        Structures, and for each pair the mapping of both files onto them. Where neither a table nor the references name their
        labels, the structures are the integers found in the references, under the predictions' names where those have any.

    Raises:
        ManifestError: References that can be read, but hold no structure, and nothing that names any.
    """
    notes: dict[str, None] = dict.fromkeys(pairing.notes)
    own = {pair.case_id: _names_in(pair.reference) for pair in pairing.pairs}
    structures = dict(pairing.structures if table is None else table)
    if not structures:
        structures = _found(pairing, own, notes) or dict(pairing.predicted_names)
        if pairing.predicted_names and all(name == f"label {value}" for value, name in structures.items()):
            structures = {value: pairing.predicted_names.get(value, name) for value, name in structures.items()}
            notes["the references do not name their labels: they bear the names of the predictions"] = None
    if table is None:
        pairing = replace(pairing, pairs=[_without_numbers(pair, pairing.predicted_names) for pair in pairing.pairs])
    match = _Matcher(structures)
    pairs = [_mapped(pair, pairing, own[pair.case_id], match, lambda text: notes.setdefault(text)) for pair in pairing.pairs]
    return replace(pairing, pairs=pairs, structures=structures, notes=list(notes))


def match_labels(own: Names, wanted: Names) -> tuple[dict[int, int], list[str]]:
    """Bring the labels of one side onto those of the other: by name, and by number where no name fits.

    Args:
        own: Integer to name.
        wanted: The same of the side that decides.

    Returns:
        Integers that mean another one on the other side, or ``NO_STRUCTURE``; and what to say about it.
    """
    by_name = _fitting(own, wanted)
    if not by_name:
        none = f"no label has one name in predictions and references ({_listed(own)}; {_listed(wanted)}): taken by number"
        return {}, [none] if own and wanted else []
    taken = set(by_name.values())
    mapping = {value: target for value, target in by_name.items() if value != target}
    mapping |= {value: NO_STRUCTURE for value in taken if value not in by_name}
    notes = []
    if moved := {value: target for value, target in by_name.items() if value != target}:
        said = ", ".join(f"{own[value]} is {value} and {target}" for value, target in list(moved.items())[:N_NAMED])
        more = ", ..." if len(moved) > N_NAMED else ""
        notes.append(f"predictions and references number their labels differently ({said}{more}): taken by name")
    if doubtful := {v: own[v] for v in own if v in wanted and v not in by_name and v not in taken}:
        said = ", ".join(f"{value} is {name} and {wanted[value]}" for value, name in list(doubtful.items())[:N_NAMED])
        notes.append(f"labels whose names differ in predictions and references are taken by number: {said}")
    return mapping, notes


def _without_numbers(pair: Pair, names: Names) -> Pair:
    """A file per structure has names and no numbers: a prediction that has only numbers says nothing about it."""
    if not pair.reference_files or pair.predicted is None or pair.predicted_files or names or _names_in(pair.predicted):
        return pair
    reason = (
        f"{pair.predicted} must name its labels, because {pair.reference} has a file per structure. Put a labels.tsv beside the "
        "predictions, or give --labels."
    )
    return replace(pair, predicted=None, reason=reason)


def structures_scored(pairing: Pairing, regions: Regions | None, *, each_label: bool) -> dict[Label, str]:
    """What is measured: regions where some are declared, in place of the single labels or before them.

    Args:
        pairing: From ``with_structures``.
        regions: From the user; they win over those of the manifest of references.
        each_label: Also the single labels; one that a region consists of is measured once, under the region's name.

    Returns:
        Label to name.

    Raises:
        SettingsError: No regions to stand beside, a region of integers that the references do not have, or one name for two.
    """
    chosen = regions or pairing.regions
    if chosen is None:
        if each_label:
            raise SettingsError("--each-label must have regions to stand beside, got none. Give --regions, or leave it away.")
        return dict[Label, str](pairing.structures.items())
    if any(name != f"label {value}" for value, name in pairing.structures.items()):  # else only what occurs is known
        for name, integers in chosen.members.items():
            if unknown := [value for value in integers if value not in pairing.structures]:
                raise SettingsError(
                    f"Region `{name}` must be of the references' labels {pairing.structures}, got {unknown}. "
                    "Are the regions those of another data set?"
                )
    alone = {integers[0] for integers in chosen.members.values() if len(integers) == 1}
    single: dict[Label, str] = {value: name for value, name in pairing.structures.items() if each_label and value not in alone}
    for name in single.values():
        if name in chosen.members:
            raise SettingsError(f"Regions and labels must have names of their own, got `{name}` for both. Rename one of them.")
    return chosen.labels | single


class _Matcher:
    """``match_labels`` onto the structures, done once for each table of names."""

    def __init__(self, structures: Names) -> None:
        self.structures = structures
        self.known: dict[tuple[tuple[int, str], ...], tuple[dict[int, int], list[str]]] = {}

    def __call__(self, own: Names) -> tuple[dict[int, int], list[str]]:
        key = tuple(sorted(own.items()))
        if key not in self.known:
            self.known[key] = match_labels(own, self.structures)
        return self.known[key]


def _mapped(pair: Pair, pairing: Pairing, own: Names, match: _Matcher, say: Callable[[str], None]) -> Pair:
    mapping, _ = match(own) if own else ({}, [])
    predicted = pairing.predicted_names
    if pair.predicted is not None and not pair.predicted_files:
        predicted = _names_in(pair.predicted) or predicted
    of_predicted, notes = match(predicted) if predicted else ({}, [])
    for note in notes:
        say(note)
    both = _after(pairing.predicted_mapping, of_predicted)
    if mapping == pair.mapping == {} and both == pair.predicted_mapping:
        return pair
    return replace(pair, mapping=_after(pair.mapping, mapping), predicted_mapping=both)


def _after(first: Mapping[int, int], second: Mapping[int, int]) -> Mapping[int, int]:
    """One mapping after the other; either itself where the other does nothing, so that many pairs share one."""
    if not first or not second:
        return first or second
    return {**second, **{value: second.get(target, target) for value, target in first.items()}}


def _fitting(own: Names, wanted: Names) -> dict[int, int]:
    """Integers of one name; names that are equal only when case, spaces and dashes are left out must be the only such ones."""
    exact = {name: value for value, name in wanted.items()}
    found = {value: exact[name] for value, name in own.items() if name in exact}
    twice = Counter(map(common_name, own.values())) + Counter(map(common_name, wanted.values()))
    alike = {common_name(name): value for value, name in wanted.items() if value not in set(found.values())}
    for value, name in own.items():
        common = common_name(name)
        if value not in found and common in alike and twice[common] == 2:
            found[value] = alike[common]
    return found


def _found(pairing: Pairing, own: Mapping[str, Names], notes: dict[str, None]) -> dict[int, str]:
    """The labels of the references: those with names first, then the integers that occur; broken ones tell nothing."""
    found: dict[int, str] = {}
    scans = []
    for pair in pairing.pairs:
        for value, name in own[pair.case_id].items():
            if common_name(name) not in map(common_name, found.values()):
                found[value if value not in found else max(found) + 1] = name
    n_read = 0
    for pair in (pair for pair in pairing.pairs if not own[pair.case_id] and not pair.reference_files):
        try:
            array = read_labels(pair.reference).array
        except Exception:  # noqa: S112 - its case fails with the reason when it is measured
            continue
        n_read += 1
        present = labels_present(array)
        if len(present) > MOST_LABELS and _neighbours_differ(array):
            scans.append(pair.case_id)
        found |= {value: f"label {value}" for value in present if value and value not in found}
    if n_read and not found and not pairing.predicted_names:
        raise ManifestError(
            f"The references must show what is to be scored, got {n_read} masks that hold nothing but 0. Name them with "
            "--labels table.tsv."
        )
    if scans:
        told = few_of(scans, most=N_NAMED)
        notes[f"references that look like images, each grey level of which is a structure here: {told}. Move them away"] = None
    return dict(sorted(found.items()))


def _neighbours_differ(labels: NDArray[Any]) -> bool:
    """Whether most voxels above 0 are unlike the one before them, as in a scan with noise and in no mask."""
    here, before = labels[..., 1:], labels[..., :-1]
    n_alike = np.count_nonzero((here == before) & (here > 0))
    return bool(2 * n_alike < np.count_nonzero(here))


def _names_in(path: Path) -> dict[int, str]:
    """Names inside the file; empty where the format has none or the file cannot be read."""
    if not image_ending(path).endswith((".nrrd", ".nhdr")):
        return {}
    try:
        return read_segment_names(path)
    except (InputError, OSError):
        return {}


def _listed(names: Names) -> str:
    shown: Iterable[str] = (f"{value} {name}" for value, name in list(names.items())[:N_NAMED])
    return ", ".join(shown) + (", ..." if len(names) > N_NAMED else "")
