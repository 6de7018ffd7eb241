"""What bfloat16 costs: the same training and the same prediction in both number formats, judged on the held-out fold.

    python benchmarks/precision.py M.json DATA_ROOT --out WORK [--device cuda] [--set training.max_steps=400 ...]

Trains twice with the same seed, patches and steps, in float32 and in bfloat16, and predicts with both models in both formats:
a table of Dice and HD95, and how many voxels have the same label. M.json is a manifest with folds; fold 0 is held out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from inference import agreement

FORMATS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=["training.max_minutes=null", "training.max_steps=400"], dest="overrides")
    options = parser.parse_args()
    data = ["--data-root", str(options.data_root), "--fold", "0"]
    where = ["--device", options.device, "-q"]
    trainings = []
    for number_format in FORMATS:
        run = options.out / f"trained_in_{number_format}"
        command = ["train", "supervised/default", *where, "--manifest", str(options.manifest), *data, "--out", str(run)]
        trainings.append(started([*command, f"training.precision={number_format}", *options.overrides]))
    if any(training.wait() for training in trainings):
        raise SystemExit("a training failed")
    print("trained in  predicted in  mean Dice  HD95 mm  same label as float32")
    for trained, predicted in itertools.product(FORMATS, FORMATS):
        run, masks = options.out / f"trained_in_{trained}", options.out / f"{trained}_{predicted}"
        command = ["predict", str(run), str(options.manifest), *data, *where, "--overwrite", "--out", str(masks)]
        if started([*command, "--set", f"precision={predicted}"]).wait():
            raise SystemExit("a prediction failed")
        judge = ["evaluate", str(masks), str(options.manifest), *data, "--out", str(masks / "evaluation")]
        if started(judge).wait():
            raise SystemExit("an evaluation failed")
        summary = json.loads((masks / "evaluation" / "metrics_summary.json").read_text())
        same = agreement(options.out / f"{trained}_float32", masks)
        print(f"{trained:10}  {predicted:12}  {means(summary)}  {same:.4%}", flush=True)


def started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "segsuite", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def means(summary: dict) -> str:
    """Dice and HD95, each the mean over structures of the mean over cases."""
    dice, hd95 = (np.mean([rows[name]["mean"] for rows in summary["structures"].values()]) for name in ("dice", "hd95"))
    return f"{dice:9.4f}  {hd95:7.3f}"


if __name__ == "__main__":
    main()
