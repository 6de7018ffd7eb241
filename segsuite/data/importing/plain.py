"""A folder without any rule: images and masks by their names and folders, or by the user's patterns."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from segsuite.data.importing.case_ids import case_ids_of
from segsuite.data.importing.channels import ChannelFiles, channel_findings, group_channels
from segsuite.data.importing.content import holds_labels
from segsuite.data.importing.found import Imported, ImportFinding, ImportOptions
from segsuite.data.importing.mask_kinds import kind_in_name, kinds_findings
from segsuite.data.importing.pairing import Question, pair_masks
from segsuite.data.importing.patients import patients_by_folder
from segsuite.data.importing.structures import find_structures, match_structures
from segsuite.data.importing.tree import Tree, list_tree, without_four_dimensional
from segsuite.data.importing.words import kind_by_name, read_name
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError
from segsuite.files import printable
from segsuite.volumes.archive_names import is_archive
from segsuite.volumes.reading import is_image
from segsuite.volumes.writing import is_side_volume

__all__ = ["import_plain", "require_answered", "unpaired_findings"]

MOST_SHOWN = 8
LOOKED_AT_FIRST = 8


def import_plain(folder: Path, options: ImportOptions) -> Imported:
    """Pairs by folder and name; see ``pairing``, ``channels``, ``structures`` and ``patients``.

    Args:
        folder: The data set.
        options: What the user says.

    Returns:
        The cases and all that was not taken.

    Raises:
        ManifestError: Masks that fit equally well, or a pattern that does not do.
    """
    tree = list_tree(folder, leave_out=options.leave_out)
    images, masks, findings = _sorted_by_kind(folder, tree, options)
    structures: Mapping[str, Mapping[str, str]]
    if options.structures is not None:
        structures = match_structures(options.structures, [p for p in images if p not in set(masks)], tree.paths)
        used = {path for files in structures.values() for path in files.values()}
        images, masks = [p for p in images if p not in used], [p for p in masks if p not in used]
    if options.images is None:
        images, masks, more = _by_content(folder, images, masks)
        findings += more
    images, more = without_four_dimensional(folder, images, n_channels=options.n_channels)
    findings += more
    channels = group_channels(images, masks, n_channels=_declared(images, options.n_channels))
    findings += channel_findings(channels, {})
    firsts = list(channels.files)
    if options.structures is None:
        structures = find_structures(firsts, masks)
    taken = {path for files in structures.values() for path in files.values()}
    chosen = options.images is not None and options.labels is not None
    free = [path for path in masks if path not in taken]
    pairs = pair_masks([path for path in firsts if path not in structures], free, chosen=chosen)
    require_answered(folder, pairs.questions)
    findings += unpaired_findings(pairs.images, pairs.masks, any_mask=bool(masks))
    findings += kinds_findings({mask: kind_in_name(image, mask) for image, mask in pairs.mask_of.items()})
    case_ids = case_ids_of(firsts)
    patients, more = patients_by_folder({case_ids[first]: first for first in firsts})
    cases = [_case(channels, first, pairs.mask_of.get(first), case_ids[first], patients.get(case_ids[first])) for first in firsts]
    training, test, told = _parts(cases, firsts)
    manifest = Manifest(
        name=folder.resolve().name,
        channels={str(n): f"channel_{n}" for n in range(channels.n_channels)} if channels.n_channels > 1 else {"0": "image"},
        training=training,
        test=test,
    )
    by_case = {case_ids[first]: files for first, files in structures.items()}
    return Imported(manifest, [*tree.findings, *findings, *more, *told], by_case)


def _sorted_by_kind(folder: Path, tree: Tree, options: ImportOptions) -> tuple[list[str], list[str], list[ImportFinding]]:
    """Images and masks, by the user's patterns where there are any."""
    side = [path for path in tree.paths if is_side_volume(folder / path)]
    paths = [path for path in tree.paths if path not in set(side)]
    findings = []
    if side:
        findings.append(ImportFinding("note", "probabilities and maps beside a mask", tuple(side), "They are no cases."))
    if options.images is None and options.labels is None:
        kinds = {path: kind_by_name(path) for path in paths}
        return [p for p in paths if kinds[p] == "image"], [p for p in paths if kinds[p] == "mask"], findings
    left_out = set(tree.paths) ^ set(paths)
    masks = [p for p in _globbed(folder, options.labels, "--labels") if p not in left_out] if options.labels else []
    if options.images is None:
        return [p for p in paths if p not in set(masks) and kind_by_name(p) == "image"], masks, findings
    images = _globbed(folder, options.images, "--images")
    known = set(paths)
    if both := sorted(set(images) & set(masks)):
        raise ManifestError(f"A file must match --images or --labels, not both, got {both[0]}. Make the patterns narrower.")
    return [p for p in images if p in known], [p for p in masks if p in known], findings


def _by_content(folder: Path, images: list[str], masks: list[str]) -> tuple[list[str], list[str], list[ImportFinding]]:
    """Images that no word calls masks, and that hold labels all the same: ``P1/t2w`` beside ``P1/zones``."""
    lonely = set(pair_masks(images, masks).images)
    beside = Counter(path.rpartition("/")[0] for path in images)
    found = _holding_labels(folder, [path for path in images if path in lonely and beside[path.rpartition("/")[0]] > 1])
    if not found:
        return images, masks, []
    message = "They hold a few whole numbers, mostly 0, and are taken as masks. Images they are? Give --images 'PATTERN'."
    finding = ImportFinding("note", "masks by their content", tuple(found), message)
    return [path for path in images if path not in set(found)], sorted([*masks, *found]), [finding]


