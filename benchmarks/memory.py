"""Peak memory of predicting one large CT with many labels, against what `predict --dry-run` says before.

    python benchmarks/memory.py --out WORK [--labels 100] [--shape 512 512 600] [--patch 64]

The CT is noise and the network has random weights: memory and time do not depend on what is seen. Network: spacing 1.5 mm,
8 to 64 channels unless others are given. The peak is the highest resident memory of a single process: the one that segments.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from watching import watched

from pipelines.supervised.network import build_network
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.model_folder import write_model_folder


def write_ct(path: Path, shape: tuple[int, int, int]) -> None:
    draw = np.random.default_rng(0)
    voxels = draw.integers(-1000, 1000, size=shape, dtype=np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-0.8, -0.8, 1.0, 1.0])), path)


def write_model(folder: Path, n_labels: int, patch: int, channels: list[int]) -> Path:
    torch.manual_seed(0)
    arguments = {
        "kind": "unet", "in_channels": 1, "out_channels": 1 + n_labels, "channels": channels,
        "kernels": [[3, 3, 3]] * len(channels), "strides": [[1, 1, 1], *[[2, 2, 2]] * (len(channels) - 1)], "n_supervised": 1,
    }  # fmt: skip
    preprocessing = Preprocessing((1.5, 1.5, 1.5), (Normalisation("window", low=-1000, high=1000, mean=0.0, std=500.0),))
    inference = {"patch_size": [patch] * 3, "overlap": 0.25, "mirror_axes": [], "precision": "float32", "largest_component": []}
    labels = {"background": 0, **{f"structure_{n}": n for n in range(1, n_labels + 1)}}
    description = {
        "pipeline": "supervised", "name": "noise", "labels": labels, "class_labels": list(range(n_labels + 1)),
        "channels": {"0": "CT"}, "preprocessing": preprocessing.to_json(), "network": arguments, "inference": inference,
    }  # fmt: skip
    return write_model_folder(folder, weights=build_network(arguments).state_dict(), description=description, card="noise").path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 600))
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16, 32, 64])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ct = options.out / "ct.nii.gz"
    write_ct(ct, tuple(options.shape))
    model = write_model(options.out / "model", options.labels, options.patch, options.channels)
    command = [
        sys.executable,
        "-m",
        "segsuite",
        "predict",
        str(model),
        str(ct),
        "--out",
        str(options.out / "masks"),
        "--overwrite",
    ]
    forecast = json.loads(subprocess.run([*command, "--dry-run", "--json"], check=True, capture_output=True, text=True).stdout)
    print(json.dumps(forecast["largest"]), flush=True)
    taken = watched(command)
    print(f"{options.labels} labels on {'x'.join(map(str, options.shape))}, patch {options.patch}")
    print(f"peak memory  forecast {forecast['peak_gb']:.2f} GB, measured {taken.largest_bytes / 1e9:.2f} GB")
    print(f"time         network forecast {forecast['network_minutes']:.1f} min, whole command {taken.seconds / 60:.1f} min")


if __name__ == "__main__":
    main()
