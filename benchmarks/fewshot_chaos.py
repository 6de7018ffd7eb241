"""New organs in abdominal MR from one and five scans: novel, base and harmonic mean, beside rawer rules and full supervision.

    python benchmarks/fewshot_chaos.py DATA --out WORK [--minutes 5]

DATA holds `image_NN.nii.gz` and `label_NN.nii.gz` (1 liver, 2 right kidney, 3 left kidney, 4 spleen). Patients are split by a
fixed list; whole volumes, all classes at once; no choice is made by the test patients. Goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from pipelines.fewshot.recipe import load_predictor
from pipelines.fewshot.registration import register
from pipelines.fewshot.supports import supports_of_manifest
from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.pipeline import Runtime
from segsuite.verbs.runs import evaluate, predict, train

TEST = ("05", "20", "22", "31", "34", "36")
LABELS = {"background": 0, "liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
FOLDS = {"kidneys": ("right_kidney", "left_kidney"), "liver and spleen": ("liver", "spleen")}
RULES = {
    "discriminant, calibrated": [],
    "discriminant": ["calibrate=false"],
    "prototype, calibrated": ["rule=prototype"],
    "prototype": ["rule=prototype", "calibrate=false"],
    "discriminant, open": ["competition=open"],
}


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


def score(model: Path, test: Path, out: Path, overrides: list[str]) -> dict[str, float]:
    """Mean Dice per organ over the test patients."""
    if not (out / "evaluation" / "metrics_summary.json").is_file():
        predict(model, [test], out / "masks", overrides=overrides)
        evaluate(out / "masks", test, out / "evaluation")
    summary = json.loads((out / "evaluation" / "metrics_summary.json").read_text())
    return {name: float(entry["dice"]["mean"]) for name, entry in summary["structures"].items()}


def base_model(out: Path, train_manifest: Path, novel: tuple[str, ...], minutes: float) -> Path:
    run = out / "base"
    overrides = [f"data.manifest={train_manifest}", f"novel=[{','.join(novel)}]", f"training.max_minutes={minutes}"]
    return train("fewshot/chaos", overrides=overrides, out=run, runtime=Runtime()).model


def registered(base: Path, train_manifest: Path, novel: tuple[str, ...], shots: int, draw: int, out: Path) -> Path:
    for name in novel:
        target = out / name
        if not (target / "model.json").is_file():
            supports = supports_of_manifest(train_manifest, None, name, shots=shots, seed=draw)
            register(load_predictor(base, device="auto", overrides={}), name, supports, target, value=LABELS[name])
        base = target
    return base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train_manifest, test = manifests(options.data, options.out)
    rows: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for fold, novel in FOLDS.items():
        place = options.out / fold.replace(" ", "_")
        base = base_model(place, train_manifest, novel, options.minutes)
        for shots in (1, 5):
            for draw in range(options.draws):
                model = registered(base, train_manifest, novel, shots, draw, place / f"k{shots}_d{draw}")
                for rule, overrides in RULES.items():
                    organs = score(model, test, place / f"k{shots}_d{draw}" / rule.replace(" ", "_"), overrides)
                    new = float(np.mean([organs[name] for name in novel]))
                    old = float(np.mean([value for name, value in organs.items() if name not in novel]))
                    rows.setdefault((rule, shots), []).append((new, old))
                    print(f"{fold}, {shots} shots, draw {draw}, {rule}: novel {new:.3f}, base {old:.3f}", flush=True)
    supervised = [f"data.manifest={train_manifest}", f"training.max_minutes={options.minutes}"]
    ceiling = score(
        train("supervised/default", overrides=supervised, out=options.out / "ceiling", runtime=Runtime()).model,
        test,
        options.out / "ceiling",
        [],
    )
    print(f"\nmean of both folds and {options.draws} draws; all four organs supervised: {np.mean(list(ceiling.values())):.3f}")
    print("| rule | shots | novel Dice | base Dice | harmonic mean |\n| --- | --- | --- | --- | --- |")
    for (rule, shots), pairs in rows.items():
        new, old = np.mean(pairs, axis=0)
        spread = np.std([pair[0] for pair in pairs])
        print(f"| {rule} | {shots} | {new:.3f} ± {spread:.3f} | {old:.3f} | {2 * new * old / (new + old):.3f} |")


if __name__ == "__main__":
    main()
