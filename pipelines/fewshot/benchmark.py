"""Folds of hidden structures, numbers of shots, draws of supports: every rule decided from one pass of the network per scan."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipelines.fewshot.bank import Structure
from pipelines.fewshot.kernels import Kernel, SupportStatistics
from pipelines.fewshot.network import Bias, KernelNetwork
from pipelines.fewshot.predictor import UNKNOWN, FewshotPredictor, load_predictor, with_new
from pipelines.fewshot.registration import Support, support_statistics
from pipelines.fewshot.rules import Rule, blended_base, make_kernel
from pipelines.fewshot.settings import Settings
from pipelines.fewshot.supports import draw_supports
from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import Case, Manifest, read_manifest
from segsuite.engines.segmentation import Segmentation
from segsuite.errors import SettingsError, closest_hint
from segsuite.files import make_folder
from segsuite.metrics.overlap import dice_score
from segsuite.metrics.per_case import measure_structure
from segsuite.metrics.probes import area_under_curve
from segsuite.pipeline import Runtime
from segsuite.shapes import LabelMap, Mask, Spacing
from segsuite.shipped import find_manifest
from segsuite.verbs.runs import load_settings, train
from segsuite.volumes.components import keep_largest_component_per_label
from segsuite.volumes.orders import upright, upright_mask
from segsuite.volumes.reading import read_channels, read_labels
from segsuite.volumes.volume import Volume

__all__ = ["ROWS", "Row", "run_benchmark"]

NO_BIAS = Bias()
TOLERANCE_MM = 2.0
DISCRIMINANT = Rule()
GATED = Rule("gated", calibrate=False)


@dataclass(frozen=True)
class Row:
    """One way to decide.

    Attributes:
        name: In the table.
        rule: How kernels are made.
        slices: Annotated slices per support; ``None``: all.
        is_open: Whether base and new structures compete.
        needs_gate: Only for models with a trained gate.
        bias: In favour of new structures; conditional ones only for models with a foreground branch.
    """

    name: str
    rule: Rule
    slices: int | None = None
    is_open: bool = False
    needs_gate: bool = False
    bias: Bias = NO_BIAS

    def is_possible(self, network: KernelNetwork) -> bool:
        """Whether a model has what the row needs."""
        has_gate, sees_objects = network.update is not None, network.foreground is not None
        return (has_gate or not self.needs_gate) and (sees_objects or self.bias.kind not in ("hard", "soft"))


ROWS = (
    Row("discriminant, calibrated (default)", DISCRIMINANT),
    Row("discriminant, calibrated, open competition", DISCRIMINANT, is_open=True),
    Row("discriminant, calibrated, three slices a scan", DISCRIMINANT, slices=3),
    Row("discriminant", replace(DISCRIMINANT, calibrate=False)),
    Row("logistic regression, calibrated", Rule("logistic")),
    Row("logistic regression", Rule("logistic", calibrate=False)),
    Row("fine-tuned kernel, calibrated", Rule("finetuned")),
    Row("fine-tuned kernel", Rule("finetuned", calibrate=False)),
    Row("four prototypes, calibrated", Rule("prototype", prototypes=4)),
    Row("prototype, calibrated", Rule("prototype")),
    Row("prototype", Rule("prototype", calibrate=False)),
    Row("prototype, base kernels blended", Rule("blended", calibrate=False)),
    Row("gated prototype, calibrated", Rule("gated"), needs_gate=True),
    Row("gated prototype", GATED, needs_gate=True),
    Row("gated prototype, hard bias", GATED, needs_gate=True, bias=Bias("hard")),
    Row("gated prototype, soft bias", GATED, needs_gate=True, bias=Bias("soft")),
    Row("gated prototype, unconditional bias", GATED, needs_gate=True, bias=Bias("unconditional")),
    Row("discriminant, calibrated, hard bias", DISCRIMINANT, bias=Bias("hard")),
    Row("discriminant, calibrated, unconditional bias", DISCRIMINANT, bias=Bias("unconditional")),
)


@dataclass(frozen=True)
class Trial:
    """A row with one draw of supports."""

    row: Row
    shots: int
    draw: int
    kernels: list[Kernel]


@dataclass(frozen=True)
class Pass:
    """What one pass of the network decides.

    Attributes:
        bias: In favour of new structures.
        base: Base kernels in place of those of training; ``None``: those.
        trials: One after the other.
    """

    bias: Bias
    base: Tensor | None
    trials: list[Trial]


@dataclass
class Statistics:
    """What supports leave behind, each computed once."""

    predictor: FewshotPredictor
    known: dict[tuple[Support, int | None], SupportStatistics] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def of(self, support: Support, slices: int | None) -> SupportStatistics:
        """Of one support.

        Args:
            support: Scan and mask.
            slices: Annotated slices.

        Returns:
            Its statistics.
        """
        key = (support, slices)
        if key not in self.known:
            began = time.perf_counter()
            found = support_statistics(self.predictor, support, slices=slices, force=False, where=str(support.mask))
            self.known[key] = found
            self.seconds.append(time.perf_counter() - began)
        return self.known[key]


@dataclass(frozen=True)
class Fold:
    """What is hidden, drawn and judged in one fold."""

    novel: tuple[str, ...]
    manifest: Manifest
    data_root: Path
    training: list[Case]
    held_out: list[Case]
    shots: tuple[int, ...]
    draws: int
    largest_component: bool

    def supports(self) -> dict[tuple[str, int, int], list[Support]]:
        """Of every structure, number of shots and draw; never of a held-out patient."""
        return {
            (name, shots, draw): draw_supports(self.training, self.manifest, self.data_root, name, shots=shots, seed=draw)
            for name in self.novel
            for shots in self.shots
            for draw in range(self.draws)
        }


def run_benchmark(
    config: str, *, overrides: Sequence[str], out: Path, runtime: Runtime, tell: Callable[[str], None], rows: Sequence[Row] = ROWS
) -> pd.DataFrame:
    """Train a base model per fold of ``benchmark.folds``, then decide every row; a rerun goes on where it was.

    Args:
        config: With ``benchmark`` and a manifest whose held-out fold is judged.
        overrides: ``dotted.key=value``.
        out: Gets a run per fold, ``supports.tsv``, ``scores.tsv``, and for models with a foreground branch ``objects_FOLD.tsv``:
            how well it tells a new structure from background, by patient.
        runtime: Device, workers, progress.
        tell: Told what is being done.
        rows: Ways to decide.

    Returns:
        One line per fold, row, shots, draw, patient and structure: ``dice``, ``intersection`` and ``union`` (voxels), and for
        the first row ``surface_dice_2mm`` and ``hd95`` (mm; ``inf`` where a structure was missed). The first row also has
        lines of the earlier ``session``s, in which only the first new classes of the fold are known.

    Raises:
        SettingsError: No folds, an unknown structure, or nothing is held out.
    """
    settings = load_settings(config, overrides)[1]
    if not isinstance(settings, Settings) or not settings.benchmark.folds:
        raise SettingsError(f"{config} must be a config of few-shot segmentation with `benchmark.folds`, got none.")
    folds = _folds(settings)
    drawn = [
        (*key, " ".join(s.mask.name for s in supports)) for fold in folds.values() for key, supports in fold.supports().items()
    ]
    pd.DataFrame(drawn, columns=["structure", "shots", "draw", "masks"]).to_csv(
        make_folder(out) / "supports.tsv", sep="\t", index=False
    )
    parts = []
    for name, fold in folds.items():
        table = out / f"scores_{name}.tsv"
        if not table.is_file():
            tell(f"fold {name}: base training")
            words = [*overrides, f"novel=[{','.join(fold.novel)}]"]
            model = train(config, overrides=words, out=out / name, runtime=runtime).model
            predictor = load_predictor(model, device=runtime.device, overrides={"backend": "torch"})
            tell(f"fold {name}: deciding {len(rows)} rows")
            if predictor.network.network.foreground is not None:
                areas = pd.DataFrame(_object_areas(predictor, fold)).assign(fold=name)
                areas.to_csv(out / f"objects_{name}.tsv", sep="\t", index=False)
                tell(f"fold {name}: area under the curve of unknown objects {areas['area'].mean():.2f}")
            pd.DataFrame(_outcomes(predictor, fold, rows, tell)).assign(fold=name).to_csv(table, sep="\t", index=False)
        parts.append(pd.read_csv(table, sep="\t", dtype={"patient": str}))
    scores = pd.concat(parts)
    scores.to_csv(out / "scores.tsv", sep="\t", index=False)
    return scores


def _folds(settings: Settings) -> dict[str, Fold]:
    data = settings.data
    if data.manifest is None:
        raise SettingsError("A benchmark must have a manifest, got none: give --manifest M.json.")
    path = find_manifest(data.manifest)
    manifest = read_manifest(path)
    root = find_data_root(manifest, path, None if data.data_root is None else Path(data.data_root))
    training, held_out = manifest.split(data.fold)
    if not held_out:
        raise SettingsError("A benchmark must hold patients out, got no fold: give --fold N, after `segsuite manifest split`.")
    for name in (name for names in settings.benchmark.folds.values() for name in names):
        if name not in manifest.labels:
            raise SettingsError(
                f"`benchmark.folds` must name structures of the manifest, got `{name}`. {closest_hint(name, manifest.labels)}"
            )
    chosen = settings.benchmark
    return {
        name: Fold(novel, manifest, root, training, held_out, chosen.shots, chosen.draws, chosen.largest_component)
        for name, novel in chosen.folds.items()
    }


def _outcomes(
    predictor: FewshotPredictor, fold: Fold, rows: Sequence[Row], tell: Callable[[str], None]
) -> Iterator[dict[str, object]]:
    """Measures of every row, shot number, draw, held-out patient and structure; those of surfaces of the first row only."""
    passes = _passes(predictor, fold, rows, tell)
    base_extra = predictor.extra
    for case in fold.held_out:
        volume, reference = _read(fold, case)
        for one in passes:
            kernels = [kernel for trial in one.trials for kernel in trial.kernels]
            predictor.network.register_kernels(kernels, bias=one.bias, base=one.base)
            predictor.extra = tuple(str(number) for number in range(len(kernels))) + base_extra
            found = predictor.segment_box(volume, keep_probabilities=True)
            known = keep_largest_component_per_label(found.mask, which=predictor.largest_component)
            for place, trial in enumerate(one.trials):
                facts = {"row": trial.row.name, "shots": trial.shots, "draw": trial.draw, "patient": case.patient_id}
                for session, mask in _masks(found, known, place, trial, fold, all_sessions=trial.row == rows[0]):
                    surfaces = trial.row == rows[0] and session == len(fold.novel)
                    for line in _lines(mask, reference, fold, session, volume.spacing_mm, surfaces=surfaces):
                        yield {**facts, **line}


def _passes(predictor: FewshotPredictor, fold: Fold, rows: Sequence[Row], tell: Callable[[str], None]) -> list[Pass]:
    """All trials that a model can do, those together that one pass of the network can decide."""
    statistics, drawn = Statistics(predictor), fold.supports()
    shared: dict[Bias, list[Trial]] = {}
    alone: list[Pass] = []
    for row in (row for row in rows if row.is_possible(predictor.network.network)):
        for shots, draw in itertools.product(fold.shots, range(fold.draws)):
            known = [[statistics.of(support, row.slices) for support in drawn[name, shots, draw]] for name in fold.novel]
            trial = Trial(row, shots, draw, [make_kernel(supports, row.rule, predictor.base) for supports in known])
            if row.rule.rule == "blended":
                moved = blended_base(predictor.base.directions, [support for supports in known for support in supports])
                alone.append(Pass(row.bias, torch.from_numpy(moved), [trial]))
            else:
                shared.setdefault(row.bias, []).append(trial)
    tell(f"{len(statistics.known)} supports, {np.median(statistics.seconds):.1f} s each (median)")
    return [*(Pass(bias, None, trials) for bias, trials in shared.items()), *alone]


def _read(fold: Fold, case: Case) -> tuple[Volume, LabelMap]:
    volume = read_channels(image_paths(case, fold.data_root), n_channels=fold.manifest.n_channels)
    path = label_path(case, fold.data_root)
    mask = read_labels(path, mapping=fold.manifest.label_mapping)
    return upright(volume)[0], upright_mask(mask, volume.grid, names=(str(volume.path), str(path))).labels


def _masks(
    found: Segmentation, known: LabelMap, place: int, trial: Trial, fold: Fold, *, all_sessions: bool
) -> Iterator[tuple[int, LabelMap]]:
    """How many of the new structures are known, and the mask then; only when all are, unless all sessions are asked for."""
    n = len(fold.novel)
    maps = np.stack([found.volumes[str(place * n + number)] for number in range(n)])
    structures = [Structure(name, fold.manifest.labels[name], 1, (), fold.largest_component) for name in fold.novel]
    rivals = found.probabilities if trial.row.is_open else None
    for session in range(1 if all_sessions else n, n + 1):
        yield session, with_new(known, found.mask, maps[:session], structures[:session], rivals)


def _object_areas(predictor: FewshotPredictor, fold: Fold) -> Iterator[dict[str, object]]:
    """By held-out patient: the area under the curve with which the foreground branch tells new structures from background."""
    new = [fold.manifest.labels[name] for name in fold.novel]
    for case in fold.held_out:
        volume, reference = _read(fold, case)
        objects = predictor.segment_box(volume).volumes[UNKNOWN]
        asked = (reference == 0) | np.isin(reference, new)
        yield {"patient": case.patient_id, "area": area_under_curve(objects[asked], reference[asked] > 0)}


def _lines(
    mask: LabelMap, reference: LabelMap, fold: Fold, session: int, spacing_mm: Spacing, *, surfaces: bool
) -> Iterator[dict[str, object]]:
    """One line per structure that is known in a session: all base ones, and so many of the new ones."""
    for value, name in fold.manifest.structures.items():
        if name not in fold.novel[session:]:
            kind = "novel" if name in fold.novel else "base"
            measures = _measures(mask == value, reference == value, spacing_mm, surfaces=surfaces)
            yield {"session": session, "structure": name, "kind": kind, **measures}


def _measures(predicted: Mask, reference: Mask, spacing_mm: Spacing, *, surfaces: bool) -> dict[str, float]:
    """Dice and counts; with surfaces also surface Dice and HD95."""
    measures = {
        "dice": dice_score(predicted, reference),
        "intersection": np.count_nonzero(predicted & reference),
        "union": np.count_nonzero(predicted | reference),
    }
    if surfaces:
        found = measure_structure(predicted, reference, spacing_mm=spacing_mm, tolerances_mm=(TOLERANCE_MM,))
        measures |= {name: found[name][0] for name in (f"surface_dice_{TOLERANCE_MM:g}mm", "hd95")}
    return measures
