"""The word predict: files, folders or a manifest in, masks out. Torch is loaded only where the network runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from segsuite.data.label_table import LABELS_FILE, label_table
from segsuite.engines.first_look import FirstLook
from segsuite.engines.inputs import InputCase, SearchOptions, search_inputs, take_shard, with_attributes
from segsuite.engines.isolation import predict_isolated
from segsuite.engines.model_folder import ModelFolder, descriptions_in, read_model_folder
from segsuite.engines.prediction import BatchOptions, Outcome, ignore, open_model, predict_cases
from segsuite.engines.ray_options import RayOptions
from segsuite.engines.segmentation import Predictor
from segsuite.errors import OutputError, SettingsError
from segsuite.files import make_folder, write_text
from segsuite.outputs import require_outputs_apart
from segsuite.volumes.archives import WorkFolder
from segsuite.volumes.finding import SeriesChoice
from segsuite.volumes.regions import file_word
from segsuite.volumes.writing import side_volume

__all__ = ["open_predictor", "open_watchful", "predict"]


def predict(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    save_probabilities: bool = False,
    save_regions: bool = False,
    series_uid: str | None = None,
    series_description: str | None = None,
    unpack: bool = True,
    attributes: Path | None = None,
    overrides: Sequence[str] = (),
    force: bool = False,
    strict: bool = False,
    device: str = "auto",
    threads: int | None = None,
    isolate: bool = False,
    time_limit_s: float | None = None,
    cluster: RayOptions | None = None,
    choose: Callable[[Sequence[InputCase]], list[InputCase]] = list,
    stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[int], None] = lambda _: None,
    on_case: Callable[[str, str], None] = ignore,
    on_left_out: Callable[[Counter[str]], None] = lambda _: None,
) -> Outcome:
    """Segment files, folders or a manifest with a model folder.

    Args:
        model: Model or run folder.
        inputs: Files, folders, DICOM folders or files, zip and tar archives, manifests.
        out: Where the masks go.
        data_root: For manifests.
        fold: For manifests, only this fold.
        shard: This process's part of how many, counted from 1.
        overwrite: Do again what is done.
        save_probabilities: Also write one volume per class, or region.
        save_regions: Also write one mask per region.
        series_uid: Of DICOM series, only this one.
        series_description: Of DICOM series, only those whose description fits this pattern.
        unpack: Whether zip and tar archives are looked into.
        attributes: Table with a column ``case`` and what else is known of each case.
        overrides: ``key=value`` of how the model is applied.
        force: Segment also what the model takes for another kind of image.
        strict: Refuse what looks like another kind of image; else it is a note.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: Of the network on a CPU; ``None``: one per core.
        isolate: In a process of its own, so that a case that kills it costs only itself.
        time_limit_s: For one case; needs ``isolate`` or ``cluster``.
        cluster: Spread the cases over a Ray cluster instead.
        choose: Which of the cases to segment now.
        stop: When true, the case in hand is finished and the rest is left.
        on_start: Called with the number of cases.
        on_case: Called with case id and result.
        on_left_out: Called with what else the inputs hold, by kind.

    Returns:
        Counts and failures.

    Raises:
        SettingsError: Regions of a model that has none.
        OutputError: A mask would take the place of something that is read, or lie outside ``out``, or the labels of masks that
            are there would get other names; nothing is written then.
    """
    folder = read_model_folder(model)
    beside = _words_beside(folder, probabilities=save_probabilities, regions=save_regions)
    opened = partial(open_watchful, device=device, overrides=tuple(overrides), threads=threads, strict=strict)
    with WorkFolder(out) as work:
        where = SearchOptions(SeriesChoice(series_uid, series_description), out, work if unpack else None)
        n_channels = len(folder.description["channels"])
        found = search_inputs(inputs, n_channels=n_channels, data_root=data_root, fold=fold, where=where)
        on_left_out(found.left_out)
        every = found.cases if attributes is None else with_attributes(found.cases, attributes)
        cases = choose(take_shard(every, shard))
        tables = [*(path for path in inputs if path.is_file()), *([attributes] if attributes else [])]
        _require_apart(cases, every, tables, out, beside)
        if not cases:
            return Outcome(0, 0, {})
        on_start(len(cases))
        _write_labels(make_folder(out) / LABELS_FILE, folder, overwrite=overwrite)
        options = BatchOptions(shard, overwrite, save_probabilities, series_uid, force, save_regions)
        how: dict[str, Any] = {"stop": stop, "on_case": on_case}
        if cluster is not None:
            from segsuite.engines.ray_cluster import predict_on_ray  # Ray is an extra

            on_node = _for_nodes(folder.path.resolve(), opened, cluster)
            return predict_on_ray(cases, on_node, out, options, cluster=cluster, time_limit_s=time_limit_s, **how)
        if isolate:
            return predict_isolated(cases, partial(opened, folder.path), out, options, time_limit_s=time_limit_s, **how)
        return predict_cases(cases, open_model(partial(opened, folder.path)), out, options, **how)


def _for_nodes(model: Path, opened: Callable[[Path], Predictor], cluster: RayOptions) -> Callable[[], Predictor]:
    from segsuite.engines.parcels import SentModel

    return SentModel(model, opened) if cluster.files == "sent" else partial(opened, model)


def _words_beside(folder: ModelFolder, *, probabilities: bool, regions: bool) -> list[str]:
    """What the volumes are called that are written beside each mask."""
    if regions and folder.regions is None:
        raise SettingsError(
            f"--save-regions must have a model that was trained on regions, got {folder.path}, whose structures are "
            f"{sorted(folder.labels)}. Leave it away: the mask holds them all."
        )
    names = [] if folder.regions is None else [file_word(name) for name in folder.regions.names]
    decided = names or [str(value) for value in folder.labels.values()]
    return [f"probability_{word}" for word in decided if probabilities] + [f"region_{word}" for word in names if regions]


def _require_apart(
    chosen: Sequence[InputCase], cases: Sequence[InputCase], tables: Sequence[Path], out: Path, beside: Sequence[str]
) -> None:
    """Check that no image, table or other case's mask is written over."""
    outputs = {out / case.output: f"case {case.case_id}" for case in chosen} | {out / LABELS_FILE: "names of the labels"}
    if len(outputs) <= len(chosen):
        raise OutputError(f"Each case must have a mask of its own, got {len(chosen)} cases for {len(outputs) - 1} names.")
    more = {side_volume(out / case.output, word): f"{word} of case {case.case_id}" for case in chosen for word in beside}
    if both := sorted(outputs.keys() & more.keys()):
        raise OutputError(
            f"Each output must be a file of its own, got {both[0]} twice: for {outputs[both[0]]} and for {more[both[0]]}. "
            "Give the case another name, or leave away what is written beside the masks."
        )
    outputs |= more | dict.fromkeys(out.glob("ledger*.jsonl"), "the ledger")
    require_outputs_apart(outputs, [*(image for case in cases for image in case.images), *tables], inside=out)