def _holding_labels(folder: Path, images: Sequence[str]) -> list[str]:
    """Those that hold labels; of many alike (one name in many folders, or one folder of many) a few are looked at first."""
    stems = Counter(read_name(path).stem for path in images)
    groups: dict[str, list[str]] = defaultdict(list)
    for path in images:
        stem = read_name(path).stem
        groups[f"name {stem}" if stems[stem] > 1 else f"folder {path.rpartition('/')[0]}"].append(path)
    found = []
    for paths in groups.values():
        first = paths[:: max(1, len(paths) // LOOKED_AT_FIRST)]
        known = {path: holds_labels(folder / path) for path in first}
        if any(known.values()):
            found += [path for path in paths if (known[path] if path in known else holds_labels(folder / path))]
    return sorted(found)


def _declared(images: Sequence[str], n_channels: int | None) -> int | None:
    """The number of channel files of a case: as declared where files are numbered, for else one file holds all channels."""
    return n_channels if any(re.search(r"_\d{4}(?=\.[^/]*$)", path) for path in images) else None


def _globbed(folder: Path, pattern: str, option: str) -> list[str]:
    relative = os.path.relpath(pattern, folder) if os.path.isabs(pattern) else pattern  # noqa: PTH117 - a pattern is no path
    try:
        found = sorted(
            path.relative_to(folder).as_posix() for path in folder.glob(relative) if is_image(path) or is_archive(path)
        )
    except (ValueError, NotImplementedError, IndexError) as error:
        raise ManifestError(
            f"{option} must be a pattern below {folder}, such as '*/t2w.nii.gz', got `{pattern}`: {error}."
        ) from error
    if not found:
        raise ManifestError(f"{option} must match images below {folder}, got `{pattern}`, which matches none.")
    return found


def require_answered(folder: Path, questions: Sequence[Question], *, by_pattern: bool = True) -> None:
    """Stop where images and masks fit each other in several ways.

    Args:
        folder: The data set.
        questions: From the pairing.
        by_pattern: Whether patterns of images and masks can answer it; else files are passed over only.

    Raises:
        ManifestError: With the files of the first questions, and how to answer.
    """
    if not questions:
        return
    told = []
    for question in questions[:MOST_SHOWN]:
        images, masks = (_listed(paths) for paths in (question.images, question.masks))
        told.append(f"{masks} fit{'s' * (len(question.masks) == 1)} {images}")
    more = f"; and {len(questions) - MOST_SHOWN} more" if len(questions) > MOST_SHOWN else ""
    how = "Say which by --images and --labels, or pass over some by" if by_pattern else "Say which by passing over the others:"
    advice = (
        "If the images are channels of one case, make a table (column image: a.nii.gz;b.nii.gz). "
        if any(len(question.images) > 1 for question in questions)
        else by_pattern * "If they are structures of one case, give --structures, such as 'labels/{case}/{structure}.nii.gz'. "
    )
    raise ManifestError(
        f"{folder}: each mask must fit one image, and each image one mask, got {len(questions)} times that several fit equally "
        f"well: {'; '.join(told)}{more}. {how} --leave-out 'PATTERN'. {advice}"
    )


def _listed(paths: Sequence[str]) -> str:
    return " and ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def unpaired_findings(images: Sequence[str], masks: Sequence[str], *, any_mask: bool) -> list[ImportFinding]:
    """What to tell of images and masks that stay alone.

    Args:
        images: Images without a mask.
        masks: Masks without an image.
        any_mask: Whether the data set has masks at all; without any, that images have none is no news.

    Returns:
        Findings.
    """
    findings = []
    if images and any_mask:
        findings.append(ImportFinding("note", "images without a mask", tuple(images), "They are cases without a label."))
    if masks:
        findings.append(ImportFinding("note", "masks without an image", tuple(masks), "They fit no image by folder and name."))
    return findings


def _case(channels: ChannelFiles, first: str, mask: str | None, case_id: str, patient: str | None) -> Case:
    files = channels.files[first]
    return Case(
        image=files[0] if len(files) == 1 else list(files),
        label=mask,
        case_id=case_id,
        patient_id=printable(patient or "") or case_id,
    )


def _parts(cases: Sequence[Case], firsts: Sequence[str]) -> tuple[list[Case], list[Case], list[ImportFinding]]:
    """Training and test rows: folders called ``test`` or ``imagesTs`` are not trained on, ``val`` is fold 0."""
    parts = {first: _part(first) for first in firsts}
    if set(parts.values()) <= {"training"} or "training" not in parts.values():
        return list(cases), [], []
    held_out = [
        case.model_copy(update={"fold": 0}) if parts[first] == "validation" else case
        for case, first in zip(cases, firsts, strict=True)
        if parts[first] != "test"
    ]
    test = [case for case, first in zip(cases, firsts, strict=True) if parts[first] == "test"]
    findings = []
    if test:
        names = tuple(case.case_id for case in test)
        findings.append(
            ImportFinding("note", "cases for testing", names, "By the name of their folder; they are not trained on.")
        )
    if validation := tuple(case.case_id for case in held_out if case.fold == 0):
        findings.append(
            ImportFinding("note", "cases for validation", validation, "By the name of their folder; they are fold 0.")
        )
    return held_out, test, findings


def _part(path: str) -> str:
    for part in path.lower().split("/")[:-1]:
        if part in ("test", "testing", "tests") or re.fullmatch(
            r"(image|img|label|mask|scan)s?_?(ts|test|testing)|test_?(image|scan)s?", part
        ):
            return "test"
        if part in ("val", "valid", "validation", "dev") or re.fullmatch(
            r"(image|img|scan)s?_?(va?l|validation)|val_?(image|scan)s?", part
        ):
            return "validation"
    return "training"
