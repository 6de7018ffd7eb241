"""`manifest resample`: masks on the grid of their image, in new files; the masks that were drawn stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.data.importing.found import ImportFinding
from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.errors import GridError
from segsuite.files import make_folder
from segsuite.outputs import require_outputs_apart
from segsuite.verbs.masks import Watch, claim_folder, each_case, relative_to
from segsuite.volumes.grid import Grid, require_same_grid, resample
from segsuite.volumes.labels import label_counts
from segsuite.volumes.orders import order_to_upright
from segsuite.volumes.reading import read_channels, read_labels
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_mask

__all__ = ["resample_masks"]

NOTABLE_CHANGE = 0.1
"""Share by which a structure's volume may change before it is told."""


def resample_masks(
    manifest_path: Path,
    out: Path,
    *,
    data_root: Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
    on_finding: Callable[[ImportFinding], None] | None = None,
) -> Manifest:
    """Bring each mask onto the grid of its image, by the nearest voxel, and write a manifest that names the new masks.

    Masks that lie on it already are named where they are. A case whose mask does not reach its image fails, and keeps the mask
    that it had.

    Args:
        manifest_path: The manifest.
        out: Folder for ``manifest.json`` and ``masks/``.
        data_root: Where the manifest's paths start.
        overwrite: Whether a folder that was not made by this may be written into.
        watch: Threads, and who is told of each case.
        on_finding: Called with what a person should know.

    Returns:
        The new manifest, as written.

    Raises:
        ManifestError: No manifest, or no data root.
        OutputError: An output is an input, or the folder holds something else.
    """
    manifest = read_manifest(manifest_path)
    root = find_data_root(manifest, manifest_path, data_root).resolve()
    cases = {case.case_id: case for case in manifest.cases if case.label}
    targets = {case_id: out / "masks" / f"{case_id}.nii.gz" for case_id in cases}
    read = [
        path for case in manifest.cases for path in (*image_paths(case, root), *([label_path(case, root)] if case.label else []))
    ]
    outputs = {path: f"case {case_id}" for case_id, path in targets.items()} | {out / "manifest.json": "the manifest"}
    require_outputs_apart(outputs, [manifest_path, *read], inside=out)
    claim_folder(out, {"resampled": manifest.name}, overwrite=overwrite)

    def bring(case_id: str) -> tuple[Path, str]:
        case = cases[case_id]
        image = read_channels(image_paths(case, root), n_channels=manifest.n_channels)
        mask = read_labels(label_path(case, root))
        if _is_on_grid(mask, image):
            return label_path(case, root), ""
        return targets[case_id], _bring(mask, image, targets[case_id])

    made, findings = each_case(cases, bring, "masks that cannot be brought onto their image", watch or Watch())
    moved = [case_id for case_id, (path, _) in made.items() if path == targets[case_id]]
    findings += _told(made, moved, out)

    def row(case: Case) -> Case:
        place = relative_to(made[case.case_id][0].resolve(), root) if case.case_id in moved else case.label
        return case.model_copy(update={"label": place})

    update: dict[str, Any] = {part: [row(case) for case in getattr(manifest, part)] for part in ("training", "test")}
    written = manifest.model_copy(update={**update, "data_root": relative_to(root, out.resolve())})
    write_manifest(out / "manifest.json", written)
    for finding in findings:
        if on_finding is not None:
            on_finding(finding)
    return written


def _is_on_grid(mask: Volume, image: Volume) -> bool:
    try:
        require_same_grid(image.grid, mask.grid, names=(str(image.path), str(mask.path)))
    except GridError:
        return False
    return True


def _bring(mask: Volume, image: Volume, target: Path) -> str:
    """Write the mask on the image's grid; what changed of its structures, in words."""
    moved = _nearest(mask, image.grid)
    before = label_counts(mask.labels) * mask.grid.voxel_ml
    after = np.zeros_like(before)
    counts = label_counts(moved)
    after[: len(counts)] = counts * image.grid.voxel_ml
    if before[1:].any() and not after[1:].any():
        raise GridError(
            f"{mask.path} must lie where {image.path} is, got no voxel of its {before[1:].sum():.3g} ml inside the image. "
            "It may belong to another scan: pair it with the series it was drawn on."
        )
    make_folder(target.parent)
    write_mask(target, moved, like=image)
    changed = [value for value in range(1, len(before)) if abs(after[value] - before[value]) > NOTABLE_CHANGE * before[value]]
    return ", ".join(f"label {value} {before[value]:.3g} to {after[value]:.3g} ml" for value in changed)


def _nearest(mask: Volume, grid: Grid) -> NDArray[Any]:
    """Half way between two voxels the body's axes decide, not those of the files."""
    here, there = order_to_upright(mask.grid), order_to_upright(grid)
    source, target = here.applied_grid(mask.grid), there.applied_grid(grid)
    return there.undone(resample(here.applied(mask.labels), source, target, interpolation="nearest"))


def _told(made: dict[str, tuple[Path, str]], moved: list[str], out: Path) -> list[ImportFinding]:
    findings = []
    if changed := tuple(f"{case_id}: {made[case_id][1]}" for case_id in moved if made[case_id][1]):
        message = "Voxels outside the image are cut off, and coarse voxels lose detail. Look at these: segsuite overlay"
        findings.append(ImportFinding("note", "structures whose volume changed", changed, message))
    message = f"Written to {out / 'masks'}; {len(made) - len(moved)} lay on the grid of their image already."
    if moved:
        findings.append(ImportFinding("note", "masks brought onto their image", tuple(moved), message))
    else:
        message = "Nothing had to be moved."
        findings.append(ImportFinding("note", "masks on the grid of their image", tuple(made), message))
    return findings
