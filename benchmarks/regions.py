"""Regions against single labels: the same phantoms, network, steps and seeds; scored on the same held-out regions.

    python benchmarks/regions.py --out WORK [--steps 800] [--seeds 0 1]

Trains `supervised/regions_phantom` on regions and on single labels, predicts the held-out fold, and scores the regions (unions of
the integers of both maps): a table of Dice by region, and whether regions stay within 0.01. A restart does what is left.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from segsuite.pipeline import Runtime
from segsuite.verbs.evaluating import evaluate
from segsuite.verbs.predicting import predict
from segsuite.verbs.runs import train

KINDS = {"single labels": False, "regions": True}
MOST_LOST = 0.01
SMALL = [
    "data.phantom.n_cases=16",
    "data.phantom.shape=[48,48,16]",
    "data.phantom.spacing_mm=[2.0,2.0,4.5]",
    "plan.patch_size=[32,32,12]",
    "plan.base_channels=8",
    "plan.batch_size=2",
    "training.precision=float32",
]
"""So that a training of 800 steps takes two minutes on one core."""


def main() -> None:
    """Train both kinds for every seed, score them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    scores = {
        kind: [_scores(options.out, regions, seed, options.steps, options.workers) for seed in options.seeds]
        for kind, regions in KINDS.items()
    }
    print(f"Dice of held-out regions, mean of seeds {options.seeds}, {options.steps} steps each")
    print("region        " + "".join(f"{kind:>15}" for kind in KINDS) + "     difference")
    for name in scores["regions"][0]:
        means = [float(np.mean([found[name] for found in scores[kind]])) for kind in KINDS]
        print(f"{name:14}" + "".join(f"{mean:15.4f}" for mean in means) + f"{means[1] - means[0]:+15.4f}")
    of_seeds = {kind: [found["mean"] for found in scores[kind]] for kind in KINDS}
    for kind, means in of_seeds.items():
        print(f"{kind}: mean Dice per seed {', '.join(f'{mean:.4f}' for mean in means)}")
    change = float(np.mean(of_seeds["regions"]) - np.mean(of_seeds["single labels"]))
    verdict = "not more than" if change >= -MOST_LOST else "MORE than"
    print(f"mean Dice of regions minus that of single labels: {change:+.4f}, {verdict} {MOST_LOST} below")


def _scores(out: Path, regions: bool, seed: int, steps: int, workers: int) -> dict[str, float]:
    """Of one training: region to mean Dice over held-out cases, and ``mean``; what is trained is not trained again."""
    folder = out / f"{'regions' if regions else 'labels'}_{seed}"
    overrides = [f"seed={seed}", f"training.regions={str(regions).lower()}", f"training.max_steps={steps}"]
    overrides += ["training.max_minutes=null", "training.epochs_per_validation=0", *SMALL]
    run = train("supervised/regions_phantom", overrides=overrides, out=folder, runtime=Runtime("cpu", workers))
    manifest = run.root / "cohort" / "manifest.json"
    predict(run.model, [manifest], run.predictions, fold=0, device="cpu")
    summary = evaluate(run.predictions, manifest, run.evaluation, fold=0).summary
    found = {name: float(entry["dice"]["mean"]) for name, entry in summary["structures"].items()}
    return {**found, "mean": float(summary["mean"]["dice"])}


if __name__ == "__main__":
    main()
