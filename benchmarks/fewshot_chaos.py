"""New organs in abdominal MR from one and five scans: novel, base and harmonic mean, rule by rule, beside full supervision.

    python benchmarks/fewshot_chaos.py DATA --out WORK [--minutes 5]            trains what is missing, then the table
    python benchmarks/fewshot_chaos.py DATA --out WORK --base s1 --steps 300 --set seed=1              another base training
    python benchmarks/fewshot_chaos.py DATA --out WORK --pool s0 s1 s2                                 the tables of several

DATA holds `image_NN.nii.gz` and `label_NN.nii.gz` (1 liver, 2 right kidney, 3 left kidney, 4 spleen). Patients are split by a
fixed list; whole volumes, all classes at once; no choice is made by the test patients. It is `segsuite fewshot benchmark` on a
manifest of these files, with the supervised ceiling on request.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.fewshot.benchmark import ROWS, run_benchmark
from pipelines.fewshot.supports import draw_supports
from pipelines.fewshot.tables import as_markdown, sessions_as_markdown
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.pipeline import Runtime
from segsuite.verbs.evaluating import evaluate
from segsuite.verbs.predicting import predict
from segsuite.verbs.runs import train

LIKE_THE_BASE = ("plan.dimensions=2", "plan.normalisation=robust", "slice_network.encoder=tu-regnetx_002")
TEST = ("05", "20", "22", "31", "34", "36")
LABELS = {"background": 0, "liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}


def manifest_of(data: Path, out: Path) -> Path:
    """All patients; fold 0 is the test list."""
    numbers = sorted(path.name[6:8] for path in data.glob("image_*.nii.gz"))
    rows = [
        Case(image=f"image_{n}.nii.gz", label=f"label_{n}.nii.gz", case_id=f"c{n}", fold=0 if n in TEST else 1) for n in numbers
    ]
    path = out / "chaos.json"
    write_manifest(path, Manifest(name="chaos", labels=LABELS, data_root=str(data.resolve()), training=rows))
    return path


def only_supports(manifest: Path, out: Path, shots: int) -> Path:
    """The manifest with so many training patients, the first draw of supports of a liver; all their organs are labelled."""
    known = read_manifest(manifest)
    drawn = draw_supports(known.split(0)[0], known, Path(str(known.data_root)), "liver", shots=shots, seed=0)
    names = {support.mask.name for support in drawn}
    rows = [case for case in known.training if case.fold == 0 or Path(str(case.label)).name in names]
    path = out / f"alone{shots}.json"
    write_manifest(path, known.model_copy(update={"training": rows}))
    return path


def supervised(manifest: Path, out: Path, minutes: float) -> dict[str, float]:
    """Mean Dice per organ of a U-Net that is shown everything in the training patients, slice by slice as the base model is."""
    if not (out / "evaluation" / "metrics_summary.json").is_file():
        overrides = [f"data.manifest={manifest}", "data.fold=0", f"training.max_minutes={minutes}", *LIKE_THE_BASE]
        model = train("supervised/default", overrides=overrides, out=out / "run", runtime=Runtime()).model
        predict(model, [manifest], out / "masks", fold=0)
        evaluate(out / "masks", manifest, out / "evaluation", fold=0)
    summary = json.loads((out / "evaluation" / "metrics_summary.json").read_text())
    return {name: float(entry["dice"]["mean"]) for name, entry in summary["structures"].items()}


def show_organs(scores: pd.DataFrame) -> None:
    """The default row by organ and by test patient, and by other measures."""
    last = scores["session"] == scores.groupby("fold")["session"].transform("max")
    default = scores[last & (scores["row"] == ROWS[0].name) & (scores["kind"] == "novel")]
    default = default.assign(iou=default["intersection"] / default["union"])
    most = default[default["shots"] == default["shots"].max()]
    for column, part in (("shots", default), ("patient", most)):
        print(f"\n{ROWS[0].name}, new organs by {column}")
        print(part.groupby(["structure", column])["dice"].mean().unstack().round(3).to_string())
    patients = most.groupby(["fold", "patient"])["dice"].mean().groupby("patient").mean().sort_values()
    print(f"all patients {patients.mean():.3f}, without {patients.index[0]}, the worst, {patients.iloc[1:].mean():.3f}")
    print(f"\n{ROWS[0].name}, new organs: means over organs, patients and draws; median of hd95 in mm")
    by_shots = default.groupby("shots")
    print(by_shots[["dice", "iou", "surface_dice_2mm"]].mean().assign(hd95=by_shots["hd95"].median()).round(3).to_string())


def pooled(folders: list[Path]) -> pd.DataFrame:
    """Scores of several base trainings, as if each had folds of its own; only the rows that all have."""
    parts = [pd.read_csv(folder / "scores.tsv", sep="\t", dtype={"patient": str}) for folder in folders]
    rows = set.intersection(*(set(part["row"]) for part in parts))
    return pd.concat(
        [
            part[part["row"].isin(rows)].assign(fold=part["fold"] + f" of {folder.name}")
            for part, folder in zip(parts, folders, strict=True)
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--base", default="base", help="name of the base training")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", help="settings of the base training")
    parser.add_argument("--rows", nargs="*", default=[""], help="only rows whose names hold one of these words")
    parser.add_argument("--pool", nargs="*", default=[], help="names of base trainings that were done: their tables together")
    parser.add_argument("--steps", type=int, help="of base training, instead of minutes: the same on a busy machine")
    parser.add_argument("--alone", type=int, nargs="*", default=[], help="also train a U-Net on so many supports alone")
    parser.add_argument("--supervised", action="store_true", help="also train a U-Net on all organs of all training patients")
    options = parser.parse_args()
    if options.pool:
        scores = pooled([options.out / name for name in options.pool])
        print(as_markdown(scores))
        show_organs(scores)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    manifest = manifest_of(options.data, options.out)
    words = [f"data.manifest={manifest}", "data.fold=0", f"training.max_minutes={options.minutes}"]
    if options.steps:
        words[-1:] = ["training.max_minutes=null", f"training.max_steps={options.steps}"]
    scores = run_benchmark(
        "fewshot/chaos_folds",
        overrides=[*words, *options.overrides],
        out=options.out / options.base,
        runtime=Runtime(),
        rows=[row for row in ROWS if any(word in row.name for word in options.rows)],
        tell=lambda text: print(text, flush=True),
    )
    print(as_markdown(scores))
    print(f"\n{sessions_as_markdown(scores)}")
    show_organs(scores)
    for shots in options.alone:
        floor = supervised(only_supports(manifest, options.out, shots), options.out / f"alone{shots}", options.minutes)
        print(f"\n{shots} supports alone, {options.minutes:g} minutes: {np.mean(list(floor.values())):.3f}", floor)
    if options.supervised:
        ceiling = supervised(manifest, options.out / "ceiling", options.minutes)
        print(f"\nfully supervised, {options.minutes:g} minutes: {np.mean(list(ceiling.values())):.3f}", ceiling)


if __name__ == "__main__":
    main()
