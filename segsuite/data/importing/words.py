"""What file and folder names say: mask or image, which words of them name neither case nor patient.

Separators stay where they are: ``1_2`` and ``1-2`` are two cases.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from segsuite.data.manifest import case_name

__all__ = [
    "Named",
    "is_image_word",
    "is_label_word",
    "is_session_word",
    "is_split_word",
    "kind_by_name",
    "read_name",
    "stem_of",
    "word_set",
]


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for lists of them that stay readable."""
    return frozenset(text.split())


LABEL_WORDS = word_set(
    "label labels labelmap labelmaps seg segs segm segment segments segmentation segmentations mask masks gt groundtruth truth "
    "dseg aseg roi rois lesion lesions annotation annotations annot delineation delineations contour contours parcellation"
)
SUBJECT_WORDS = word_set("lesion lesions roi rois contour contours annotation annotations segment segments")
"""Words that are also what a study is about: ``images/lesion_001``."""
PLAIN_IMAGE_WORDS = word_set("image images img imgs imaging")
"""Those that a mask's name has rarely; ``seg_scan_1`` is a mask."""
IMAGE_WORDS = word_set("image images img imgs imaging im scan scans volume volumes vol vols raw orig original originals")
MODALITY_WORDS = word_set(
    "ct cta cbct ldct mr mri mra pt pet us t1 t1w t1c t1ce t1gd t1n t2 t2w t2f t2star pd pdw flair dwi adc dce swi hbv bval "
    "cor sag tra ax axial coronal sagittal transversal"
)
SESSION_WORDS = word_set(
    "ses session visit study exam timepoint tp time baseline followup fu pre post scan series day week month year date"
)
SPLIT_WORDS = word_set("train training tr val valid validation dev test testing ts data dataset all")
_SEPARATORS = re.compile(r"([_\-. +]+)")


@dataclass(frozen=True)
class Named:
    """What the name of a file says.

    Attributes:
        path: Relative to the data set, POSIX.
        folders: Its folders without the words that say image or mask.
        stem: Its name without ending and without ``_0000``.
        bare: The stem without the words that say image or mask.
        modalities: Its words of modalities and planes.
        image_plain: As an image: the stem without ``img``.
        image_forms: The stem, this, and the stem without ``scan`` and the like.
        image_cores: These without the words of modalities.
        mask_form: As a mask: the name without the words that say mask.
        mask_bare: This without the words that say image.
        mask_cores: These two without the words of modalities.
    """

    path: str
    folders: tuple[str, ...]
    stem: str
    bare: str
    modalities: frozenset[str]
    image_plain: str
    image_forms: frozenset[str]
    image_cores: frozenset[str]
    mask_form: str
    mask_bare: str
    mask_cores: frozenset[str]


def is_label_word(word: str) -> bool:
    """Whether a word says mask: ``seg``, ``labelsTr``, ``liverMask``, ``label03``."""
    bare = word.lower().rstrip("0123456789")
    bare = re.sub(r"(?<=s)(tr|ts)$", "", bare)
    return bare in LABEL_WORDS or bare.endswith(("mask", "masks", "segmentation", "segmentations", "dseg", "groundtruth"))


def is_image_word(word: str, words: frozenset[str] = IMAGE_WORDS) -> bool:
    """Whether a word says image: ``img``, ``scan01``, ``imagesTr``."""
    bare = re.sub(r"(?<=s)(tr|ts)$", "", word.lower().rstrip("0123456789"))
    return bare in words


def _is_modality(word: str) -> bool:
    return word.lower() in MODALITY_WORDS


def is_session_word(part: str) -> bool:
    """Whether a folder is a point in time, a series or a modality of a patient, and no patient: ``ses-1``, ``2021``, ``T2w``."""
    words = [word for word in _SEPARATORS.split(part) if word and not _SEPARATORS.fullmatch(word)]
    letters = [re.sub(r"\d+$", "", word.lower()) for word in words]
    if all(_is_modality(word) for word in words):
        return True
    if any(word in SESSION_WORDS for word in letters):
        return True
    return bool(re.fullmatch(r"(19|20)\d\d([_\-.]?\d\d([_\-.]?\d\d)?)?(\D.*)?", part))


def is_split_word(part: str) -> bool:
    """Whether a folder is a part of a data set and no patient: ``train``, ``test``."""
    return part.lower() in SPLIT_WORDS


def kind_by_name(path: str) -> Literal["mask", "image"]:
    """Whether a file is a mask or an image, by the words of its relative path.

    A word that says mask at the end of the name decides in any folder (``scan_seg``, ``P1_lesion``); then a word that can
    mean nothing else anywhere in the name; then the innermost folder that says anything.

    Args:
        path: Relative, POSIX.
    """
    *folders, name = path.split("/")
    pieces = [word for word in _SEPARATORS.split(stem_of(name)) if word and not _SEPARATORS.fullmatch(word)]
    words = [word for word in pieces if re.search("[A-Za-z]", word)]
    if name.lower().endswith(".seg.nrrd") or (pieces and is_label_word(pieces[-1])):
        return "mask"
    says_image = any(is_image_word(word, PLAIN_IMAGE_WORDS) for word in words)
    if not says_image and any(is_label_word(word) and word.lower().rstrip("0123456789") not in SUBJECT_WORDS for word in words):
        return "mask"
    for part in reversed(folders):
        parts = [word for word in _SEPARATORS.split(part) if re.search("[A-Za-z]", word)]
        if any(is_label_word(word) for word in parts):
            return "mask"
        if any(is_image_word(word) for word in parts):
            return "image"
    return "mask" if any(is_label_word(word) for word in words) and not says_image else "image"


def stem_of(name: str) -> str:
    """A file's name without ending; ``.seg.nrrd`` is one ending."""
    stem = case_name(name)
    return stem[:-4] if stem.lower().endswith(".seg") else stem


@cache
def read_name(path: str) -> Named:
    """Take a relative path apart; letters with accents are the same however the file system stores them.

    Args:
        path: Relative to the data set, POSIX.
    """
    *folders, name = unicodedata.normalize("NFC", path).split("/")
    stem = stem_of(name)
    parts = tuple(bare for part in folders if (bare := _without(part, lambda word: is_label_word(word) or is_image_word(word))))
    first = stem.removesuffix("_0000")
    plain = _without(first, lambda word: is_image_word(word, PLAIN_IMAGE_WORDS))
    forms = frozenset((first, plain, _without(first, is_image_word)))
    mask = _without(stem, is_label_word)
    mask_bare = _without(mask, is_image_word)
    return Named(
        path,
        parts,
        first,
        _without(first, lambda word: is_label_word(word) or is_image_word(word)),
        frozenset(word.lower() for word in _SEPARATORS.split(stem) if _is_modality(word)),
        plain,
        forms,
        frozenset(_without(form, _is_modality) for form in forms),
        mask,
        mask_bare,
        frozenset(_without(form, _is_modality) for form in (mask, mask_bare)),
    )


def _without(text: str, dropped: Callable[[str], bool]) -> str:
    """A name without some of its words; of a word that ends in a number (``label03``) the number stays."""
    pieces = _SEPARATORS.split(text)
    kept: list[str] = []
    for word, mark in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        number = re.search(r"\d*$", word)
        left = word if not word or not dropped(word) else (number[0] if number and not _is_modality(word) else "")
        if left:
            kept += [left, mark]
    return "".join(kept[:-1]) if kept else ""
