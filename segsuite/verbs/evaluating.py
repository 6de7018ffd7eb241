"""The word evaluate: masks against references, from any model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from segsuite.data.label_table import read_label_table
from segsuite.data.regions import declared_regions, read_regions
from segsuite.engines.evaluation import EvaluatedCase, evaluate_pairs
from segsuite.engines.evaluation_record import require_own, write_record
from segsuite.engines.evaluation_tables import CASE_COLUMNS, EvaluationTables
from segsuite.engines.inputs import with_attributes
from segsuite.engines.label_names import structures_scored, with_structures
from segsuite.engines.pairing import Pair, Pairing, find_pairs
from segsuite.engines.training_overlap import with_training_overlap
from segsuite.errors import OutputError, SettingsError, closest_hint
from segsuite.files import real_path
from segsuite.metrics.per_case import Scoring
from segsuite.reports.conventions import CONVENTIONS_FILE
from segsuite.reports.exports import write_exports
from segsuite.reports.tables import read_evaluation, write_summary
from segsuite.volumes.regions import Label, Regions

__all__ = ["BODY_AXES", "SIZE_EDGES_ML", "TOLERANCES_MM", "Evaluation", "Measures", "evaluate"]

TOLERANCES_MM = (1.0, 2.0)
"""Surface Dice is reported at these tolerances unless others are asked for."""

BODY_AXES: dict[str, Literal[0, 1, 2]] = {"left-right": 0, "back-front": 1, "foot-head": 2}
"""Along which thirds and tubes run; the lower third is where an axis begins."""
SIZE_EDGES_ML = (0.1, 1.0)
"""Objects are also counted apart below, between and above these volumes unless others are asked for."""


@dataclass(frozen=True)
class Measures:
    """What is measured beside overlap, volume and surface distances; structures by name or integer.

    Attributes:
        tolerances_mm: For surface Dice.
        surface: What a surface is: boundary voxels, or elements weighted by area.
        instances: Structures whose separate objects (lesions) are counted too.
        least_iou: Least overlap from which two objects match.
        size_edges_ml: Between small, larger and largest objects, which are also counted apart.
        tubes: Structures that run along ``axis``: distance of centre lines, centre-line Dice.
        topology: Structures whose pieces and holes are counted.
        thirds: Dice also in the lower, middle and upper third of all structures together, along ``axis``.
        axis: One of ``BODY_AXES``.
        probabilities: Brier score and calibration error, where probabilities were saved beside the masks.
    """

    tolerances_mm: Sequence[float] = TOLERANCES_MM
    surface: Literal["voxels", "area"] = "voxels"
    instances: Sequence[str] = ()
    least_iou: float = 0.1
    size_edges_ml: Sequence[float] = SIZE_EDGES_ML
    tubes: Sequence[str] = ()
    topology: Sequence[str] = ()
    thirds: bool = False
    axis: Literal["left-right", "back-front", "foot-head"] = "foot-head"
    probabilities: bool = False

    def scoring(self, structures: Mapping[Label, str], *, ignore_label: int | None) -> Scoring:
        """The same for structures that are known.

        Args:
            structures: Integer to name; of a region, its integers joined by ``+``.
            ignore_label: Label of voxels that are not scored.

        Returns:
            What the metrics need.

        Raises:
            SettingsError: A word that names no structure, or a number that is none or out of range.
        """
        _require_numbers(self.tolerances_mm, option="--tolerance", unit="mm", least=0.0)
        _require_numbers(self.size_edges_ml, option="--size", unit="ml", least=math.ulp(0.0))
        _require_numbers([self.least_iou], option="--least-iou", unit="of 1", least=math.ulp(0.0), most=1.0)
        return Scoring(
            structures,
            tuple(dict.fromkeys(self.tolerances_mm)),
            ignore_label=ignore_label,
            instance_labels=_labels_named(self.instances, structures, option="--instances"),
            least_iou=self.least_iou,
            size_edges_ml=tuple(sorted(self.size_edges_ml)),
            tube_labels=_labels_named(self.tubes, structures, option="--tubes"),
            thirds=self.thirds,
            body_axis=BODY_AXES[self.axis],
            topology_labels=_labels_named(self.topology, structures, option="--topology"),
            surface=self.surface,
        )


@dataclass(frozen=True)
class Evaluation:
    """How an evaluation ended.

    Attributes:
        summary: As in ``metrics_summary.json``.
        n_cases: References.
        problems: Case id to why there was no prediction, or no reference, to measure, or not of all structures.
        n_measured: Cases of which at least one structure was measured.
    """

    summary: dict[str, Any]
    n_cases: int
    problems: dict[str, str]
    n_measured: int

    @property
    def exit_code(self) -> int:
        """0 all measured, 2 some not, 3 none."""
        if not self.problems:
            return 0
        return 2 if self.n_measured else 3


def evaluate(
    predictions: Path,
    references: Path,
    out: Path,
    *,
    measures: Measures | None = None,
    data_root: Path | None = None,
    fold: int | None = None,
    labels: Path | None = None,
    regions: Path | None = None,
    each_label: bool = False,
    by: Sequence[str] = (),
    attributes: Path | None = None,
    workers: int = 1,
    seed: int = 0,
    overwrite: bool = False,
    on_start: Callable[[int], None] | None = None,
    on_case: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure masks against references and write tables and summary. A killed evaluation goes on where it was.

    Args:
        predictions: Mask, folder (also a folder per case with a file per structure) or manifest.
        references: The same; decides which cases count.
        out: Gets ``metrics_per_case.csv``, ``cases.csv``, ``metrics_summary.json``, and ``summary.md``, ``summary.tex`` and
            ``nnunet_summary.json`` to paste or to feed to other tools; ``evaluation.json`` says how all is defined.
        measures: What is measured.
        data_root: For manifests.
        fold: For a manifest of references, only this fold.
        labels: Table that names the integers of the references, where no manifest and no ``labels.tsv`` beside them does, and
            may declare regions of them; see ``data.label_table``. Predictions that name their labels are matched by name.
        regions: Manifest, ``model.json`` or nnU-Net's ``dataset.json`` whose regions are scored, where no manifest of references
            declares some. Regions are scored in place of single labels.
        each_label: Score the single labels beside the regions.
        by: Attributes of the cases (site, scanner, group) by which the summary is also split.
        attributes: Table with a column ``case`` and what is known of each, beside what the manifest says.
        workers: Processes.
        seed: Of the bootstrap.
        overwrite: Replace files in ``out`` that bear an evaluation's names and were not written by one.
        on_start: Called with the number of cases.
        on_case: Called with each case id.

    Returns:
        Summary and problems.

    Raises:
        SettingsError: A structure or an attribute that no case has.
        OutputError: ``out`` is an input, or holds somebody else's files of these names.
    """
    measures, by = measures or Measures(), tuple(dict.fromkeys(by))
    pairing = _pairing(predictions, references, data_root=data_root, fold=fold, labels=labels, attributes=attributes)
    pairs = pairing.pairs
    _require_known(by, pairs)
    given = (predictions, references, labels, regions, attributes)
    _require_apart(out, [path for path in given if path is not None], pairs, overwrite=overwrite)
    structures = structures_scored(pairing, _regions_given(regions, labels), each_label=each_label)
    scoring = measures.scoring(structures, ignore_label=pairing.ignore_label)
    if on_start is not None:
        on_start(len(pairs))
    with EvaluationTables(out, pairs, scoring, attributes=by, probabilities=measures.probabilities) as tables:

        def collect(case: EvaluatedCase) -> None:
            tables.add(case)
            if on_case is not None:
                on_case(case.pair.case_id)

        left = [pair for pair in pairs if pair.case_id not in tables.done]
        for pair in pairs:
            if on_case is not None and pair.case_id in tables.done:
                on_case(pair.case_id)
        evaluate_pairs(left, scoring, probabilities=measures.probabilities, workers=workers, on_case=collect)
    return _summarised(out, scoring, by=by, seed=seed, notes=pairing.notes)


