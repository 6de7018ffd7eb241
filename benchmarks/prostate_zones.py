"""The matrix of the zone pipeline on phantoms with rater noise: what do two paths, auxiliary tasks and co-training give?

    python benchmarks/prostate_zones.py --out matrix                    CPU scale, hours on one core; goes on where it was
    python benchmarks/prostate_zones.py --out matrix --scale gpu --device cuda

Every arm has the same data, seeds and steps; M1x has M1's network with the steps that M2's time would pay for. M6 and M7
take the auxiliary task that scored best on the held-out training fold, not on the test phantoms. Distances of a missed
zone are the image's diagonal. Tests pair M1 and the arm case by case (mean over seeds), Wilcoxon, Holm over the zones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from segsuite.data.manifest import Manifest, read_manifest, write_manifest
from segsuite.data.phantoms.cohort import PhantomCohort, write_phantom_cohort
from segsuite.reports.statistics import holm_adjusted
from segsuite.reports.tables import read_evaluation

SINGLE = ["network.branches=[[peripheral_zone,transition_zone,distal_prostatic_urethra,anterior_fibromuscular_stroma]]"]
NO_STAGE_2 = ["co_training.share=0"]
PAPER = [
    "training.loss=meyer", "training.optimiser=adam", "training.learning_rate=5e-5", "training.schedule=constant",
    "training.weight_decay=0", "network.norm=batch", "network.dropout=0.5", "network.prior_bias=false",
]  # fmt: skip
UNLABELLED = ["co_training.unlabelled_share=0.25"]
TASKS = {"sdm": 0.5, "gland": 0.25, "recon": 0.1, "presence": 0.1}
# said here, so that the phantom config may change for the demo without changing the matrix
FIXED = ["network.flat_stages=1", "network.dropout=0.1", "co_training.share=0.33"]
SCALES = {
    "cpu": {
        "shape": (64, 64, 24), "spacing": (1.5, 1.5, 3.0), "cases": (32, 16, 20), "steps": 300, "wide": [14, 28, 58, 118],
        "settings": [
            *FIXED, "training.batch_size=2", "image.spacing_mm=[1.5,1.5,3.0]", "image.patch_size=[40,40,16]",
            "image.region_mm=null", "network.channels=[12,24,48,96]", "training.learning_rate=4e-3",
        ],
    },
    "gpu": {
        "shape": (200, 200, 28), "spacing": (0.5, 0.5, 3.0), "cases": (96, 48, 40), "steps": 12000, "wide": [40, 78, 156, 312],
        "settings": [
            *FIXED, "image.spacing_mm=[0.5,0.5,3.0]", "image.region_mm=[84,84,null]", "image.patch_size=[168,168,32]",
            "network.channels=[32,64,128,256]", "training.batch_size=2", "training.learning_rate=1e-3",
        ],
    },
}  # fmt: skip
ZONES = ("peripheral_zone", "transition_zone", "distal_prostatic_urethra", "anterior_fibromuscular_stroma")
METRICS = ("dice", "assd", "masd", "hd95")
DUAL_STEP_COST = 1.6


def arms(wide: list[int], steps: int, best_task: str | None) -> dict[str, list[str]]:
    """Overrides of every arm; M6 and M7 only when the best auxiliary task is known."""

    def task(name: str) -> list[str]:
        return [f"network.auxiliary.{name}={TASKS[name]}"]

    found = {
        "M0": SINGLE + NO_STAGE_2 + PAPER,
        "M1": SINGLE + NO_STAGE_2,
        "M1x": SINGLE + NO_STAGE_2 + [f"training.max_steps={round(steps * DUAL_STEP_COST)}"],
        "M2'": SINGLE + NO_STAGE_2 + [f"network.channels={wide}"],
        "M2": NO_STAGE_2,
        **{f"M3 {name}": NO_STAGE_2 + task(name) for name in TASKS},
        "M4": [],
        "M5": UNLABELLED,
    }
    if best_task is not None:
        found["M6"] = UNLABELLED + task(best_task)
        found["M7"] = [*found["M6"], "network.share_encoder=false"]
    return found


def make_data(root: Path, scale: dict) -> tuple[Path, Path]:
    """Labelled training phantoms with folds and unlabelled ones of shifted intensities; test phantoms apart."""
    shared = {"shape": scale["shape"], "spacing_mm": scale["spacing"], "rater_noise": True}
    labelled, unlabelled, test = scale["cases"]
    parts = {
        "train": PhantomCohort(n_cases=labelled, n_folds=4, seed=1, n_sites=4, **shared),
        "pool": PhantomCohort(n_cases=unlabelled, n_folds=0, seed=2, n_sites=4, randomise=0.25, **shared),
        "test": PhantomCohort(n_cases=test, n_folds=0, seed=3, n_sites=4, **shared),
    }
    for name, cohort in parts.items():
        if not (root / name / "manifest.json").is_file():
            write_phantom_cohort(root / name, cohort)
    rows = []
    for name in ("train", "pool"):
        for case in read_manifest(root / name / "manifest.json").training:
            mask = f"{name}/{case.label}" if name == "train" else None
            ids = {"case_id": f"{name}_{case.case_id}", "patient_id": f"{name}_{case.patient_id}"}
            rows.append(case.model_copy(update={"image": f"{name}/{case.image}", "label": mask, **ids}))
    source = read_manifest(root / "train" / "manifest.json")
    joined = Manifest(name="matrix", channels=source.channels, labels=source.labels, data_root=str(root), training=rows)
    write_manifest(root / "matrix.json", joined)
    return root / "matrix.json", root / "test" / "manifest.json"


def run_arm(folder: Path, overrides: list[str], seed: int, data: tuple[Path, Path], options: argparse.Namespace) -> None:
    """Train, predict, evaluate as a user would; time and memory of the training are its own process's."""
    if (folder / "evaluation" / "metrics_summary.json").is_file():
        return
    scale = SCALES[options.scale]
    shared = [
        "data.phantom=null", "training.max_minutes=null", f"training.max_steps={scale['steps']}", "training.validation_cases=4",
        "training.epochs_per_validation=0", "training.steps_per_epoch=50", f"seed={seed}", *scale["settings"],
    ]  # fmt: skip
    command = [sys.executable, "-m", "segsuite"]
    device = ["--device", options.device]
    began = time.monotonic()
    train = ["train", "prostate_zones/phantom", *shared, *overrides, "-m", str(data[0]), "--fold", "0", "-q", "-j", "0"]
    train += ["--cache-dir", str(options.out / "cache"), "--out", str(folder)]
    process = subprocess.Popen([*command, *train, *device])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{folder.name}: training failed")
    facts = {"minutes": (time.monotonic() - began) / 60, "memory_mb": usage.ru_maxrss / 1024}
    (folder / "facts.json").write_text(json.dumps(facts))
    predict = ["predict", str(folder / "model"), str(data[1]), "--out", str(folder / "predictions"), "--force", "-q"]
    subprocess.run([*command, *predict, "--set", "overlap=0.25", "-j", "1", *device], check=True)
    evaluate = ["evaluate", str(folder / "predictions"), str(data[1]), "--out", str(folder / "evaluation"), "-q", "-j", "1"]
    subprocess.run([*command, *evaluate], check=False, stdout=subprocess.DEVNULL)


