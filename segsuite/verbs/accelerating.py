"""The words accelerate and export: a trained network for other engines, and proof on validation cases that masks stay."""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segsuite.data.locate import find_data_root, image_paths
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.data.transforms import prepare_image
from segsuite.documents import read_json
from segsuite.engines.backends import (
    INT8_FILE,
    NETWORK_FILE,
    REFERENCE,
    TABLE_FILE,
    Backend,
    accepted_backends,
    backends_here,
    choose_backend,
    open_backend,
    pass_seconds,
    read_table,
)
from segsuite.engines.model_folder import DESCRIPTION_FILE, ModelFolder, read_model_folder
from segsuite.engines.model_predictor import ModelPredictor
from segsuite.engines.network_export import export_onnx, export_openvino
from segsuite.engines.quantisation import example_windows, quantise_onnx
from segsuite.errors import ManifestError, ModelError, OutputError, SettingsError
from segsuite.extras import require_extra
from segsuite.files import hash_of_file, make_folder, write_json
from segsuite.outputs import require_outputs_apart
from segsuite.shapes import Image
from segsuite.verbs.evaluating import evaluate
from segsuite.verbs.predicting import open_predictor, predict
from segsuite.volumes.reading import read_channels

__all__ = [
    "FORMATS",
    "MOST_DICE_LOST",
    "MOST_HD95_SHARE",
    "MOST_LOST_BY_ONE",
    "Scores",
    "accelerate",
    "export",
    "judge",
    "show_backends",
]

MOST_DICE_LOST = 0.002
"""Of mean Dice against torch in float32; beyond, a backend is not used."""
MOST_HD95_SHARE = 0.01
"""By which mean HD95 may grow."""
MOST_LOST_BY_ONE = 0.01
"""Of Dice by a single structure; a mean over many hides it."""
EXAMPLE_CASES = 8
"""Not among the judged, where there are others, whose windows give int8 its ranges."""
EXAMPLES_PER_CASE = 2
FORMATS = {"onnx": "network.onnx", "openvino": "network.xml"}


@dataclass(frozen=True)
class Scores:
    """Of a backend's masks.

    Attributes:
        dice: Mean over structures and cases.
        hd95: The same, mm.
        dice_of: Of each structure, mean over cases.
    """

    dice: float
    hd95: float
    dice_of: Mapping[str, float]


def accelerate(
    model: Path,
    manifest: Path,
    *,
    data_root: Path | None = None,
    fold: int | None = None,
    n_cases: int = 8,
    threads: int | None = None,
    on_step: Callable[[str], None] = lambda doing: None,
) -> dict[str, dict[str, Any]]:
    """Export a model for the CPU engines that are installed, and accept those whose masks are as good as torch's.

    Args:
        model: Model or run folder; of an ensemble, every member is judged by itself.
        manifest: Labelled cases to judge by.
        data_root: For the manifest.
        fold: Whose held-out cases; ``None``: those of the fold that the model was trained on, if the manifest has it.
        n_cases: The first so many are judged.
        threads: Of the network; ``None``: one per core.
        on_step: Told what is being done.

    Returns:
        Per member folder, name of a backend to ``dice``, ``hd95``, ``dice_lost``, ``hd95_share``, ``worst_structure``,
        ``worst_dice_lost``, ``accepted``, ``version``; the same is written into the folder.

    Raises:
        SettingsError: The extra is not installed.
        ModelError: A network that cannot be exported.
        ManifestError: No labelled case, or none with a structure.
    """
    require_extra("openvino", "openvino", "onnxruntime", "onnxscript", purpose="`segsuite accelerate`")
    folder = read_model_folder(model)
    found = {}
    known = _with_regions(read_manifest(manifest), folder)
    root = find_data_root(known, manifest, data_root).resolve()
    judged = _judged_cases(folder, known, manifest, fold, n_cases)
    names = {case.case_id for case in judged}
    others = [case for case in known.training if case.case_id not in names] or judged
    with tempfile.TemporaryDirectory() as scratch:
        cases = Path(scratch) / "judged.json"
        write_manifest(cases, known.model_copy(update={"data_root": str(root), "training": judged, "test": []}))
        for number, path in enumerate(folder.members or [folder.path]):
            member = read_model_folder(path)
            on_step(f"{path}: exporting")
            predictor = _window_predictor(member, REFERENCE, threads)
            _export_onnx(predictor, member.path / NETWORK_FILE)
            _export_int8(predictor, others, root, on_step)
            scores = {}
            for backend in backends_here():
                if backend.file is not None and not (member.path / backend.file).is_file():
                    continue
                on_step(f"{path}: {backend.name} on {len(judged)} cases")
                out = Path(scratch) / f"{number}" / backend.name.replace("/", "_")
                scores[backend.name] = _scores(member, backend, cases, out, threads)
            found[str(path)] = judge(scores)
            _write_table(member, known.name, judged, found[str(path)])
    return found