def _pairing(
    predictions: Path,
    references: Path,
    *,
    data_root: Path | None,
    fold: int | None,
    labels: Path | None,
    attributes: Path | None,
) -> Pairing:
    """The pairs with all that is known of cases and labels."""
    manifests = [path.suffix.lower() == ".json" for path in (predictions, references)]
    if fold is not None and not manifests[1]:
        raise SettingsError(f"--fold must go with a manifest of references, got {references}. Leave it out, or give a manifest.")
    if data_root is not None and not any(manifests):
        raise SettingsError("--data-root must go with a manifest, got two folders. Leave it out, or give a manifest.")
    pairing = find_pairs(predictions, references, data_root=data_root, fold=fold)
    pairing = with_structures(pairing, None if labels is None else read_label_table(labels))
    pairing = with_training_overlap(pairing)
    return pairing if attributes is None else replace(pairing, pairs=with_attributes(pairing.pairs, attributes))


def _regions_given(regions: Path | None, labels: Path | None) -> Regions | None:
    """From their own file, or from a table of labels that declares some (nnU-Net's ``dataset.json``)."""
    if regions is not None:
        return read_regions(regions)
    return declared_regions(labels) if labels is not None and labels.suffix.lower() == ".json" else None


def _summarised(out: Path, scoring: Scoring, *, by: Sequence[str], seed: int, notes: Sequence[str]) -> Evaluation:
    """Everything that is made of the tables."""
    (out / CONVENTIONS_FILE).unlink(missing_ok=True)  # an earlier evaluation's
    summary = write_summary(out, by=by, seed=seed, notes=notes)
    measurements, cases = read_evaluation(out)
    write_exports(out, summary, measurements, cases)
    write_record(out, scoring, notes=notes)
    problems = cases[cases["reason"] != ""]
    n_measured = int((~cases["missing"].isin(("prediction", "reference"))).sum())
    return Evaluation(summary, len(cases), dict(zip(problems["case"], problems["reason"], strict=True)), n_measured)


