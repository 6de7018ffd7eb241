"""Make a manifest from what people have: Decathlon, nnU-Net raw, BIDS derivatives, a table, a plain folder.

No file is renamed, and no voxel is read here; ``checking`` looks into them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from segsuite.data.importing.bids import import_bids, looks_like_bids
from segsuite.data.importing.dataset_json import has_listed_cases, import_listed, import_raw
from segsuite.data.importing.found import Imported, ImportFinding, ImportOptions
from segsuite.data.importing.patients import patients_by_folder, with_patient_pattern
from segsuite.data.importing.plain import import_plain
from segsuite.data.importing.tables import import_table
from segsuite.data.importing.tree import matches
from segsuite.data.manifest import Case, Manifest, case_name
from segsuite.errors import ManifestError, closest_hint
from segsuite.volumes.archive_names import is_archive
from segsuite.volumes.packed import images_packed_in, listed

__all__ = ["LAYOUTS", "import_folder"]

ONLY_FOR = {"images": ("folder",), "labels": ("folder",), "structures": ("folder",), "suffix": ("bids",)}
"""Options that only some layouts know: anywhere else they would do nothing."""


FILES = {"table": "a CSV or TSV file", "archive": "a zip or tar file"}
"""Layouts that are one file."""


def import_folder(folder: Path, options: ImportOptions | None = None, *, layout: str = "auto") -> Imported:
    """The cases in a folder, in a CSV/TSV table, or in an archive of one scan.

    Args:
        folder: The data set's folder; for ``table`` and ``archive`` the file itself, whose paths are relative to its folder.
        options: What the user says about it.
        layout: One of ``LAYOUTS`` or ``auto``.

    Returns:
        The manifest, with paths relative to the folder, and what was not taken.

    Raises:
        ManifestError: Unknown layout, nothing found, or a question that only a person can answer.
    """
    options = options or ImportOptions()
    if not folder.exists():
        raise ManifestError(f"The folder to import must exist, got {folder}.")
    if not folder.is_dir() and not folder.is_file():
        raise ManifestError(f"What is imported must be a folder, a table or an archive, got {folder}, a device or pipe.")
    chosen = _recognised(folder, options) if layout == "auto" else layout
    if chosen not in LAYOUTS:
        raise ManifestError(f"Layout must be auto or one of the known ones, got `{chosen}`. {closest_hint(chosen, LAYOUTS)}")
    _require_fitting(folder, chosen, options)
    try:
        imported = LAYOUTS[chosen](folder, options)
    except ValidationError as error:
        findings = "; ".join(f"{'.'.join(map(str, item['loc']))} {item['msg']}".strip() for item in error.errors()[:3])
        raise ManifestError(f"{folder} must make a valid manifest in layout `{chosen}`, got: {findings}.") from error
    if not imported.manifest.cases:
        told = "".join(f" {finding}" for finding in imported.findings[:4])
        raise ManifestError(
            f"{folder} must hold cases in layout `{chosen}`, got none. Give --layout, or --images and --labels.{told}"
        )
    if options.patient_pattern is None:
        return imported
    kept = [finding for finding in imported.findings if not finding.kind.startswith(("patients by", "perhaps scans of"))]
    manifest = with_patient_pattern(imported.manifest, options.patient_pattern)
    return Imported(manifest, kept, imported.structures, imported.read)


def _recognised(folder: Path, options: ImportOptions) -> str:
    if folder.is_file():
        return "archive" if is_archive(folder) else "table"
    if any(getattr(options, name) is not None for name in ("images", "labels", "structures")):
        return "folder"
    if (folder / "dataset.json").is_file():
        return "decathlon" if has_listed_cases(folder) else "nnunet"
    return "bids" if looks_like_bids(folder) else "folder"


def _require_fitting(folder: Path, layout: str, options: ImportOptions) -> None:
    """Check that the path is what the layout reads, and that no option would be passed over."""
    if folder.is_file() != (layout in FILES):
        wanted = FILES.get(layout, "a folder")
        raise ManifestError(f"Layout `{layout}` must be given {wanted}, got {folder}.")
    for name, layouts in ONLY_FOR.items():
        if getattr(options, name) is not None and layout not in layouts:
            raise ManifestError(f"--{name} belongs to layout {' or '.join(layouts)}, got it for layout `{layout}` ({folder}).")


def _listed(importer: Callable[[Path, ImportOptions], Imported]) -> Callable[[Path, ImportOptions], Imported]:
    """For layouts that list their files: ``--leave-out`` leaves out rows."""

    def imported(folder: Path, options: ImportOptions) -> Imported:
        found = importer(folder, options)
        idle = set(options.leave_out)

        def is_kept(case: Case) -> bool:
            hits = {glob for glob in options.leave_out for path in (*case.images, case.label or "") if matches(path, glob)}
            idle.difference_update(hits)
            return not hits

        rows = {part: [case for case in getattr(found.manifest, part) if is_kept(case)] for part in ("training", "test")}
        if idle:
            raise ManifestError(f"--leave-out must match files of {folder}, got `{min(idle)}`, which matches none.")
        left_out = tuple(c.case_id for c in found.manifest.cases if c not in [*rows["training"], *rows["test"]])
        more = [ImportFinding("note", "left out as asked", left_out, "They match --leave-out.")] if left_out else []
        return _with_folder_patients(found.adding(more, found.manifest.model_copy(update=rows)))

    return imported


def _import_archive(path: Path, _options: ImportOptions) -> Imported:
    """One archive of one scan is one case; what holds a whole data set is unpacked by its owner, who has the space."""
    names = images_packed_in(path)
    if len(names) != 1:
        raise ManifestError(
            f"{path} must hold one image or one DICOM series to be a case, got {len(names) or 'none'}{listed(names)}. Unpack it "
            "and import the folder; a folder of archives of one scan each can be imported as it is."
        )
    return Imported(Manifest(name=case_name(path.name), training=[Case(image=path.name)]))


def _with_folder_patients(imported: Imported) -> Imported:
    """Patients by folder, where nothing else says whose the cases are."""
    cases = imported.manifest.cases
    if any(case.patient_id != case.case_id for case in cases):
        return imported
    patients, findings = patients_by_folder({case.case_id: case.images[0] for case in cases})
    rows = {
        part: [
            case.model_copy(update={"patient_id": patients.get(case.case_id, case.patient_id)})
            for case in getattr(imported.manifest, part)
        ]
        for part in ("training", "test")
    }
    return imported.adding(findings, imported.manifest.model_copy(update=rows))


LAYOUTS: dict[str, Callable[[Path, ImportOptions], Imported]] = {
    "decathlon": _listed(import_listed),
    "nnunet": lambda folder, options: (
        import_raw(folder, options) if (folder / "imagesTr").is_dir() else _listed(import_listed)(folder, options)
    ),
    "bids": import_bids,
    "table": _listed(lambda path, _options: import_table(path)),
    "folder": import_plain,
    "archive": _listed(_import_archive),
}
"""Layout name to importer."""