def judge(scores: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """What may be used: masks whose scores are those of the reference.

    Args:
        scores: By name of the backend; the reference among them.

    Returns:
        Rows as ``accelerate`` has them.
    """
    best = scores[REFERENCE.name]
    rows: dict[str, dict[str, Any]] = {}
    for name, score in scores.items():
        lost = best.dice - score.dice
        grown = score.hd95 - best.hd95
        share = grown / best.hd95 if best.hd95 else float(grown > 0)
        losses = {
            structure: dice - score.dice_of[structure] for structure, dice in best.dice_of.items() if structure in score.dice_of
        }
        worst = max(losses, key=lambda structure: losses[structure], default="")
        most_lost = losses.get(worst, 0.0)
        rows[name] = {
            "dice": round(score.dice, 5),
            "hd95": round(score.hd95, 4),
            "dice_lost": round(lost, 5),
            "hd95_share": round(share, 5),
            "worst_structure": worst,
            "worst_dice_lost": round(most_lost, 5),
            "accepted": lost <= MOST_DICE_LOST and share <= MOST_HD95_SHARE and most_lost <= MOST_LOST_BY_ONE,
            "version": Backend.parse(name).version,
        }
    return rows


def export(model: Path, out: Path, *, file_format: str = "onnx") -> Path:
    """Write a model's network for other programs, with the description of what comes before and after it.

    Args:
        model: Model or run folder of a single model.
        out: Gets ``network.onnx``, or ``network.xml`` and ``network.bin``; and ``model.json``.
        file_format: ``onnx`` or ``openvino``.

    Returns:
        The network's file.

    Raises:
        SettingsError: Another format, an ensemble, or an extra that is not installed.
        ModelError: A network that cannot be exported.
        OutputError: The model itself, or another model's files, would be written over.
    """
    if file_format not in FORMATS:
        raise SettingsError(f"--format must be one of {sorted(FORMATS)}, got `{file_format}`.")
    folder = read_model_folder(model)
    if folder.members:
        raise SettingsError(
            f"{folder.path} must be one model, got an ensemble. Export its members: {', '.join(map(str, folder.members))}."
        )
    files = [FORMATS[file_format], DESCRIPTION_FILE]
    require_outputs_apart({out / name: "the exported network" for name in files}, sorted(folder.path.iterdir()))
    _require_own_export(out, [*files, *(Path(name).with_suffix(".bin").name for name in files if name.endswith(".xml"))], folder)
    predictor = _window_predictor(folder, REFERENCE, None)
    target = make_folder(out) / FORMATS[file_format]
    if file_format == "onnx":
        _export_onnx(predictor, target)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            onnx = Path(scratch) / "network.onnx"
            _export_onnx(predictor, onnx)
            export_openvino(onnx, target)
    write_json(out / DESCRIPTION_FILE, folder.description)
    return target


def _require_own_export(out: Path, names: Sequence[str], folder: ModelFolder) -> None:
    """Only an earlier export of the same model is written over."""
    there = [name for name in names if os.path.lexists(out / name)]
    known = out / DESCRIPTION_FILE
    if there and not (known.is_file() and read_json(known, error=ModelError) == folder.description):
        raise OutputError(
            f"{out} must hold no file of another model, got {', '.join(there)}. Move them away, or choose another --out."
        )


def _export_onnx(predictor: ModelPredictor, path: Path) -> None:
    patch_size = predictor.windows(predictor.model).patch_size
    export_onnx(predictor.first_network(), path, n_channels=predictor.n_inputs, patch_size=patch_size)


def _export_int8(predictor: ModelPredictor, cases: Sequence[Case], root: Path, on_step: Callable[[str], None]) -> None:
    """The network in int8, with the ranges that features have in some windows of cases; without it where that cannot be done."""
    model = predictor.model
    on_step(f"{model.path}: int8, with ranges from {len(cases[:EXAMPLE_CASES])} cases")
    path = model.path / INT8_FILE
    path.unlink(missing_ok=True)
    examples = list[Image]()
    for number, case in enumerate(cases[:EXAMPLE_CASES]):
        image, _ = prepare_image(read_channels(image_paths(case, root)), predictor.preprocessing)
        examples += example_windows(image, predictor.windows(model), count=EXAMPLES_PER_CASE, seed=number)
    try:
        quantise_onnx(model.path / NETWORK_FILE, path, examples)
    except ModelError as error:
        on_step(f"{model.path}: no int8. {error}")


def _write_table(model: ModelFolder, manifest: str, cases: Sequence[Case], rows: dict[str, dict[str, Any]]) -> None:
    int8 = model.path / INT8_FILE
    write_json(
        model.path / TABLE_FILE,
        {
            "model_sha256": model.sha256,
            "network_sha256": hash_of_file(model.path / NETWORK_FILE),
            "int8_sha256": hash_of_file(int8) if int8.is_file() else "",
            "manifest": manifest,
            "cases": [case.case_id for case in cases],
            "limits": {"dice_lost": MOST_DICE_LOST, "hd95_share": MOST_HD95_SHARE, "worst_dice_lost": MOST_LOST_BY_ONE},
            "machine": platform.machine(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "backends": rows,
        },
    )


def show_backends(model: Path, *, threads: int | None = None) -> list[dict[str, Any]]:
    """Every backend of this machine, what the gate said of it, and how fast it is here and now.

    Args:
        model: Model or run folder; of an ensemble, its first member.
        threads: Of the network; ``None``: one per core.

    Returns:
        Rows with ``backend``, ``judged`` (``accepted``, ``rejected``, or ``not judged``), ``dice_lost``, ``worst_dice_lost``,
        ``hd95_share``, ``ms`` of one pass, ``chosen``.
    """
    folder = read_model_folder(model)
    member = read_model_folder(folder.members[0]) if folder.members else folder
    predictor = _window_predictor(member, REFERENCE, threads)
    network, windows = predictor.first_network(), predictor.windows(member)
    shape = (windows.windows_per_pass, predictor.n_inputs, *windows.patch_size)
    judged, accepted = read_table(member).get("backends", {}), accepted_backends(member)
    chosen = choose_backend(
        member,
        lambda: network,
        wish="auto",
        precision=str(member.description["inference"]["precision"]),
        device=predictor.device,
        shape=shape,
    )
    rows = []
    for backend in backends_here():
        row = judged.get(backend.name, {})
        runs = backend.file is None or (member.path / backend.file).is_file()
        rows.append(
            {
                "backend": backend.name,
                "judged": "not judged" if not row else "accepted" if backend in accepted else "rejected",
                "dice_lost": row.get("dice_lost"),
                "worst_dice_lost": row.get("worst_dice_lost"),
                "hd95_share": row.get("hd95_share"),
                "ms": 1000 * pass_seconds(open_backend(backend, network, member), shape, dtype=backend.dtype) if runs else None,
                "chosen": backend == chosen,
            }
        )
    return rows


def _window_predictor(model: ModelFolder, backend: Backend, threads: int | None) -> ModelPredictor:
    predictor = open_predictor(model.path, device="cpu", overrides=(f"backend={backend.name}",), threads=threads)
    if not isinstance(predictor, ModelPredictor):
        raise SettingsError(f"The model must be one that goes over an image in windows, got one of `{model.pipeline}`.")
    return predictor


def _with_regions(known: Manifest, model: ModelFolder) -> Manifest:
    """The manifest with the model's regions, where it has none and the same labels: these are what the masks are judged by."""
    if known.regions or model.regions is None or known.labels != model.labels:
        return known
    return known.model_copy(update=model.regions.to_json())


def _judged_cases(model: ModelFolder, known: Manifest, path: Path, fold: int | None, n_cases: int) -> list[Case]:
    trained = model.description.get("data", {}).get("fold")
    chosen = fold if fold is not None else trained if trained in known.folds else None
    cases = [case for case in known.cases if case.label is not None and chosen in (None, case.fold)][:n_cases]
    if not cases:
        raise ManifestError(f"{path} must hold labelled cases{'' if chosen is None else f' of fold {chosen}'}, got none.")
    return cases


def _scores(model: ModelFolder, backend: Backend, cases: Path, out: Path, threads: int | None) -> Scores:
    overrides = (f"backend={backend.name}",)
    predict(model.path, [cases], out / "masks", overrides=overrides, device="cpu", threads=threads, force=True)
    summary = evaluate(out / "masks", cases, out / "evaluation").summary
    known = {name: entry["dice"]["mean"] for name, entry in summary["structures"].items() if "dice" in entry}
    by_structure = {name: float(value) for name, value in known.items() if value is not None}
    if not by_structure:
        raise ManifestError(
            "The cases to judge by must show a structure, got none in them or in their masks. Take more: --cases."
        )
    return Scores(float(summary["mean"]["dice"]), float(summary["mean"]["hd95"]), by_structure)
