"""BIDS: anatomical images of one suffix, and the masks that name the same subject, session, acquisition, run and contrast.

Indices (``run-1``, ``run-01``) are numbers there; whatever else a name says must agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segsuite.data.importing.found import Imported, ImportFinding, ImportOptions
from segsuite.data.importing.mask_kinds import kinds_findings
from segsuite.data.importing.pairing import Pairs, pair_by_ranks
from segsuite.data.importing.plain import require_answered, unpaired_findings
from segsuite.data.importing.tree import list_tree, without_four_dimensional
from segsuite.data.importing.words import stem_of, word_set
from segsuite.data.label_table import read_label_table
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError, closest_hint

__all__ = ["import_bids", "looks_like_bids"]

DATATYPES = word_set("anat func dwi fmap perf eeg meg ieeg beh pet micr motion mrs nirs")
ANATOMICAL = word_set(
    "T1w T2w T1rho T1map T2map T2star T2starw T2starmap FLAIR FLASH PD PDw PDT2 PDmap inplaneT1 inplaneT2 angio MESE MEGRE VFA "
    "IRT1 MP2RAGE MPM MTS MTR UNIT1 R1map R2map R2starmap MTsat MTVmap MWFmap Chimap S0map M0map TB1map CT ct"
)
MASK_SUFFIXES = word_set("dseg mask roi lesion seg label segmentation")
NO_LABELS = word_set("probseg defacemask")
OF_THE_MASK = word_set("label desc seg atlas rater hemi mod modality from to")
"""Entities that say what a mask shows or who drew it, not of which image."""
ON_THE_IMAGE = word_set("orig individual native scanner anat")
"""Values of ``space-`` that mean the image's own grid."""


@dataclass(frozen=True)
class _File:
    """A file by its name: entities, suffix, and words that are neither."""

    path: str
    entities: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    suffix: str
    datatype: str

    def get(self, key: str) -> str | None:
        return dict(self.entities).get(key)


def looks_like_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS data set, by its description or by files ``sub-x/**/sub-x_*``."""
    if (folder / "dataset_description.json").is_file():
        return True
    subjects = (subject for top in (folder, folder / "rawdata") for subject in top.glob("sub-*"))
    return any(subject.is_dir() and any(subject.rglob(f"{subject.name}_*")) for subject in subjects)


def import_bids(folder: Path, options: ImportOptions) -> Imported:
    """Raw anatomical images, and masks from one tree with them or from ``derivatives/``.

    Args:
        folder: The data set.
        options: ``suffix`` chooses the images where there are several kinds.

    Returns:
        One case per image; patients are the subjects.

    Raises:
        ManifestError: Several suffixes and none chosen, masks that fit equally well, or tables of labels that differ.
    """
    tree = list_tree(folder, leave_out=options.leave_out)
    files = [_parsed(path) for path in tree.paths if _is_of_subject(path)]
    masks = [file for file in files if file.suffix in MASK_SUFFIXES]
    others = [file for file in files if file.suffix not in MASK_SUFFIXES | NO_LABELS]
    anatomical = [file for file in others if _is_anatomical(file)]
    raw = [file for file in anatomical if "derivatives" not in file.path.split("/")] or anatomical
    kept, four_dimensional = without_four_dimensional(folder, [file.path for file in raw])
    candidates = [file for file in raw if file.path in set(kept)]
    suffix = _chosen_suffix(folder, candidates, options.suffix)
    images = [file for file in candidates if file.suffix == suffix]
    pairs = _paired(images, masks, {file.suffix for file in candidates})
    require_answered(folder, pairs.questions, by_pattern=False)
    findings = [*tree.findings, *_left_out(files, anatomical), *four_dimensional]
    findings += unpaired_findings(pairs.images, pairs.masks, any_mask=bool(masks))
    findings += _without_contrast(pairs, candidates, suffix)
    findings += kinds_findings({mask: _kind(_parsed(mask)) for mask in pairs.mask_of.values()})
    cases = [
        Case(
            image=file.path,
            label=pairs.mask_of.get(file.path),
            patient_id=f"sub-{file.get('sub')}",
            session=file.get("ses"),
        )
        for file in images
    ]
    labels = {"background": 0, **_label_names(folder)}
    channels = {"0": suffix} if suffix else {"0": "image"}
    return Imported(Manifest(name=folder.resolve().name, labels=labels, channels=channels, training=cases), findings)


def _is_of_subject(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith("sub-") and "sourcedata" not in path.split("/")


def _parsed(path: str) -> _File:
    *folders, name = unicodedata.normalize("NFC", path).split("/")
    *parts, suffix = stem_of(name).split("_")
    entities = tuple((key, value) for key, mark, value in (part.partition("-") for part in parts) if mark)
    datatype = next((part for part in reversed(folders) if part in DATATYPES), "")
    return _File(path, entities, tuple(part for part in parts if "-" not in part), suffix, datatype)


def _is_anatomical(file: _File) -> bool:
    return file.datatype == "anat" or (not file.datatype and file.suffix in ANATOMICAL)


def _chosen_suffix(folder: Path, candidates: Sequence[_File], asked: str | None) -> str:
    counts = Counter(file.suffix for file in candidates)
    told = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(counts.items()))
    if asked is not None:
        if asked not in counts:
            raise ManifestError(
                f"--suffix must be one of the images of {folder}: {told or 'none'}, got `{asked}`. {closest_hint(asked, counts)}"
            )
        return asked
    if len(counts) > 1:
        raise ManifestError(
            f"{folder} must have anatomical images of one suffix, or be told which, got {told}. "
            f"Choose one, such as --suffix {min(counts)}"
        )
    return next(iter(counts), "")


def _paired(images: Sequence[_File], masks: Sequence[_File], suffixes: set[str]) -> Pairs:
    """Per subject: first masks that name the contrast, then those that do not, then those that say less than the image."""
    of_subject: dict[str | None, list[_File]] = defaultdict(list)
    for mask in masks:
        of_subject[mask.get("sub")].append(mask)
    ranks: list[set[tuple[str, str]]] = [set(), set(), set()]
    for image in images:
        for mask in of_subject[image.get("sub")]:
            rank = _rank(image, mask, suffixes)
            if rank is not None:
                ranks[rank].add((image.path, mask.path))
    return pair_by_ranks([file.path for file in images], [file.path for file in masks], ranks)


def _rank(image: _File, mask: _File, suffixes: set[str]) -> int | None:
    """0: agrees in all and names the contrast; 1: agrees in all; 2: says less than the image; ``None``: of another image."""
    contrasts = _contrasts(mask, suffixes)
    if contrasts and contrasts != {image.suffix}:
        return None
    says_less = False
    for key in {key for key, _ in (*image.entities, *mask.entities)}:
        ours, theirs = image.get(key), mask.get(key)
        if theirs is None and key != "space":
            says_less = says_less or key not in OF_THE_MASK
        elif ours is None and (key in OF_THE_MASK or (key == "space" and _is_own_space(theirs or "", image.suffix))):
            continue
        elif _index(ours) != _index(theirs) and key not in OF_THE_MASK:
            return None
    return 2 if says_less else (0 if contrasts else 1)


def _contrasts(mask: _File, suffixes: set[str]) -> set[str]:
    """Suffixes of images that the mask's name says: ``sub-1_FLAIR_dseg``, ``mod-T1w``, ``desc-T2w``."""
    said = [*mask.words, *(value for key, value in mask.entities if key in ("mod", "modality", "desc", "from", "label"))]
    return {word for word in said if word in suffixes | ANATOMICAL}


