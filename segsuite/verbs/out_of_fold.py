"""The word predict with --out-of-fold: each scan is segmented by the member of an ensemble that has not learned from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segsuite.engines.inputs import InputCase, SearchOptions, search_inputs, take_shard
from segsuite.engines.ledger import Ledger
from segsuite.engines.model_folder import ModelFolder, read_model_folder
from segsuite.engines.prediction import Outcome
from segsuite.engines.seen_scans import has_hashes, has_seen
from segsuite.errors import ModelError
from segsuite.files import make_folder
from segsuite.verbs.predicting import predict
from segsuite.volumes.finding import SeriesChoice
from segsuite.volumes.reading import read_channels
from segsuite.volumes.voxel_hash import voxel_hash

__all__ = ["predict_out_of_fold"]

ALL_HAVE_SEEN = (
    "every member of the model was trained on this scan, so none can be judged on it: leave it out, or train the folds so that "
    "each scan is held out once"
)


def predict_out_of_fold(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    shard: tuple[int, int] = (1, 1),
    series_uid: str | None = None,
    series_description: str | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_case: Callable[[str, str], None] = lambda *_: None,
    on_left_out: Callable[[Counter[str]], None] = lambda _: None,
    **how: Any,
) -> Outcome:
    """Segment scans so that scores on all of them, pooled, are of scans that were not trained on.

    Args:
        model: An ensemble's folder, as ``train --fold all`` writes it.
        inputs: As for ``predict``; archives are not looked into.
        out: Where all masks go.
        data_root: For manifests.
        fold: For manifests, only this fold.
        shard: This process's part of how many, counted from 1.
        series_uid: Of DICOM series, only this one.
        series_description: Of DICOM series, only those whose description fits this pattern.
        on_start: Called with the number of cases.
        on_case: Called with case id and result.
        on_left_out: Called with what else the inputs hold, by kind.
        **how: Everything else that ``predict`` takes.

    Returns:
        Counts and failures over all members. A scan that all members have learned from fails; one that none has is segmented by
        all of them together.

    Raises:
        ModelError: No ensemble, or members that do not know their scans.
    """
    folder = read_model_folder(model)
    members = [read_model_folder(path) for path in folder.members]
    _require_knowing(folder, members)
    n_channels = len(folder.description["channels"])
    where = SearchOptions(SeriesChoice(series_uid, series_description), out)
    found = search_inputs(inputs, n_channels=n_channels, data_root=data_root, fold=fold, where=where)
    cases = take_shard(found.cases, shard)
    on_left_out(found.left_out)
    on_start(len(cases))
    how |= {"data_root": data_root, "fold": fold, "shard": shard}
    how |= {"series_uid": series_uid, "series_description": series_description}
    chosen: dict[Path | None, set[str]] = defaultdict(set)
    for case in cases:
        chosen[_who(case, folder, members)].add(case.case_id)
    outcomes = []
    for place, ids in chosen.items():
        if place is not None:
            outcomes.append(predict(place, inputs, out, unpack=False, choose=_only(ids), on_case=on_case, **how))
    failures = dict.fromkeys(sorted(chosen.get(None, ())), ALL_HAVE_SEEN)
    for case in cases:
        if case.case_id in failures:
            Ledger(make_folder(out)).put_down(case, ALL_HAVE_SEEN)
            on_case(case.case_id, ALL_HAVE_SEEN)
    return _together(outcomes, failures)


def _require_knowing(folder: ModelFolder, members: Sequence[ModelFolder]) -> None:
    if not members:
        raise ModelError(
            f"--out-of-fold must have an ensemble of folds, got the single model {folder.path}. Train with --fold all and give "
            "the run's folder."
        )
    for member in members:
        if not has_hashes(member.description):
            raise ModelError(
                f"--out-of-fold must have members that know the scans they were trained on, got {member.path}, which was made by "
                "an earlier version. Predict fold by fold: `segsuite predict RUN/fold_0 M.json --fold 0`, and so on."
            )


def _who(case: InputCase, folder: ModelFolder, members: Sequence[ModelFolder]) -> Path | None:
    """The model for a case; ``None`` if all have seen it. One that cannot be read goes to the first, which says why."""
    try:
        voxels = voxel_hash(read_channels(case.images, n_channels=len(folder.description["channels"])))
    except Exception:
        return members[0].path
    fresh = [member.path for member in members if not has_seen(member.description, voxels)]
    if len(fresh) == len(members):
        return folder.path
    return fresh[0] if fresh else None


def _only(ids: set[str]) -> Callable[[Sequence[InputCase]], list[InputCase]]:
    return lambda cases: [case for case in cases if case.case_id in ids]


def _together(outcomes: Sequence[Outcome], failures: dict[str, str]) -> Outcome:
    return Outcome(
        sum(outcome.n_done for outcome in outcomes),
        sum(outcome.n_skipped for outcome in outcomes),
        failures | {case: reason for outcome in outcomes for case, reason in outcome.failures.items()},
        sum(outcome.n_left for outcome in outcomes),
        busy_share=min((outcome.busy_share for outcome in outcomes), default=1.0),
        computed_by=", ".join(sorted({outcome.computed_by for outcome in outcomes if outcome.computed_by})),
    )