def values(folder: Path) -> pd.DataFrame:
    """Rows by case and zone, columns by metric; a miss costs the diagonal."""
    measurements, cases = read_evaluation(folder / "evaluation")
    diagonals = dict(zip(cases["case"], cases["diagonal_mm"], strict=True))
    rows = measurements[measurements["metric"].isin(METRICS)].copy()
    rows["value"] = [
        diagonals[case] if np.isinf(value) else value for case, value in zip(rows["case"], rows["value"], strict=True)
    ]
    return rows.pivot_table(index=["label_name", "case"], columns="metric", values="value")


def best_auxiliary(out: Path, seeds: list[int]) -> str:
    """The task with the highest mean Dice on the held-out training fold."""

    def score(name: str) -> float:
        described = [json.loads((out / f"M3 {name}_{seed}" / "model" / "model.json").read_text()) for seed in seeds]
        return float(np.mean([list(one["training"]["validation_dice"].values()) for one in described]))

    return max(TASKS, key=score)


def print_table(out: Path, names: list[str], seeds: list[int]) -> None:
    tables = {name: [values(out / f"{name}_{seed}") for seed in seeds] for name in names}
    mean = {name: sum(parts) / len(parts) for name, parts in tables.items()}
    base = mean["M1"]
    print(f"\n{len(seeds)} seeds, {base.loc[ZONES[0]].shape[0]} test phantoms; mean ± SD over seeds of the mean over cases")
    print("| arm | zone | Dice | ASSD mm | MASD mm | HD95 mm | missed | MASD vs M1 | p Dice (Holm) | min | MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        facts = [json.loads((out / f"{name}_{seed}" / "facts.json").read_text()) for seed in seeds]
        cost = [f"{np.mean([fact[key] for fact in facts]):.3g}" for key in ("minutes", "memory_mb")]
        # a case that is rightly empty in one of both has no Dice there and cannot be paired
        changes = [(mean[name].loc[zone]["dice"] - base.loc[zone]["dice"]).dropna() for zone in ZONES]
        tests = [stats.wilcoxon(c, zero_method="pratt").pvalue if (c != 0).any() else np.nan for c in changes]
        for zone, p in zip(ZONES, holm_adjusted(tests), strict=True):
            per_seed = [part.loc[zone] for part in tables[name]]
            cells = [f"{np.mean(m):.3f} ± {np.std(m):.3f}" for m in ([s[metric].mean() for s in per_seed] for metric in METRICS)]
            missed = sum(int((part["dice"] == 0).sum()) for part in per_seed)
            relative = mean[name].loc[zone]["masd"].mean() / base.loc[zone]["masd"].mean() - 1
            row = [name, zone, *cells, str(missed), f"{relative:+.1%}", "" if name == "M1" else f"{p:.2g}", *cost]
            print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", choices=sorted(SCALES), default="cpu")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only-seed", type=int, help="run this seed alone: several processes or machines share one --out")
    parser.add_argument("--only-print", action="store_true", help="print what is there")
    options = parser.parse_args()
    options.out = options.out.resolve()
    scale = SCALES[options.scale]
    data = make_data(options.out / "data", scale)
    done = []
    for seed in range(options.seeds):
        best = None
        for _ in range(2):
            for name, overrides in arms(scale["wide"], scale["steps"], best).items():
                if not options.only_print and options.only_seed in (None, seed):
                    run_arm(options.out / f"{name}_{seed}", overrides, seed, data, options)
            complete = all((options.out / f"M3 {name}_{seed}" / "model" / "model.json").is_file() for name in TASKS)
            best = best_auxiliary(options.out, [0]) if complete else None
        names = list(arms(scale["wide"], scale["steps"], "sdm"))
        if all((options.out / f"{name}_{seed}" / "evaluation" / "metrics_summary.json").is_file() for name in names):
            done.append(seed)
    print_table(options.out, names, done)


if __name__ == "__main__":
    main()
