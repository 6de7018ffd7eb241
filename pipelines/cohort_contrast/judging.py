"""A model over a whole manifest: scores as a table, maps of the cohort, probes of attributes. One scan is in memory at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.cohort_contrast.embedding import Spaces, embed
from pipelines.cohort_contrast.maps import CohortMap, cohort_map
from pipelines.cohort_contrast.predictor import CohortPredictor
from pipelines.cohort_contrast.scans import Scans
from pipelines.cohort_contrast.subjects import column_of, fixed_window, group_of, window_grid
from pipelines.cohort_contrast.summary import probe_matrix
from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import Case, Manifest, read_manifest
from segsuite.documents import read_json
from segsuite.engines.inputs import InputCase, find_inputs, take_shard
from segsuite.engines.ledger import read_ledger
from segsuite.engines.prediction import BatchOptions, Outcome, ignore, predict_cases
from segsuite.engines.seen_scans import has_hashes, has_seen
from segsuite.errors import ManifestError, closest_hint
from segsuite.files import write_json, writing_to
from segsuite.metrics.probes import Probe
from segsuite.shipped import find_manifest
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.grid import network_grid, resample
from segsuite.volumes.reading import read_channels, read_volume
from segsuite.volumes.volume import Volume, require_varied
from segsuite.volumes.voxel_hash import voxel_hash
from segsuite.volumes.writing import side_volume, write_image

__all__ = ["Judged", "map_cohort", "probe_cohort", "read_judged", "score_cohort"]

COLUMNS = (
    "case",
    "subject",
    "group",
    "site",
    "score",
    "p",
    "percentile",
    "z",
    "stands_out",
    "nearest",
    "unlike_training",
    "flags",
)
OnCase = Callable[[str, str], None]


@dataclass(frozen=True)
class Judged:
    """A manifest as a model sees it.

    Attributes:
        scans: Every case, read when asked for.
        is_training: Whether training has seen the case.
    """

    scans: Scans
    is_training: Any


def score_cohort(
    predictor: CohortPredictor,
    manifest: Path,
    out: Path,
    *,
    data_root: Path | None = None,
    shard: tuple[int, int] = (1, 1),
    on_case: OnCase = ignore,
) -> Outcome:
    """Score every case and write ``scores.tsv``; a rerun skips what is done.

    Args:
        predictor: With ``maps=none`` no volume is written.
        manifest: The cases.
        out: Gets one report per case, the ledger and the table.
        data_root: Where the manifest's paths start.
        shard: This process's part; the table then holds what is done so far by all.
        on_case: Called with case id and result.

    Returns:
        Counts and failures.
    """
    path = find_manifest(str(manifest))
    content = read_manifest(path)
    root = find_data_root(content, path, data_root)
    known = {case.case_id: case for case in content.cases}
    cases = take_shard(find_inputs([path], n_channels=predictor.n_channels, data_root=data_root), shard)
    if predictor.model.description["within_label"]:
        cases = [_with_mask(case, known[case.case_id], root) for case in cases]
    outcome = predict_cases(cases, predictor, out, BatchOptions(shard), on_case=on_case)
    table = out / "scores.tsv"
    with writing_to(table), table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for case_id, report in _reports(out):
            case = known.get(case_id)
            facts = ("", "", "") if case is None else (case.patient_id, case.group or "", case.site or "")
            numbers = (_text(report[name]) for name in ("score", "p", "percentile", "z", "stands_out"))
            writer.writerow(
                (
                    case_id,
                    *facts,
                    *numbers,
                    " ".join(report["nearest"]),
                    _text(report["unlike_training"]),
                    "; ".join(report["flags"]),
                )
            )
    return outcome


def map_cohort(
    predictor: CohortPredictor,
    manifest: Path,
    out: Path,
    *,
    data_root: Path | None = None,
    n_permutations: int = 200,
    seed: int = 0,
    on_case: OnCase = ignore,
) -> tuple[Outcome, CohortMap]:
    """A map per subject on its own grid, and where the groups differ, with family-wise error.

    Args:
        predictor: With maps.
        manifest: The cases, of both groups.
        out: Gets the maps, ``cohort_t.nii.gz`` and ``cohort_map.json``.
        data_root: Where the manifest's paths start.
        n_permutations: Of the groups.
        seed: Of them.
        on_case: Called with case id and result.

    Returns:
        Counts, and the cohort's map.

    Raises:
        ManifestError: Maps of fewer than two subjects of a group.
    """
    path = find_manifest(str(manifest))
    outcome = score_cohort(predictor, path, out, data_root=data_root, on_case=on_case)
    known = {case.case_id: case for case in read_manifest(path).cases}
    lines = [line for case_id, line in sorted(read_ledger(out).items()) if line.status == "done" and case_id in known]
    shape: Any = tuple(predictor.model.description["network"]["spatial_shape"])
    diseased = np.array([group_of(known[line.case]) for line in lines], dtype=bool)
    if min(int(diseased.sum()), int((~diseased).sum())) < 2:
        raise ManifestError(f"A cohort map must have maps of both groups, got {diseased.sum()} of {len(diseased)} diseased.")
    store = out / "maps.npy"
    maps = np.lib.format.open_memmap(store, mode="w+", dtype=np.float32, shape=(len(lines), *shape))
    grid = None
    for row, line in enumerate(lines):
        volume = read_volume(side_volume(out / line.output, "map_saliency"))
        target = network_grid(volume.grid, spacing_mm=predictor.preprocessing.spacing_mm)
        moved = resample(volume.array, volume.grid, target, interpolation="linear")
        maps[row] = fixed_window(np.asarray(moved, np.float32), shape)[0]
        grid = grid or window_grid(target, shape)
    found = cohort_map(maps, diseased, [known[line.case].patient_id for line in lines], n=n_permutations, seed=seed)
    del maps
    store.unlink()
    if grid is not None:
        write_image(out / "cohort_t.nii.gz", found.t.astype(np.float32), like=Volume(found.t[None], grid))
    facts = {"threshold_t": found.threshold, "p": found.p, "permutations": n_permutations}
    write_json(out / "cohort_map.json", {**facts, "voxels_above": int((found.t > found.threshold).sum())})
    return outcome, found


def probe_cohort(predictor: CohortPredictor, judged: Judged, attributes: Sequence[str]) -> dict[str, dict[str, Probe | None]]:
    """Attributes probed in both spaces: fitted on training cases, scored on the others.

    Args:
        predictor: The model.
        judged: The manifest; where it holds no training case, half of its subjects are fitted on.
        attributes: Which; ``site`` is one too.

    Returns:
        Attribute to space to probe.

    Raises:
        ManifestError: An attribute that no case has.
    """
    scans = judged.scans
    known = {**scans.attributes, "site": np.array(scans.sites)}
    for name in attributes:
        if name not in known:
            raise ManifestError(f"--attributes must name attributes of the manifest, got `{name}`. {closest_hint(name, known)}")
    fitted = np.asarray(judged.is_training, dtype=bool)
    if not fitted.any() or fitted.all():
        order = {subject: number for number, subject in enumerate(sorted(set(scans.subjects)))}
        fitted = np.array([order[subject] % 2 == 0 for subject in scans.subjects])
    spaces = embed(predictor.network, scans, device=predictor.device)
    sides = []
    for keep in (fitted, ~fitted):
        part = replace(scans.part(keep), attributes={name: np.asarray(values)[keep] for name, values in known.items()})
        sides.append((part, Spaces(*(getattr(spaces, column.name)[keep] for column in fields(Spaces)))))
    return probe_matrix(*sides[0], *sides[1], list(attributes))


def read_judged(predictor: CohortPredictor, manifest: Path, *, data_root: Path | None = None) -> Judged:
    """The cases of a manifest as the model sees them.

    Args:
        predictor: The model.
        manifest: The cases, each with a group.
        data_root: Where its paths start.

    Returns:
        Scans that are read when asked for.
    """
    path = find_manifest(str(manifest))
    content: Manifest = read_manifest(path)
    root = find_data_root(content, path, data_root)
    cases = content.cases
    names = sorted({name for case in cases for name in case.attributes})
    scans = Scans(
        [_Seen(predictor, case, root) for case in cases],
        np.array([group_of(case) for case in cases], dtype=bool),
        [case.patient_id for case in cases],
        [case.site or "" for case in cases],
        {name: column_of([case.attributes.get(name) for case in cases]) for name in names},
        [case.case_id for case in cases],
    )
    return Judged(scans, np.array([_was_trained_on(predictor, case, root) for case in cases], dtype=bool))


def _was_trained_on(predictor: CohortPredictor, case: Case, root: Path) -> bool:
    """By its voxels, since a copy may have any name; models of earlier versions know names alone."""
    description = predictor.model.description
    if not has_hashes(description):
        return case.case_id in description["data"]["training_cases"]
    volume = read_channels(image_paths(case, root), n_channels=predictor.n_channels)
    return has_seen(description, voxel_hash(volume))


class _Seen:
    """What the network sees of one case; read when an array is asked for."""

    def __init__(self, predictor: CohortPredictor, case: Case, root: Path) -> None:
        self.predictor, self.case, self.root = predictor, case, root

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        volume = read_channels(image_paths(self.case, self.root), n_channels=self.predictor.n_channels)
        require_varied(volume, case=self.case.case_id)
        return self.predictor.window(volume, label_path(self.case, self.root) if self.case.label else None)[0]


def _with_mask(asked: InputCase, case: Case, root: Path) -> InputCase:
    masks = {"mask": str(label_path(case, root))} if case.label else {}
    return replace(asked, attributes={**asked.attributes, **masks})


def _reports(out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for case_id, line in sorted(read_ledger(out).items()):
        if line.status != "done":
            continue
        place = out / line.output
        if place.suffix != ".json":
            place = place.with_name(f"{without_ending(place.name)}_report.json")
        yield case_id, read_json(place)


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
