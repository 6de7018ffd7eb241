"""Which scans a structure is registered from: files that the user names, or a draw from a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.fewshot.registration import Support
from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import Case, Manifest, read_manifest
from segsuite.errors import ManifestError, SettingsError, closest_hint
from segsuite.seeding import keyed_generator
from segsuite.volumes.labels import labels_present
from segsuite.volumes.reading import read_labels

__all__ = ["draw_supports", "given_supports", "supports_of_manifest"]


def given_supports(images: Sequence[Path], masks: Sequence[Path], value: int) -> list[Support]:
    """Supports from files.

    Args:
        images: Scans.
        masks: Their masks, in the same order.
        value: Of the structure in the masks.

    Returns:
        The supports.

    Raises:
        SettingsError: None is given, or not a mask for each scan.
    """
    if not images or len(images) != len(masks):
        raise SettingsError(
            "A structure must be registered from scans with a mask each: give --image and --mask once per scan, or "
            f"--manifest M.json, got {len(images)} images and {len(masks)} masks."
        )
    return [Support((image,), mask, value) for image, mask in zip(images, masks, strict=True)]


def supports_of_manifest(path: Path, data_root: Path | None, name: str, *, shots: int, seed: int) -> list[Support]:
    """Supports drawn from all training cases of a manifest.

    Args:
        path: The manifest.
        data_root: Where its paths start.
        name: Of the structure in the manifest.
        shots: Patients.
        seed: Of the draw.

    Returns:
        The supports.
    """
    manifest = read_manifest(path)
    labelled = [case for case in manifest.training if case.label]
    return draw_supports(labelled, manifest, find_data_root(manifest, path, data_root), name, shots=shots, seed=seed)


def draw_supports(
    cases: Sequence[Case], manifest: Manifest, data_root: Path, name: str, *, shots: int, seed: int
) -> list[Support]:
    """Scans of so many patients, drawn by seed: the same list for every method and machine.

    Args:
        cases: Labelled cases.
        manifest: Names the labels.
        data_root: Where paths start.
        name: Of the structure.
        shots: Patients; the first scan of each that shows the structure.
        seed: Of the draw.

    Returns:
        The supports.

    Raises:
        ManifestError: No such structure, or not in so many patients.
    """
    if name not in manifest.labels:
        raise ManifestError(f"`{name}` must be a label of {manifest.name}. {closest_hint(name, manifest.labels)}")
    value, mapping = manifest.labels[name], manifest.label_mapping
    by_patient: dict[str, list[Case]] = {}
    for case in cases:
        by_patient.setdefault(case.patient_id, []).append(case)
    patients = sorted(by_patient)
    chosen: list[Support] = []
    for place in keyed_generator(seed, "supports", name).permutation(len(patients)):
        if len(chosen) == shots:
            break
        showing = (case for case in by_patient[patients[int(place)]] if _shows(label_path(case, data_root), value, mapping))
        case = next(showing, None)
        if case is not None:
            chosen.append(Support(tuple(image_paths(case, data_root)), label_path(case, data_root), value, mapping))
    if len(chosen) < shots:
        raise ManifestError(f"`{name}` must be drawn in {shots} patients, got {len(chosen)} of {len(patients)}. Use fewer shots.")
    return chosen


def _shows(mask: Path, value: int, mapping: Mapping[int, int]) -> bool:
    return value in labels_present(read_labels(mask, mapping=dict(mapping)).array)