def _require_apart(out: Path, given: Sequence[Path], pairs: Sequence[Pair], *, overwrite: bool) -> None:
    """Tables do not go among masks and images, and replace nothing that no evaluation wrote."""
    real = real_path(out)
    among = {real_path(path.parent) for pair in pairs for path in (*pair.files, pair.image) if path is not None}
    if real in among or real in {real_path(path) for path in given}:
        raise OutputError(
            f"--out must not be a folder of masks or images, got {out}. Give a folder of its own: {out}/evaluation."
        )
    require_own(out, inputs=[path for path in given if path.is_file()], overwrite=overwrite)


def _require_known(by: Sequence[str], pairs: Sequence[Pair]) -> None:
    known = {name for pair in pairs for name in pair.attributes}
    for name in by:
        if name in CASE_COLUMNS:
            raise SettingsError(f"--by must name no column that cases.csv has already, got `{name}`. Rename the attribute.")
        if not known:
            raise SettingsError(f"--by must name an attribute of the cases, got `{name}`, but none is known. Give --attributes.")
        if name not in known:
            raise SettingsError(f"--by must name an attribute of the cases, got `{name}`. {closest_hint(name, known)}")


def _require_numbers(values: Sequence[float], *, option: str, unit: str, least: float, most: float = math.inf) -> None:
    for value in values:
        if not (math.isfinite(value) and least <= value <= most):
            raise SettingsError(f"{option} must be a number {'from' if least == 0 else 'above'} 0 {unit}, got {value:g}.")


def _labels_named(words: Sequence[str], structures: Mapping[Label, str], *, option: str) -> tuple[Label, ...]:
    """Labels by name or integer."""
    by_word = {name: label for label, name in structures.items()} | {str(label): label for label in structures}
    for word in words:
        if word not in by_word:
            raise SettingsError(f"{option} must name a structure, got `{word}`. {closest_hint(word, structures.values())}")
    return tuple(by_word[word] for word in words)
