"""SepCLR on real pictures: does the salient score tell the diseased? Beside a supervised net of the same size.

    python benchmarks/cohort_medmnist.py DATA [--seeds 0 1 2] [--steps 400]

DATA holds `pneumoniamnist/` and `breastmnist/` with their `.npz` (training and validation parts). Areas under the curve on the
validation part; interval over pictures of the first seed. One thread.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipelines.cohort_contrast.embedding import embed, finish_network
from pipelines.cohort_contrast.fitting import fit_branches
from pipelines.cohort_contrast.module import Independence
from pipelines.cohort_contrast.network import build_network
from pipelines.cohort_contrast.scans import Scans
from pipelines.cohort_contrast.summary import area_with_interval
from pipelines.cohort_contrast.views import Views
from pipelines.cohort_contrast.weights import PRESETS
from segsuite.engines.run_folder import RunFolder
from segsuite.metrics.probes import area_under_curve

NETWORK = {
    "encoder": "convolutional", "spatial_shape": (28, 28), "in_channels": 1, "channels": (16, 32, 64), "common_dimensions": 16,
    "salient_dimensions": 16, "norm": "batch",
}  # fmt: skip
TRAINING = {
    "optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0,
    "max_minutes": None, "steps_per_epoch": 100, "epochs_per_validation": 0, "patience": 0,
}  # fmt: skip
VIEWS = Views(10.0, 0.08, 0.06, gain=0.2, offset=0.2, gamma=0.2, bias=0.1, noise=0.1, blur=0.2)
DISEASED = {"pneumoniamnist": 1, "breastmnist": 0}
"""Label of the diseased: 1 is pneumonia; of the breast set 0 is malignant."""


def read_part(folder: Path, part: str) -> Scans:
    content = np.load(next(folder.glob("*.npz")))
    images = content[f"{part}_images"].astype(np.float32)
    images = (images - images.mean((1, 2), keepdims=True)) / (images.std((1, 2), keepdims=True) + 1e-6)
    names = [f"{part}_{row}" for row in range(len(images))]
    return Scans(images[:, None], content[f"{part}_labels"].ravel() == DISEASED[folder.name], names, names=names)


def contrast_scores(training: Scans, test: Scans, *, steps: int, seed: int) -> np.ndarray:
    sampling = {"batch_size": 128, "memory_rows": 0, "match_sites": False}
    with tempfile.TemporaryDirectory() as folder:
        network, _, _ = fit_branches(
            training, RunFolder(Path(folder)), network=NETWORK, weights=PRESETS["medical"], independence=Independence(),
            views=VIEWS, training={**TRAINING, "max_steps": steps}, sampling=sampling, device=torch.device("cpu"), seed=seed,
        )  # fmt: skip
    finish_network(network, training, erase=False, seed=seed)
    return embed(network, test).score


def supervised_scores(training: Scans, test: Scans, *, steps: int, seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    branch = build_network(NETWORK).salient
    model = nn.Sequential(branch.encoder, nn.Linear(branch.bottleneck.in_features, 1))
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    groups = [np.flatnonzero(training.is_diseased == kind) for kind in (False, True)]
    truth = (torch.arange(128) >= 64).float()
    draw = np.random.default_rng(seed)
    for _ in range(steps):
        rows = np.concatenate([draw.choice(group, 64) for group in groups])
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(training.batch(rows))[:, 0], truth).backward()
        optimiser.step()
    model.eval()
    with torch.inference_mode():
        return model(test.batch(range(len(test))))[:, 0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    print("| data | pictures | area of the salient score | supervised, same size |\n| --- | --- | --- | --- |")
    for name in DISEASED:
        training, test = (read_part(options.data / name, part) for part in ("train", "val"))
        cells = []
        for method in (contrast_scores, supervised_scores):
            scores = [method(training, test, steps=options.steps, seed=seed) for seed in options.seeds]
            areas = [area_under_curve(found, test.is_diseased) for found in scores]
            _, low, high = area_with_interval(scores[0], test.is_diseased, test.subjects)
            cells.append(f"{np.mean(areas):.3f} (seeds {min(areas):.3f} to {max(areas):.3f}; interval {low:.3f} to {high:.3f})")
        print(f"| {name} | {len(training)} + {len(test)} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
