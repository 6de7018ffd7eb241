"""Patches per second of training: segsuite beside nnU-Net v2 with the same network, patch, batch and cores.

    python benchmarks/training.py M.json DATA_ROOT --out WORK [--seconds 120] [--peer /path/to/python] [--repeats 2]
                                  [--device cuda --precision bfloat16 --workers 8 --steps 400 --epoch 50 --set plan.batch_size=2]

M.json is a manifest with folds. PEER is the python of an environment with `nnunetv2`. Each side trains with its own
loader, augmentation, loss and optimiser, the network is segsuite's planned U-Net on both; the first epoch, and the peer's first
steps, do not count. On a CPU both compute in float32; on a GPU nnU-Net computes in its mixed precision and compiles its network,
as it always does there. Runs alternate; medians. The share of its time that segsuite's network waits for data is what training
logs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONFIG = "supervised/default"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", help="segsuite's")
    parser.add_argument("--steps", type=int, help="segsuite trains so many steps, compiling included, instead of so many seconds")
    parser.add_argument("--workers", type=int, default=1, help="loader processes on both sides")
    parser.add_argument("--epoch", type=int, default=5, help="segsuite's steps between two checkpoints")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", help="for segsuite, for example plan.patch_size=...")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps({"rate": rate_of_nnunet(options)}))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    ours: list[float] = []
    peers: list[float] = []
    for number in range(options.repeats):
        rate, waited, plan = rate_of_segsuite(options, number)
        ours.append(rate)
        print(f"segsuite {rate:.2f} patches a second, waiting for data {waited:.1%}", flush=True)
        if options.peer is not None:
            command = [options.peer, __file__, options.manifest, options.data_root, "--child"]
            command += ["--out", options.out / "peer", "--seconds", options.seconds]
            command += ["--device", options.device, "--workers", options.workers]
            here = str(Path(__file__).resolve().parents[1])
            environment = {**os.environ, "SEGSUITE_PLAN": json.dumps(plan), "PYTHONPATH": here}
            found = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False)
            if found.returncode:
                raise SystemExit(found.stderr[-3000:])
            peers.append(json.loads(found.stdout.splitlines()[-1])["rate"])
            print(f"nnU-Net  {peers[-1]:.2f} patches a second", flush=True)
    print(f"patch {plan['patch_size']}, batch {plan['batch_size']}, channels {plan['channels']}")
    print(f"segsuite {statistics.median(ours):.2f} patches a second, median of {len(ours)}")
    if peers:
        print(f"nnU-Net  {statistics.median(peers):.2f}, segsuite has {statistics.median(ours) / statistics.median(peers):.2f} x")


def rate_of_segsuite(options: argparse.Namespace, number: int) -> tuple[float, float, dict[str, Any]]:
    """Patches per second after the first epoch, share of waiting, and the plan."""
    run = options.out / f"run{number}"
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "segsuite", "train", CONFIG, "-q", "--device", options.device, "--out", run]
    command += ["--manifest", options.manifest, "--data-root", options.data_root, "--fold", "0"]
    minutes = "null" if options.steps else options.seconds / 60
    command += ["--workers", options.workers, f"training.max_minutes={minutes}", f"training.max_steps={options.steps or 'null'}"]
    command += options.overrides
    command += [f"training.steps_per_epoch={options.epoch}", "training.epochs_per_validation=0"]
    command += [f"training.precision={options.precision}", "training.compiled=true"]
    subprocess.run([*map(str, command)], check=True)
    with (run / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    marks = sorted({(int(row["step"]), float(row["minutes"])) for row in rows})
    waited = [float(row["value"]) for row in rows if row["name"] == "data_wait_share"][1:]
    plan = json.loads((run / "plan.json").read_text())["plan"]
    (first, begun), (last, ended) = marks[0], marks[-1]
    return (last - first) * plan["batch_size"] / (60 * (ended - begun)), statistics.mean(waited), plan


def rate_of_nnunet(options: argparse.Namespace) -> float:
    """Patches per second of nnU-Net's trainer around the same network."""
    work, on_cpu = options.out, options.device == "cpu"
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str((work / name).resolve())
    os.environ["nnUNet_n_proc_DA"] = str(options.workers)  # noqa: SIM112
    os.environ["nnUNet_compile"] = "false" if on_cpu else "true"  # noqa: SIM112
    from nnunet_peer import preprocess, write_raw_folder

    content = json.loads(options.manifest.read_text())
    if not (work / "preprocessed").is_dir():
        write_raw_folder(content, options.data_root, work / "raw" / "Dataset001_Peer")
        preprocess(work, content)
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from segsuite.networks.unet import UNet

    plan = json.loads(os.environ["SEGSUITE_PLAN"])

    class PeerTrainer(nnUNetTrainer):
        @staticmethod
        def build_network_architecture(
            architecture: str, arguments: dict, imports: Any, n_in: int, n_out: int, deep_supervision: bool = True
        ) -> torch.nn.Module:
            how = {"channels": plan["channels"], "kernels": plan["kernels"], "strides": plan["strides"]}
            return UNet(in_channels=n_in, out_channels=n_out, n_supervised=len(plan["strides"]) - 1, **how)

        def set_deep_supervision_enabled(self, enabled: bool) -> None:
            """The network gives several resolutions whenever it trains."""

    base = work / "preprocessed" / "Dataset001_Peer"
    plans = {**json.loads((base / "nnUNetPlans.json").read_text()), "continue_training": False}
    chosen = plans["configurations"]["3d_fullres"]
    chosen |= {"patch_size": plan["patch_size"], "batch_size": plan["batch_size"]}
    chosen["architecture"]["arch_kwargs"]["strides"] = plan["strides"]
    dataset = json.loads((base / "dataset.json").read_text())
    trainer = PeerTrainer(
        plans=plans, configuration="3d_fullres", fold=0, dataset_json=dataset, device=torch.device(options.device)
    )
    trainer.on_train_start()
    trainer.network.train()
    for _ in range(1 if on_cpu else 20):
        trainer.train_step(next(trainer.dataloader_train))
    began, steps = time.monotonic(), 0
    while time.monotonic() - began < options.seconds:
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    return steps * plan["batch_size"] / (time.monotonic() - began)


if __name__ == "__main__":
    main()
