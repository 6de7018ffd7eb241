"""New organs in abdominal MR from one and five scans: novel, base and harmonic mean, rule by rule, beside full supervision.

    python benchmarks/fewshot_chaos.py DATA --out WORK [--minutes 5]            trains what is missing, then the table
    python benchmarks/fewshot_chaos.py DATA --out WORK --base NAME --set features.rule=drop_novel      another base training

DATA holds `image_NN.nii.gz` and `label_NN.nii.gz` (1 liver, 2 right kidney, 3 left kidney, 4 spleen). Patients are split by a
fixed list; whole volumes, all classes at once; no choice is made by the test patients. All rules, shots and draws of one base
model are decided from one pass of its network over each test volume: it is the pass that prediction makes. Writes the
supports of every draw to WORK/supports.tsv and every Dice to WORK/NAME.tsv.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.fewshot.bank import Structure
from pipelines.fewshot.kernels import SupportStatistics
from pipelines.fewshot.predictor import FewshotPredictor, with_new
from pipelines.fewshot.recipe import load_predictor
from pipelines.fewshot.registration import Support, support_statistics
from pipelines.fewshot.rules import Rule, make_kernel
from pipelines.fewshot.scores import harmonic_mean
from pipelines.fewshot.supports import supports_of_manifest
from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.metrics.overlap import dice_score
from segsuite.pipeline import Runtime
from segsuite.reports.statistics import mean_with_interval
from segsuite.verbs.runs import evaluate, predict, train
from segsuite.volumes.components import keep_largest_component_per_label
from segsuite.volumes.reading import read_labels, read_volume

TEST = ("05", "20", "22", "31", "34", "36")
LABELS = {"background": 0, "liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
FOLDS = {"kidneys": ("right_kidney", "left_kidney"), "liver_spleen": ("liver", "spleen")}
SHOTS = (1, 2, 5)
DISCRIMINANT = Rule()


@dataclass(frozen=True)
class Row:
    """One way to decide."""

    name: str
    rule: Rule
    slices: int | None = None
    is_open: bool = False


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
)
GATED = (Row("gated prototype, calibrated", Rule("gated")), Row("gated prototype", Rule("gated", calibrate=False)))


def manifests(data: Path, out: Path) -> tuple[Path, Path]:
    """Training and test patients."""
    numbers = sorted(path.name[6:8] for path in data.glob("image_*.nii.gz"))
    parts = {"train": [n for n in numbers if n not in TEST], "test": [n for n in numbers if n in TEST]}
    paths = []
    for name, chosen in parts.items():
        rows = [Case(image=f"image_{n}.nii.gz", label=f"label_{n}.nii.gz", case_id=f"c{n}") for n in chosen]
        paths.append(out / f"{name}.json")
        write_manifest(paths[-1], Manifest(name=f"chaos_{name}", labels=LABELS, data_root=str(data.resolve()), training=rows))
    return paths[0], paths[1]


def base_model(out: Path, train_manifest: Path, novel: tuple[str, ...], minutes: float, more: list[str]) -> Path:
    overrides = [f"data.manifest={train_manifest}", f"novel=[{','.join(novel)}]", f"training.max_minutes={minutes}", *more]
    return train("fewshot/chaos", overrides=overrides, out=out, runtime=Runtime()).model


def draws_of(train_manifest: Path, names: Sequence[str], draws: int) -> dict[tuple[str, int, int], list[Support]]:
    """The supports of every structure, number of shots and draw."""
    return {
        (name, shots, draw): supports_of_manifest(train_manifest, None, name, shots=shots, seed=draw)
        for name in names
        for shots in SHOTS
        for draw in range(draws)
    }


class Statistics:
    """What supports leave behind, each computed once."""

    def __init__(self, predictor: FewshotPredictor) -> None:
        self.predictor = predictor
        self.known: dict[tuple[Support, int | None], SupportStatistics] = {}
        self.seconds: list[float] = []

    def of(self, support: Support, slices: int | None) -> SupportStatistics:
        key = (support, slices)
        if key not in self.known:
            began = time.perf_counter()
            where = f"{support.mask}"
            self.known[key] = support_statistics(self.predictor, support, slices=slices, force=False, where=where)
            self.seconds.append(time.perf_counter() - began)
        return self.known[key]


def outcomes(model: Path, novel: tuple[str, ...], train_manifest: Path, data: Path, draws: int) -> Iterator[dict[str, object]]:
    """Dice of every row, shot number, draw, test patient and organ."""
    predictor = load_predictor(model, device="auto", overrides={})
    statistics = Statistics(predictor)
    rows = (*ROWS, *GATED) if predictor.base.update is not None else ROWS
    settings = [(row, shots, draw) for row in rows for shots in SHOTS for draw in range(draws)]
    kernels = []
    drawn = draws_of(train_manifest, novel, draws)
    base_kernels = predictor.base
    for row, shots, draw in settings:
        for name in novel:
            supports = [statistics.of(support, row.slices) for support in drawn[name, shots, draw]]
            kernels.append(make_kernel(supports, row.rule, base_kernels))
    print(f"{len(statistics.known)} supports, {np.median(statistics.seconds):.1f} s each (median)", flush=True)
    predictor.network.register_kernels(kernels)
    predictor.extra = tuple(str(number) for number in range(len(kernels))) + predictor.extra
    structures = [Structure(name, LABELS[name], 1, ()) for name in novel]
    for number in TEST:
        found = predictor.segment_box(read_volume(data / f"image_{number}.nii.gz"), keep_probabilities=True)
        base = keep_largest_component_per_label(found.labels, which=predictor.largest_component)
        reference = read_labels(data / f"label_{number}.nii.gz").labels
        for place, (row, shots, draw) in enumerate(settings):
            maps = np.stack([found.volumes[str(place * len(novel) + n)] for n in range(len(novel))])
            labels = with_new(base, found.labels, maps, structures, found.probabilities if row.is_open else None)
            for name, label in LABELS.items():
                if label:
                    value = dice_score(labels == label, reference == label)
                    yield {
                        "row": row.name, "shots": shots, "draw": draw, "patient": number, "organ": name,
                        "kind": "novel" if name in novel else "base", "dice": value,
                    }  # fmt: skip


def supervised(manifest: Path, test: Path, out: Path, minutes: float) -> dict[str, float]:
    """Mean Dice per organ of a U-Net that is shown everything in a manifest."""
    if not (out / "evaluation" / "metrics_summary.json").is_file():
        overrides = [f"data.manifest={manifest}", f"training.max_minutes={minutes}"]
        model = train("supervised/default", overrides=overrides, out=out / "run", runtime=Runtime()).model
        predict(model, [test], out / "masks")
        evaluate(out / "masks", test, out / "evaluation")
    summary = json.loads((out / "evaluation" / "metrics_summary.json").read_text())
    return {name: float(entry["dice"]["mean"]) for name, entry in summary["structures"].items()}


def show(scores: pd.DataFrame) -> None:
    """One line per row and number of shots: means over organs, patients, draws, then folds; intervals over patients."""
    print("\n| decided by | shots | novel Dice [95 %] | base Dice | harmonic mean |\n| --- | --- | --- | --- | --- |")
    for (name, shots), part in scores.groupby(["row", "shots"], sort=False):
        means = part.groupby(["kind", "fold", "patient"])["dice"].mean()
        interval = mean_with_interval(means["novel"].to_list(), list(means["novel"].index.get_level_values("patient")))
        new, old = float(means["novel"].mean()), float(means["base"].mean())
        both, spread = harmonic_mean(old, new), f"[{interval.low:.3f}, {interval.high:.3f}]"
        print(f"| {name} | {shots} | {new:.3f} {spread} | {old:.3f} | {both:.3f} |")


def show_organs(scores: pd.DataFrame) -> None:
    """The default row by organ, and by test patient at the largest number of shots."""
    default = scores[(scores["row"] == ROWS[0].name) & (scores["kind"] == "novel")]
    for column, part in (("shots", default), ("patient", default[default["shots"] == max(SHOTS)])):
        print(f"\n{ROWS[0].name}, new organs by {column}")
        print(part.groupby(["organ", column])["dice"].mean().unstack().round(3).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--base", default="base", help="name of the base training")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", help="settings of the base training")
    parser.add_argument("--supervised", action="store_true", help="also train a U-Net on all organs of all training patients")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train_manifest, test = manifests(options.data, options.out)
    drawn = draws_of(train_manifest, [name for name, label in LABELS.items() if label], options.draws)
    rows = [(*key, " ".join(support.mask.name for support in supports)) for key, supports in drawn.items()]
    pd.DataFrame(rows, columns=["organ", "shots", "draw", "masks"]).to_csv(options.out / "supports.tsv", sep="\t", index=False)
    table = options.out / f"{options.base}.tsv"
    if not table.is_file():
        parts = []
        for fold, novel in FOLDS.items():
            model = base_model(options.out / options.base / fold, train_manifest, novel, options.minutes, options.overrides)
            found = pd.DataFrame(outcomes(model, novel, train_manifest, options.data, options.draws))
            parts.append(found.assign(fold=fold))
        pd.concat(parts).to_csv(table, sep="\t", index=False)
    scores = pd.read_csv(table, sep="\t", dtype={"patient": str})
    show(scores)
    show_organs(scores)
    if options.supervised:
        ceiling = supervised(train_manifest, test, options.out / "ceiling", options.minutes)
        print(f"\nfully supervised, {options.minutes:g} minutes: {np.mean(list(ceiling.values())):.3f}", ceiling)


if __name__ == "__main__":
    main()
