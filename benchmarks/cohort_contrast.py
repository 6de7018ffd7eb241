"""SepCLR and what it is measured against, on benches whose factors are known. Prints Markdown and writes JSON.

    python benchmarks/cohort_contrast.py WORK [--benches A B Bhard] [--rows medical vision ...] [--seeds 0 1 2] [--steps 400]

Each row is one training per seed; every training is judged as it is and after erasure. Numbers are balanced accuracies of
linear probes on diseased test pictures; `delta` sums how far they lie from a perfect separation. One thread per training.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipelines.cohort_contrast.baselines import ContrastiveAutoencoder, best_alpha, contrastive_components, train_autoencoder
from pipelines.cohort_contrast.benches import BENCHES, Bench
from pipelines.cohort_contrast.embedding import Spaces, embed, finish_network
from pipelines.cohort_contrast.fitting import fit_branches
from pipelines.cohort_contrast.module import Independence
from pipelines.cohort_contrast.network import TwoBranches, build_network
from pipelines.cohort_contrast.scans import Scans
from pipelines.cohort_contrast.weights import PRESETS, Weights
from segsuite.engines.run_folder import RunFolder
from segsuite.metrics.probes import Probe, area_under_curve, probe_attribute, total_deviation

DIMENSIONS = 16
MEDICAL = PRESETS["medical"]
ROWS: dict[str, tuple[Weights, Independence, int]] = {
    "separated": (PRESETS["separated"], Independence(), DIMENSIONS),
    "separated, mixing": (PRESETS["separated"], Independence(mixing=0.5), DIMENSIONS),
    "separated, mixing 0.2": (PRESETS["separated"], Independence(mixing=0.2), DIMENSIONS),
    "joint 3, mixing": (replace(MEDICAL, joint=3.0), Independence(mixing=0.5), DIMENSIONS),
    "joint 3": (replace(MEDICAL, joint=3.0), Independence(), DIMENSIONS),
    "align+uniform": (replace(MEDICAL, salient=0.0, null=0.0, joint=0.0), Independence(), DIMENSIONS),
    "vision": (PRESETS["vision"], Independence(), DIMENSIONS),
    "medical": (MEDICAL, Independence(), DIMENSIONS),
    "reference": (PRESETS["reference"], Independence(), DIMENSIONS),
    "strong null": (PRESETS["medical_strong_null"], Independence(), DIMENSIONS),
    "joint 1": (replace(MEDICAL, joint=1.0), Independence(), DIMENSIONS),
    "no joint entropy": (replace(MEDICAL, joint=0.0), Independence(), DIMENSIONS),
    "mixing": (MEDICAL, Independence(mixing=0.5), DIMENSIONS),
    "mixing 0.7, joint 1": (replace(MEDICAL, joint=1.0), Independence(mixing=0.7), DIMENSIONS),
    "joint of representations": (MEDICAL, Independence(on_representations=True), DIMENSIONS),
    "hsic": (MEDICAL, Independence(penalty="hsic", weight=3.0), DIMENSIONS),
    "distance correlation": (MEDICAL, Independence(penalty="distance_correlation", weight=3.0), DIMENSIONS),
    "salient 8": (MEDICAL, Independence(), 8),
}
TRAINING = {
    "optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0,
    "max_minutes": None, "steps_per_epoch": 100, "epochs_per_validation": 0, "patience": 0,
}  # fmt: skip
SAMPLING = {"batch_size": 256, "memory_rows": 0, "match_sites": False}
Cells = dict[str, float]


def arguments_of(bench: Bench, salient: int) -> dict[str, Any]:
    return {
        "encoder": "convolutional", "spatial_shape": bench.training.images.shape[2:], "in_channels": 1,
        "channels": bench.channels, "common_dimensions": DIMENSIONS, "salient_dimensions": salient, "norm": "batch",
    }  # fmt: skip


def probes_of(bench: Bench, here: Any, there: Any, names: tuple[str, ...]) -> dict[str, Probe]:
    """Attributes probed in one space, on diseased rows."""
    y, yt = np.asarray(bench.training.is_diseased), np.asarray(bench.test.is_diseased)
    known, truth = bench.training.attributes, bench.test.attributes
    return {
        n: probe_attribute(here[y], np.asarray(known[n])[y], there[yt], np.asarray(truth[n])[yt], kind="classes") for n in names
    }


def cells_of(bench: Bench, here: Spaces, there: Spaces) -> Cells:
    names = (*bench.salient, *bench.common)
    common = probes_of(bench, here.common, there.common, names)
    salient = probes_of(bench, here.salient, there.salient, names)
    groups = np.asarray(bench.training.is_diseased), np.asarray(bench.test.is_diseased)
    right = [salient[name] for name in bench.salient] + [common[name] for name in bench.common]
    wrong = [common[name] for name in bench.salient] + [salient[name] for name in bench.common]
    cells = {f"c: {name}": probe.score for name, probe in common.items()} | {f"s: {name}": p.score for name, p in salient.items()}
    cells["c: group"] = probe_attribute(here.common, groups[0].astype(float), there.common, groups[1].astype(float)).score
    cells["auc"] = area_under_curve(there.score, groups[1])
    cells["norm ratio"] = float(there.score[~groups[1]].mean() / max(there.score[groups[1]].mean(), 1e-9))
    cells["delta"] = total_deviation(right, wrong)
    return cells


def trained_rows(bench: Bench, name: str, *, steps: int, seed: int) -> Iterator[tuple[str, Cells]]:
    """One training, as it is and after erasure."""
    weights, independence, salient = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        network, _, _ = fit_branches(
            bench.training, RunFolder(Path(folder)), network=arguments_of(bench, salient), weights=weights,
            independence=independence, views=bench.views, training={**TRAINING, "max_steps": steps}, sampling=SAMPLING,
            device=torch.device("cpu"), seed=seed,
        )  # fmt: skip
    for erase in (False, True):
        here = finish_network(network, bench.training, erase=erase, seed=seed)
        yield name + (", erased" if erase else ""), cells_of(bench, here, embed(network, bench.test))


def linear_rows(bench: Bench, seed: int) -> Iterator[tuple[str, Cells]]:
    """Pixels, PCA and contrastive PCA: one space each, shown as salient."""
    here, there = (scans.images.reshape(len(scans), -1) for scans in (bench.training, bench.test))
    y = np.asarray(bench.training.is_diseased)
    healthy, diseased = here[~y], here[y]
    alpha = best_alpha(diseased, healthy, n=DIMENSIONS)
    spaces: list[tuple[str, Callable[[Any], Any]]] = [("pixels", lambda rows: rows)]
    for label, a in (("PCA", 0.0), (f"cPCA, alpha {alpha:g}", alpha)):
        directions = contrastive_components(diseased, healthy, alpha=a, n=DIMENSIONS)
        spaces.append((label.split(",")[0], lambda rows, d=directions: rows @ d))
    names = (*bench.salient, *bench.common)
    for label, project in spaces:
        probes = probes_of(bench, project(here), project(there), names)
        cells = {f"s: {name}": probe.score for name, probe in probes.items()}
        right, wrong = [probes[n] for n in bench.salient], [probes[n] for n in bench.common]
        yield label, cells | {"delta": total_deviation(right, wrong)}


def autoencoder_row(bench: Bench, *, steps: int, seed: int) -> tuple[str, Cells]:
    torch.manual_seed(seed)
    network = build_network(arguments_of(bench, DIMENSIONS))
    n_pixels = int(np.prod(bench.training.images.shape[1:]))
    model = ContrastiveAutoencoder(network.common, network.salient, d_common=DIMENSIONS, d_salient=DIMENSIONS, n_pixels=n_pixels)
    train_autoencoder(model, bench.training, steps=steps, batch_size=256, seed=seed)
    return "MM-cVAE (compact)", cells_of(bench, *(autoencoded(network, scans) for scans in (bench.training, bench.test)))


def autoencoded(network: TwoBranches, scans: Scans) -> Spaces:
    found = embed(network, scans)
    return replace(found, salient_head=found.salient)


def supervised_row(bench: Bench, *, steps: int, seed: int) -> tuple[str, Cells]:
    """The ceiling: the same encoder trained on each attribute, on diseased pictures."""
    cells: Cells = {}
    y, yt = np.asarray(bench.training.is_diseased), np.asarray(bench.test.is_diseased)
    for name in (*bench.salient, *bench.common):
        torch.manual_seed(seed)
        known, truth = (np.asarray(s.attributes[name])[k].astype(int) for s, k in ((bench.training, y), (bench.test, yt)))
        branch = build_network(arguments_of(bench, DIMENSIONS)).common
        model = nn.Sequential(branch.encoder, nn.Linear(branch.bottleneck.in_features, int(known.max()) + 1))
        optimiser = torch.optim.Adam(model.parameters(), 1e-3)
        images = torch.from_numpy(bench.training.images[y])
        order = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            rows = torch.randint(len(images), (128,), generator=order)
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), torch.from_numpy(known)[rows]).backward()
            optimiser.step()
        model.eval()
        with torch.inference_mode():
            said = model(torch.from_numpy(bench.test.images[yt])).argmax(1).numpy()
        hits = [float((said[truth == kind] == kind).mean()) for kind in sorted(set(truth.tolist()))]
        cells[f"s: {name}" if name in bench.salient else f"c: {name}"] = float(np.mean(hits))
    return "supervised, per attribute", cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--benches", nargs="+", default=["A", "B", "Bhard"], choices=list(BENCHES))
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--no-baselines", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for name in options.benches:
        for seed in options.seeds:
            bench = BENCHES[name](seed=seed)
            for label, cells, seconds in results(bench, options, seed):
                line = {"bench": name, "row": label, "seed": seed, "seconds": round(seconds, 1), "steps": options.steps, **cells}
                with (options.work / "rows.jsonl").open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
                print(name, seed, label, {key: round(value, 3) for key, value in cells.items()}, flush=True)
    print(as_markdown(options.work / "rows.jsonl"))


def results(bench: Bench, options: argparse.Namespace, seed: int) -> Iterator[tuple[str, Cells, float]]:
    started = time.monotonic()
    for row in options.rows:
        for label, cells in trained_rows(bench, row, steps=options.steps, seed=seed):
            yield label, cells, time.monotonic() - started
        started = time.monotonic()
    if not options.no_baselines:
        for label, cells in linear_rows(bench, seed):
            yield label, cells, time.monotonic() - started
        yield *autoencoder_row(bench, steps=options.steps, seed=seed), time.monotonic() - started
        yield *supervised_row(bench, steps=options.steps, seed=seed), time.monotonic() - started


def as_markdown(path: Path) -> str:
    """Mean over seeds of every row."""
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    parts = []
    for bench in dict.fromkeys(line["bench"] for line in lines):
        mine = [line for line in lines if line["bench"] == bench]
        keys = [key for key in mine[0] if key not in ("bench", "row", "seed", "seconds", "steps")]
        parts.append(f"\n### {bench}\n\n| row | seeds | " + " | ".join(keys) + " |\n" + "| --- " * (len(keys) + 2) + "|")
        for row in dict.fromkeys(line["row"] for line in mine):
            seeds = {line["seed"]: line for line in mine if line["row"] == row}
            cells = [
                np.mean([line[key] for line in seeds.values()]) if all(key in line for line in seeds.values()) else None
                for key in keys
            ]
            parts.append(f"| {row} | {len(seeds)} | " + " | ".join("-" if c is None else f"{c:.3f}" for c in cells) + " |")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