def _write_labels(path: Path, folder: ModelFolder, *, overwrite: bool) -> None:
    """The names of the labels; those of masks that are there already keep their meaning."""
    text = label_table({value: name for name, value in folder.labels.items()})
    if path.exists() and not overwrite:
        lost = [row for row in path.read_text(encoding="utf-8", errors="replace").splitlines() if row not in text.splitlines()]
        if lost:
            raise OutputError(
                f"{path} must name the labels of {folder.path}, got other ones ({lost[0]!r}): the masks beside it are of another "
                "model. Choose another --out, or do all again with --overwrite."
            )
    write_text(path, text)


def open_watchful(model: Path, *, device: str, overrides: Sequence[str], threads: int | None, strict: bool = False) -> Predictor:
    """The same as ``open_predictor``, for scans that come from anywhere: it looks at each first, and says what must be known.

    Args:
        model: Model or run folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        overrides: ``key=value`` of how it is applied.
        threads: Of the network on a CPU; ``None``: one per core.
        strict: Refuse what looks like another kind of image.

    Returns:
        The predictor.
    """
    predictor = open_predictor(model, device=device, overrides=overrides, threads=threads)
    return FirstLook(predictor, descriptions_in(model), strict=strict)


def open_predictor(model: Path, *, device: str, overrides: Sequence[str], threads: int | None) -> Predictor:
    """Open a model folder with the pipeline that made it.

    Args:
        model: Model or run folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        overrides: ``key=value`` of how it is applied.
        threads: Of the network on a CPU; ``None``: one per core.

    Returns:
        The predictor.
    """
    from segsuite.engines.allocator import keep_freed_memory
    from segsuite.engines.devices import set_threads
    from segsuite.pipeline import find_pipeline
    from segsuite.settings import parsed_overrides

    keep_freed_memory()
    set_threads(threads)
    opener = find_pipeline(read_model_folder(model).pipeline).opener
    return opener.load_predictor(model, device=device, overrides=parsed_overrides(overrides))