def _is_own_space(value: str, suffix: str) -> bool:
    return value.lower() in ON_THE_IMAGE or value == suffix


def _index(value: str | None) -> str | None:
    return value.lstrip("0") or "0" if value is not None and value.isdigit() else value


def _left_out(files: Iterable[_File], anatomical: Sequence[_File]) -> Iterable[ImportFinding]:
    taken = {file.path for file in anatomical}
    kinds: dict[str, list[str]] = defaultdict(list)
    for file in files:
        if file.suffix in NO_LABELS:
            kinds[f"{file.suffix} files"].append(file.path)
        elif file.suffix not in MASK_SUFFIXES and file.path not in taken:
            kinds[f"{file.datatype or 'other'} images"].append(file.path)
    for kind, paths in sorted(kinds.items()):
        yield ImportFinding("note", kind, tuple(paths), "Only anatomical images and label maps are taken.")


def _kind(mask: _File) -> str:
    shows = [f"{key}-{value}" for key, value in mask.entities if key in ("label", "desc", "seg", "atlas")]
    return "_".join([*sorted(shows), mask.suffix])


def _without_contrast(pairs: Pairs, candidates: Sequence[_File], suffix: str) -> list[ImportFinding]:
    """Masks that do not say on which contrast they were drawn, where there was a choice."""
    suffixes = {file.suffix for file in candidates}
    visits: dict[tuple[str | None, str | None], set[str]] = defaultdict(set)
    for file in candidates:
        visits[file.get("sub"), file.get("ses")].add(file.suffix)
    masks = [_parsed(path) for path in pairs.mask_of.values()]
    masks = [mask for mask in masks if not _contrasts(mask, suffixes) and mask.get("space") != suffix]
    unsure = [mask.path for mask in masks if len(visits[mask.get("sub"), mask.get("ses")]) > 1]
    if not unsure:
        return []
    message = f"Their names do not say on which image they were drawn; they are taken as drawn on {suffix}."
    return [ImportFinding("note", "masks that name no contrast", tuple(unsure), message)]


def _label_names(folder: Path) -> dict[str, int]:
    """The structures of the ``*_dseg.tsv`` tables, which must agree."""
    tables = sorted(path for path in folder.rglob("*dseg.tsv") if re.search(r"(^|_)dseg\.tsv$", path.name))
    found: dict[Path, dict[int, str]] = {path: read_label_table(path) for path in tables}
    for path in tables[1:]:
        if found[path] != found[tables[0]]:
            raise ManifestError(
                f"The tables of labels must agree, got {found[tables[0]]} in {tables[0]} and {found[path]} in {path}. "
                "Import the folders of one segmentation at a time."
            )
    return {name: value for value, name in (found[tables[0]] if tables else {}).items()}
