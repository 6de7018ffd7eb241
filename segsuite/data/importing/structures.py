"""Masks that lie in one file per structure (``s1/ct`` with ``s1/segmentations/liver``, ``.../spleen``): whose they are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from segsuite.data.importing.words import Named, is_label_word, read_name, word_set
from segsuite.errors import ManifestError

__all__ = ["find_structures", "is_in_mask_folder", "match_structures", "structure_files"]

RATING_WORDS = word_set(
    "manual auto automatic final consensus rater reader observer annotator expert predicted prediction reference v version"
)


def find_structures(images: Sequence[str], masks: Sequence[str]) -> dict[str, dict[str, str]]:
    """Which masks are the structures of which image, where a data set has one file per structure.

    That is so where folders of masks belong to one image each, hold files whose names are not the image's, and several
    such folders share these names. Files that differ in a number or a rater only are no structures.

    Args:
        images: Relative paths.
        masks: The same.

    Returns:
        Image to structure to mask; empty where the data set is not of this kind.
    """
    of_folder: dict[tuple[str, ...], list[Named]] = defaultdict(list)
    for image in map(read_name, images):
        of_folder[image.folders].append(image)
    by_name: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for image in map(read_name, images):
        for stem in {image.bare, image.stem} - {""}:
            by_name[(*image.folders, stem)].add(image.path)
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for mask in (mask for mask in map(read_name, masks) if is_in_mask_folder(mask.path)):
        inside = of_folder.get(mask.folders, []) if mask.folders else []
        owners = by_name.get(mask.folders) or ({inside[0].path} if len(inside) == 1 else set())
        if len(owners) == 1:
            groups[next(iter(owners))][mask.bare or mask.stem] = mask.path
    return dict(groups) if _are_structures(groups) else {}


def is_in_mask_folder(path: str) -> bool:
    """Whether one of the folders of a relative path says mask: ``s1/segmentations/liver.nii.gz``."""
    return any(is_label_word(word) for part in path.split("/")[:-1] for word in re.split(r"[_\-. ]+", part) if word)


def _are_structures(groups: Mapping[str, Mapping[str, str]]) -> bool:
    if max(map(len, groups.values()), default=0) < 2:
        return False
    for image, files in groups.items():
        own = read_name(image)
        if any(read_name(path).bare in {"", own.bare, *own.image_cores} for path in files.values()):
            return False
    names = {name for files in groups.values() for name in files}
    kinds = {re.sub(r"[\d_\-. ]+", "", name).lower() for name in names} - {""}
    if len(kinds) < 2 or any(_is_rating(name) for name in names):
        return False
    sharing = [name for name in names if sum(name in files for files in groups.values()) > 1]
    return len(groups) == 1 or bool(sharing)


def _is_rating(name: str) -> bool:
    words = [re.sub(r"\d+$", "", word.lower()) for word in re.split(r"[_\-. ]+", name)]
    return any(word in RATING_WORDS for word in words)


def match_structures(pattern: str, images: Sequence[str], paths: Sequence[str]) -> dict[str, dict[str, str]]:
    """The same by a pattern of the user's.

    Args:
        pattern: Relative path with ``{structure}`` and, where the folder alone does not tell, ``{case}``; ``*`` is any part of
            a name. For example ``labels/{case}/{structure}.nii.gz``.
        images: Relative paths.
        paths: Files that may match.

    Returns:
        Image to structure to mask.

    Raises:
        ManifestError: No ``{structure}``, nothing matches, or a file that belongs to no or several images.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for image in images:
        for name in _names_of(image):
            owners[name].add(image)
    found: dict[str, dict[str, str]] = {}
    for case, files in structure_files(pattern, paths).items():
        own = owners.get(case, set())
        if len(own) != 1:
            told, path = ", ".join(sorted(own)[:3]) or "none", next(iter(files.values()))
            raise ManifestError(f"--structures must find one image for each mask, got `{case}` of {path}, which fits {told}.")
        found.setdefault(next(iter(own)), {}).update(files)
    return found


def structure_files(pattern: str, paths: Sequence[str]) -> dict[str, dict[str, str]]:
    """Masks by case and structure, as a pattern of the user's reads them.

    Args:
        pattern: As in ``match_structures``; without ``{case}`` the folder is the case.
        paths: Files that may match.

    Returns:
        Case to structure to mask.

    Raises:
        ManifestError: No ``{structure}``, nothing matches, or a structure twice in a case.
    """
    if "{structure}" not in pattern:
        raise ManifestError(
            f"--structures must hold {{structure}}, such as labels/{{case}}/{{structure}}.nii.gz, got `{pattern}`."
        )
    expression = re.compile(_expression(pattern))
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in paths:
        if not (match := expression.fullmatch(path)):
            continue
        case = match["case"] if "case" in expression.groupindex else path.rpartition("/")[0]
        if other := found[case].get(match["structure"]):
            raise ManifestError(f"--structures must find each structure once a case, got {other} and {path} for {case}.")
        found[case][match["structure"]] = path
    if not found:
        raise ManifestError(f"--structures must match masks, got `{pattern}`, which matches none of {len(paths)} files.")
    return dict(found)


def _expression(pattern: str) -> str:
    text, seen = "", set()
    for piece in re.split(r"(\{case\}|\{structure\}|\*\*/|\*)", pattern):
        name = piece[1:-1] if piece in ("{case}", "{structure}") else ""
        if name:
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
        else:
            text += {"**/": "(?:.*/)?", "*": "[^/]*"}.get(piece, re.escape(piece))
    return text


def _names_of(image: str) -> Iterable[str]:
    """What a pattern may call an image's case: its name, the name of its folder, or its path."""
    name = read_name(image)
    folders = image.split("/")[:-1]
    return {name.stem, name.bare, name.stem.removesuffix("_0000"), "/".join(folders), *folders[-1:], *name.folders[-1:]} - {""}
