"""Which mask belongs to which image of a folder: by all of its folders first, then by its name; two that fit are a question.

A pair is made at the first rank at which image and mask fit each other and nothing else; what is ambiguous at a rank is
never decided by a weaker one. A data set names its masks by one rule: where some were found at a rank, what is left over is
not paired by a weaker one (``CT_1`` whose mask is missing must not get ``1_seg`` whose image is), unless it is alone in its
folder.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from segsuite.data.importing.words import Named, is_image_word, is_label_word, read_name, word_set

__all__ = ["Pairs", "Question", "pair_by_ranks", "pair_masks"]

RATER_WORDS = word_set("rater reader observer obs annotator expert radiologist user operator r v version")
TIME_WORDS = word_set("pre post baseline followup fu before after early late preop postop intraop prior")
PLANE_WORDS = word_set("axial ax coronal cor sagittal sag tra transversal")
SIDE_WORDS = word_set("left right l r lt rt lh rh")


Edges: TypeAlias = set[tuple[str, str]]
Names: TypeAlias = list[Named]
Rank: TypeAlias = Callable[[Names, Names, Names, Names], Edges]


@dataclass(frozen=True)
class Question:
    """Images and masks of which several fit each other equally well."""

    images: tuple[str, ...]
    masks: tuple[str, ...]


@dataclass(frozen=True)
class Pairs:
    """What was found.

    Attributes:
        mask_of: Image to mask.
        questions: What only a person can decide.
        images: Images without a mask.
        masks: Masks without an image.
    """

    mask_of: dict[str, str]
    questions: tuple[Question, ...]
    images: tuple[str, ...]
    masks: tuple[str, ...]


def pair_masks(images: Sequence[str], masks: Sequence[str], *, chosen: bool = False) -> Pairs:
    """Pair images and masks by their relative paths.

    Args:
        images: Relative paths, POSIX, each once.
        masks: The same, none of them an image.
        chosen: Whether the user named both by patterns: then the only mask of a folder is that of its only image, whatever
            their names say.

    Returns:
        Pairs, questions, and what stays alone.
    """
    all_images, all_masks = [read_name(path) for path in images], [read_name(path) for path in masks]
    n_images = Counter(name.folders for name in all_images)
    masks_of: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in all_masks:
        masks_of[name.folders].add(name.path)
    ranks: tuple[Rank, ...] = (
        _by_name,
        _by_plain_name,
        _by_bare_name,
        _by_core,
        _by_longer_name,
        _by_folder_of_its_own,
        _across_folders,
    )
    if chosen:
        ranks = (*ranks[:-1], partial(_by_folder_of_its_own, chosen=True), ranks[-1])

    def is_alone(image: str, mask: str) -> bool:
        where = read_name(image).folders
        return bool(where) and n_images[where] == 1 and mask in masks_of[where] and len(masks_of[where]) == 1

    def edges(rank: Rank, left_images: set[str], left_masks: set[str]) -> Edges:
        left = [name for name in all_images if name.path in left_images], [name for name in all_masks if name.path in left_masks]
        found = rank(*left, all_images, all_masks)
        if len(left_images) == len(all_images):
            return found
        return {(image, mask) for image, mask in found if is_alone(image, mask)}

    return _by_ranks(images, masks, [partial(edges, rank) for rank in ranks])


def pair_by_ranks(images: Sequence[str], masks: Sequence[str], ranks: Sequence[set[tuple[str, str]]]) -> Pairs:
    """Pair by what fits, strongest first.

    Args:
        images: All images.
        masks: All masks.
        ranks: For each rank, the (image, mask) that fit.

    Returns:
        As ``pair_masks``.
    """

    def among(edges: Edges, left_images: set[str], left_masks: set[str]) -> Edges:
        return {(image, mask) for image, mask in edges if image in left_images and mask in left_masks}

    return _by_ranks(images, masks, [partial(among, edges) for edges in ranks])


def _by_ranks(images: Sequence[str], masks: Sequence[str], ranks: Sequence[Callable[[set[str], set[str]], Edges]]) -> Pairs:
    left_images, left_masks = set(images), set(masks)
    mask_of: dict[str, str] = {}
    questions: list[Question] = []
    for rank in ranks:
        for some_images, some_masks in _components(rank(left_images, left_masks)):
            if len(some_images) == len(some_masks) == 1:
                mask_of[some_images[0]] = some_masks[0]
            else:
                questions.append(Question(tuple(some_images), tuple(some_masks)))
            left_images -= set(some_images)
            left_masks -= set(some_masks)
    return Pairs(mask_of, tuple(questions), tuple(sorted(left_images)), tuple(sorted(left_masks)))


def _by_name(images: Names, masks: Names, _all_images: Names, _all_masks: Names) -> Edges:
    """One place, one name: ``images/P1/a`` with ``labels/P1/a``, ``P1/a`` with ``P1/a_seg``."""
    return _joined(images, lambda name: {name.stem}, masks, lambda name: {name.stem, name.mask_form})


def _by_plain_name(images: Names, masks: Names, _all_images: Names, _all_masks: Names) -> Edges:
    """``img_1`` with ``seg_1``."""
    return _joined(images, lambda name: {name.image_plain}, masks, lambda name: {name.mask_form})


def _by_bare_name(images: Names, masks: Names, _all_images: Names, _all_masks: Names) -> Edges:
    """``P1/2020_img`` with ``P1/2020_seg``, ``volume-1`` with ``segmentation-1``, ``a`` with ``image_a_seg``.

    A word that says image is left out of one of the two only: ``scan_1`` and ``1_scan`` are two.
    """
    left = _joined(images, lambda name: name.image_forms, masks, lambda name: {name.mask_form})
    return left | _joined(images, lambda name: {name.stem}, masks, lambda name: {name.mask_bare})


def _by_core(images: Names, masks: Names, _all_images: Names, _all_masks: Names) -> Edges:
    """Where one of the two does not say the modality: ``P1_T2w`` with ``P1_seg``; never ``CT_1`` with ``MR_1_seg``."""
    left = _joined(images, lambda name: name.image_cores, masks, lambda name: {name.mask_form})
    return left | _joined(images, lambda name: {name.stem}, masks, lambda name: name.mask_cores)


def _by_longer_name(images: Names, masks: Names, _all_images: Names, _all_masks: Names) -> Edges:
    """Where the mask's name goes on after the image's, or the other way round: ``P1`` with ``P1_liver_seg``."""
    found: Edges = set()
    for group, mask_group in _by_folders(images, masks):
        of_form = _by_words((name, form) for name in group for form in name.image_forms)
        of_mask = _by_words((name, name.mask_form) for name in mask_group)
        for shorter, longer in ((of_form, of_mask), (of_mask, of_form)):
            for words, names in longer.items():
                for length in range(1, len(words)):
                    if any(_tells_apart(word) for word in words[length:]):
                        continue
                    beginning = shorter.get(words[:length], ())
                    found |= {_edge(one, other, shorter is of_form) for one in beginning for other in names}
    by_path = {name.path: name for name in (*images, *masks)}
    return {(image, mask) for image, mask in found if not by_path[mask].modalities - by_path[image].modalities}


def _by_words(forms: Iterable[tuple[Named, str]]) -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, form in forms:
        if words := tuple(_words(form)):
            found[words].append(name.path)
    return found


def _edge(shorter: str, longer: str, image_is_shorter: bool) -> tuple[str, str]:
    return (shorter, longer) if image_is_shorter else (longer, shorter)


def _tells_apart(word: str) -> bool:
    """Whether a word more in a name can make it another scan: a number, a time, a plane, ``scan``."""
    letters = re.sub(r"\d+$", "", word.lower())
    if letters in RATER_WORDS or (word != letters and is_label_word(word)):
        return False
    return is_image_word(word) or word != re.sub(r"\d", "", word) or letters in TIME_WORDS | PLANE_WORDS


def _by_folder_of_its_own(images: Names, masks: Names, all_images: Names, all_masks: Names, *, chosen: bool = False) -> Edges:
    """The only image of a folder with its masks, unless their names contradict: ``P1/scan`` and ``P1/liver_seg``."""
    n_images, n_masks = (Counter(name.folders for name in names) for names in (all_images, all_masks))
    found: Edges = set()
    for group, mask_group in _by_folders(images, masks):
        where = group[0].folders
        if where and n_images[where] == 1 and n_masks[where] == len(mask_group):
            found |= {(group[0].path, mask.path) for mask in mask_group if chosen or not _contradict(group[0], mask)}
    return found


def _contradict(image: Named, mask: Named) -> bool:
    """Whether names speak of two scans: other numbers, modalities, times, planes or sides."""
    first, second = ({word.lower() for word in _words(name.bare)} for name in (image, mask))
    digits = {number.lstrip("0") for number in re.findall(r"\d+", image.path)}
    if any(word.lstrip("0") not in digits for word in _words(mask.mask_form) if word.isdigit()):
        return True
    if image.modalities and mask.modalities - image.modalities:
        return True
    sides = first & SIDE_WORDS, second & SIDE_WORDS
    if sides[0] and sides[1] and sides[0] != sides[1]:
        return True
    return any(first & words != second & words for words in (TIME_WORDS, PLANE_WORDS))


def _across_folders(images: Names, masks: Names, all_images: Names, all_masks: Names) -> Edges:
    """Masks in one folder and images in folders of their own, or the other way round, by a name that only one image has."""
    found: Edges = set()
    for with_folders in (False, True):
        by_key: dict[str, list[Named]] = defaultdict(list)
        for mask in masks:
            by_key[_key(mask, mask.mask_form, with_folders)].append(mask)
        found |= {
            (image.path, mask.path)
            for image in images
            for form in image.image_forms - {""}
            for mask in by_key[_key(image, form, with_folders)]
            if _within(image.folders, mask.folders) or _within(mask.folders, image.folders)
        }
    free = {name.path for name in (*images, *masks)}
    used = [name for name in (*all_images, *all_masks) if name.path not in free]
    taken = {form for name in used for form in (*name.image_forms, name.mask_form)}
    return {(image, mask) for image, mask in found if not read_name(image).image_forms & taken}


def _key(name: Named, form: str, with_folders: bool) -> str:
    return "_".join((*name.folders, form)) if with_folders else form


def _within(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    """Whether the folders of one path are among those of the other, in their order."""
    rest = iter(long)
    return len(short) <= len(long) and all(part in rest for part in short)


def _joined(
    images: Names, image_keys: Callable[[Named], Set[str]], masks: Names, mask_keys: Callable[[Named], Set[str]]
) -> Edges:
    by_key: dict[tuple[tuple[str, ...], str], list[str]] = defaultdict(list)
    for mask in masks:
        for key in mask_keys(mask):
            by_key[mask.folders, key].append(mask.path)
    return {(image.path, mask) for image in images for key in image_keys(image) for mask in by_key.get((image.folders, key), ())}


def _by_folders(images: Names, masks: Names) -> Iterable[tuple[Names, Names]]:
    groups: dict[tuple[str, ...], tuple[Names, Names]] = defaultdict(lambda: ([], []))
    for image in images:
        groups[image.folders][0].append(image)
    for mask in masks:
        groups[mask.folders][1].append(mask)
    return [(first, second) for first, second in groups.values() if first and second]


def _components(edges: Edges) -> list[tuple[list[str], list[str]]]:
    """Images and masks that hang together."""
    of_image: dict[str, set[str]] = defaultdict(set)
    of_mask: dict[str, set[str]] = defaultdict(set)
    for image, mask in edges:
        of_image[image].add(mask)
        of_mask[mask].add(image)
    found: list[tuple[list[str], list[str]]] = []
    seen: set[str] = set()
    for start in sorted(of_image):
        if start in seen:
            continue
        images: set[str] = {start}
        masks: set[str] = set()
        queue = [start]
        while queue:
            fresh = of_image[queue.pop()] - masks
            masks |= fresh
            more = {image for mask in fresh for image in of_mask[mask]} - images
            images |= more
            queue += more
        seen |= images
        found.append((sorted(images), sorted(masks)))
    return found


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[_\-. +]+", text) if word]
