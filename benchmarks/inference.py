"""Whole prediction, from NIfTI to NIfTI: `segsuite predict` beside a plain MONAI script with the same network and windows,
and beside `nnUNetv2_predict` with a network of the same layers.

    python benchmarks/inference.py MODEL IMAGES --out WORK [--cases 60] [--repeats 3] [--device cuda] [--set backend=torch]
                                   [--peer /path/to/python --prepared TRAINING_WORK/peer]

MODEL is a model of `supervised` (one channel, 3-D), IMAGES a folder of NIfTI files. Where `segsuite accelerate` was run on the
model, segsuite is timed twice: by torch, and as it then runs by itself. All start as commands, read, resample,
normalise, slide windows (the model's overlap, Gaussian, no flips), take the largest, bring the labels back to each image's grid
and write gzip. The MONAI script is what its users write: `Compose`, `SlidingWindowInferer`, `Invertd`, float32, torch's own
convolutions. nnU-Net needs an environment with `nnunetv2` and the folder that `training.py --out TRAINING_WORK` prepared: its
network has the same stages and random weights, no flips, on a CPU one process each for reading and writing, on a GPU its three.
There, MONAI's tensors stay on the GPU until they are written, segsuite and nnU-Net compute in their mixed precision, MONAI in
single. Runs alternate; medians; memory is the largest sum over the command's processes, looked at 20 times a second; the share
in which the GPU computed is what its driver says, from the first kernel to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from watching import Taken, watched

SCHEMES = ("zscore", "zscore_nonzero")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", help="for segsuite")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--prepared", type=Path)
    parser.add_argument("--child", choices=("MONAI", "nnU-Net"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if (options.model / "model").is_dir():
        options.model = options.model / "model"
    if options.child == "MONAI":
        predict_with_monai(options.model, options.images, options.out, options.device)
        return
    if options.child == "nnU-Net":
        write_nnunet_model(options.model, options.prepared, options.out)
        return
    from segsuite.engines.backends import TABLE_FILE  # nnU-Net's environment, where this file runs too, has no segsuite

    scans = options.out / "scans"
    shutil.rmtree(scans, ignore_errors=True)
    scans.mkdir(parents=True)
    for path in sorted(options.images.glob("*.nii.gz"))[: options.cases]:
        shutil.copy(path, scans)
    commands = {
        "segsuite": [sys.executable, "-m", "segsuite", "predict", options.model, scans, "--overwrite", "-q"],
        "MONAI": [sys.executable, __file__, "--child", "MONAI", options.model, scans, "--device", options.device],
    }
    commands["segsuite"] += ["--set", "mirror_axes=[]", "--set", "largest_component=[]", "--device", options.device]
    commands["segsuite"] += [word for text in options.overrides for word in ("--set", text)]
    if (options.model / TABLE_FILE).is_file() and options.device == "cpu":
        commands = {"accelerated": commands["segsuite"], **commands}
        commands["segsuite"] = [*commands["segsuite"], "--set", "backend=torch"]
    if options.peer is not None:
        commands["nnU-Net"] = nnunet_command(options, scans)
    runs: dict[str, list[Taken]] = {name: [] for name in commands}
    for _ in range(options.repeats):
        for name, command in commands.items():
            where = ["-o" if name == "nnU-Net" else "--out", str(options.out / name)]
            runs[name].append(watched([*map(str, command), *where], gpu=options.device != "cpu"))
    n = len(list(scans.iterdir()))
    print(f"{n} cases, medians of {options.repeats}")
    medians = {name: statistics.median(taken.seconds for taken in found) for name, found in runs.items()}
    ours = [name for name in ("segsuite", "accelerated") if name in medians]
    for name, found in runs.items():
        memory = statistics.median(taken.sum_bytes for taken in found) / 1e6
        ratios = ", ".join(f"{medians[name] / medians[one]:.2f} x {one}" for one in ours)
        line = f"{name:11} {medians[name]:7.1f} s, {60 * n / medians[name]:6.1f} cases a minute, {ratios}, peak {memory:.0f} MB"
        if name in ours:
            line += f", {agreement(options.out / name, options.out / 'MONAI'):.4%} of the voxels as MONAI"
        if options.device != "cpu":
            share, gigabytes = found[-1].gpu_share, found[-1].gpu_bytes / 1e9
            line += f"; GPU computes {share:.0%} of the time, peak {gigabytes:.1f} GB"
        print(line)


def agreement(first: Path, second: Path) -> float:
    """Share of voxels with equal labels, over all cases of two folders."""
    from segsuite.volumes.reading import read_labels

    equal = total = 0
    for path in sorted(first.glob("*.nii.gz")):
        pair = [read_labels(folder / path.name).labels for folder in (first, second)]
        equal += int(np.count_nonzero(pair[0] == pair[1]))
        total += pair[0].size
    return equal / total


def nnunet_command(options: argparse.Namespace, scans: Path) -> list[object]:
    """`nnUNetv2_predict` on the same scans under the names that it wants, with a model that is made here."""
    renamed, results = options.out / "scans_nnunet", (options.out / "nnunet_results").resolve()
    shutil.rmtree(renamed, ignore_errors=True)
    renamed.mkdir()
    for path in scans.iterdir():
        shutil.copy(path, renamed / path.name.replace(".nii.gz", "_0000.nii.gz"))
    for name in ("raw", "preprocessed"):
        os.environ[f"nnUNet_{name}"] = str((options.prepared / name).resolve())
    os.environ["nnUNet_results"] = str(results)  # noqa: SIM112
    make = [options.peer, __file__, options.model, scans, "--child", "nnU-Net", "--prepared", options.prepared, "--out", results]
    subprocess.run([*map(str, make)], check=True)
    command = [options.peer.parent / "nnUNetv2_predict", "-i", renamed, "-d", 1, "-c", "3d_fullres", "-f", 0]
    overlap = json.loads((options.model / "model.json").read_text())["inference"]["overlap"]
    n_processes = 1 if options.device == "cpu" else 3
    command += ["-device", options.device, "--disable_tta", "-step_size", 1 - overlap]
    return [*command, "-npp", n_processes, "-nps", n_processes]


def write_nnunet_model(model: Path, prepared: Path, results: Path) -> None:
    """A model folder of nnU-Net whose network has the stages of a model of `supervised`; in the peer's environment."""
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    description = json.loads((model / "model.json").read_text())
    ours, base = description["network"], prepared / "preprocessed" / "Dataset001_Peer"
    plans = json.loads((base / "nnUNetPlans.json").read_text())
    chosen = plans["configurations"]["3d_fullres"]
    chosen["patch_size"] = description["inference"]["patch_size"][::-1]  # nnU-Net counts axes k, j, i
    chosen["spacing"] = description["preprocessing"]["spacing_mm"][::-1]
    plans["transpose_forward"] = plans["transpose_backward"] = [0, 1, 2]
    n = len(ours["channels"])
    kernels, strides = ([row[::-1] for row in ours[key]] for key in ("kernels", "strides"))
    layers = {"n_stages": n, "features_per_stage": ours["channels"], "kernel_sizes": kernels, "strides": strides}
    layers |= {"n_conv_per_stage": [2] * n, "n_conv_per_stage_decoder": [2] * (n - 1)}
    arguments = chosen["architecture"]["arch_kwargs"]
    arguments |= layers
    norm = {"conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d, "nonlin": torch.nn.LeakyReLU, "conv_bias": True}
    how = {"norm_op_kwargs": {"eps": 1e-5, "affine": True}, "nonlin_kwargs": {"inplace": True}}
    network = PlainConvUNet(
        input_channels=ours["in_channels"], num_classes=ours["out_channels"], deep_supervision=True, **layers, **norm, **how
    )
    folder = results / "Dataset001_Peer" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    dataset = json.loads((base / "dataset.json").read_text()) | {"labels": description["labels"]}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = {"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer"}
    checkpoint |= {"init_args": {"configuration": "3d_fullres"}, "inference_allowed_mirroring_axes": None}
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def predict_with_monai(model: Path, images: Path, out: Path, device: str) -> None:
    """What a user of MONAI writes."""
    import torch
    from monai.data import DataLoader, Dataset, decollate_batch
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import (
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        Invertd,
        LoadImaged,
        NormalizeIntensityd,
        Orientationd,
        SaveImaged,
        ScaleIntensityRanged,
        Spacingd,
    )
    from safetensors.torch import load_file

    from pipelines.supervised.network import build_network
    from segsuite.networks.convolution import Convolution3d
    from segsuite.networks.normalisation import InstanceNorm

    description = json.loads((model / "model.json").read_text())
    network = build_network(description["network"]).eval()
    network.load_state_dict(load_file(model / "model.safetensors"))
    for module in list(network.modules()):
        if isinstance(module, Convolution3d):
            module.__class__ = torch.nn.Conv3d
        for name, child in module.named_children():
            if device != "cpu" and isinstance(child, InstanceNorm):
                plain = torch.nn.InstanceNorm3d(child.num_channels, affine=True)
                plain.load_state_dict(child.state_dict())
                setattr(module, name, torch.nn.Sequential(plain, torch.nn.LeakyReLU(child.slope, inplace=True)))
    network.to(device)
    how = description["preprocessing"]["normalisation"][0]
    if how["scheme"] == "window":
        ends = {"a_min": how["low"], "a_max": how["high"], "clip": True}
        ends |= {f"b_{end}": (how[at] - how["mean"]) / how["std"] for end, at in (("min", "low"), ("max", "high"))}
        normalise = ScaleIntensityRanged("image", **ends)
    elif how["scheme"] in SCHEMES:
        normalise = NormalizeIntensityd("image", nonzero=how["scheme"] == "zscore_nonzero")
    else:
        raise SystemExit(f"the peer knows {('window', *SCHEMES)}, got {how['scheme']}")
    before = Compose(
        [
            LoadImaged("image", image_only=True),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=description["preprocessing"]["spacing_mm"], mode="bilinear"),
            normalise,
        ]
    )
    after = Compose(
        [
            Invertd("labels", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("labels", argmax=True),
            SaveImaged(
                "labels", output_dir=out, output_postfix="", separate_folder=False, output_dtype=np.uint8, print_log=False
            ),
        ]
    )
    windows = description["inference"]
    inferer = SlidingWindowInferer(windows["patch_size"], sw_batch_size=4, overlap=windows["overlap"], mode="gaussian")
    cases = Dataset([{"image": str(path)} for path in sorted(images.iterdir())], transform=before)
    with torch.inference_mode():
        for batch in DataLoader(cases, batch_size=1, num_workers=1):
            batch["labels"] = inferer(batch["image"].to(device), network).softmax(dim=1)
            for case in decollate_batch(batch):
                after(case)


if __name__ == "__main__":
    main()
