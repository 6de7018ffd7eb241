"""Train nnU-Net v2 (own planner, network, augmentation and inference) on one fold for a given number of minutes.

The peer of `segsuite train` in the README's table. Needs `pip install nnunetv2` in an environment of its own:

    python benchmarks/nnunet_peer.py M.json DATA_ROOT --fold 0 --minutes 20 --out peer

nnU-Net fixes its schedule by epochs. Here the same polynomial decay runs over the time that is given, so that it ends
at zero when the time ends, as in a full schedule. Masks of the held-out fold end up in `peer/predictions`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    work = options.out.resolve()
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(work / name)
    os.environ.setdefault("nnUNet_n_proc_DA", str(os.cpu_count()))
    os.environ["nnUNet_compile"] = "false"  # noqa: SIM112
    manifest = json.loads(options.manifest.read_text())
    write_raw_folder(manifest, options.data_root, work / "raw" / "Dataset001_Peer")
    preprocess(work, manifest)
    train(work, options.fold, options.minutes)


def write_raw_folder(manifest: dict, data_root: Path, folder: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for row in manifest["training"]:
        shutil.copy(data_root / row["image"], folder / "imagesTr" / f"{row['case_id']}_0000.nii.gz")
        shutil.copy(data_root / row["label"], folder / "labelsTr" / f"{row['case_id']}.nii.gz")
    content = {
        "channel_names": manifest["channels"],
        "labels": manifest["labels"],
        "numTraining": len(manifest["training"]),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def preprocess(work: Path, manifest: dict) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess as run_preprocessing

    n_processes = os.cpu_count() or 1
    extract_fingerprints([1], num_processes=n_processes)
    plan_experiments([1])
    run_preprocessing([1], configurations=["3d_fullres"], num_processes=[n_processes])
    folds = sorted({row["fold"] for row in manifest["training"]})
    splits = [
        {
            "train": [row["case_id"] for row in manifest["training"] if row["fold"] != fold],
            "val": [row["case_id"] for row in manifest["training"] if row["fold"] == fold],
        }
        for fold in folds
    ]
    (work / "preprocessed" / "Dataset001_Peer" / "splits_final.json").write_text(json.dumps(splits))


def train(work: Path, fold: int, minutes: float) -> None:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class TimedTrainer(nnUNetTrainer):
        def run_training(self) -> None:
            self.on_train_start()
            self.network.train()
            started, budget, step = time.monotonic(), minutes * 60, 0
            while (elapsed := time.monotonic() - started) < budget:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.initial_lr * (1 - elapsed / budget) ** 0.9
                loss = self.train_step(next(self.dataloader_train))["loss"]
                step += 1
                if step % 50 == 0:
                    print(f"step {step}, {elapsed / 60:.1f} min, loss {float(loss):.3f}", flush=True)
            print(f"trained {step} steps in {minutes} minutes, batch {self.batch_size}", flush=True)
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_final.pth"))

    base = work / "preprocessed" / "Dataset001_Peer"
    trainer = TimedTrainer(
        plans={**json.loads((base / "nnUNetPlans.json").read_text()), "continue_training": False},
        configuration="3d_fullres",
        fold=fold,
        dataset_json=json.loads((base / "dataset.json").read_text()),
        device=torch.device("cpu"),
    )
    trainer.run_training()
    trainer.perform_actual_validation()
    predictions = work / "predictions"
    predictions.mkdir(exist_ok=True)
    for mask in sorted((Path(trainer.output_folder) / "validation").glob("*.nii.gz")):
        shutil.copy(mask, predictions / mask.name)
    print(f"masks of fold {fold} are in {predictions}")


if __name__ == "__main__":
    main()
