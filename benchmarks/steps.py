"""Milliseconds of a training step and of a prediction pass of the planned U-Net, by how it normalises.

    python benchmarks/steps.py [--device cuda] [--precision bfloat16] [--networks 128 hippocampus prostate] [--batch N]

Without loader, augmentation and loss: forwards, backwards and AdamW in training, four windows forwards in prediction. Compared:
torch's group norm on channels last (what segsuite runs on a CPU), torch's instance norm on
contiguous tensors (as nnU-Net and MONAI), segsuite's norm, and that compiled as in long trainings. Medians of eight.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segsuite.networks.normalisation import InstanceNorm
from segsuite.networks.unet import UNet

NETWORKS = {
    "128": {"patch": (128, 128, 128), "batch": 2, "strides": [[1, 1, 1], *[[2, 2, 2]] * 5], "kernels": [[3, 3, 3]] * 6},
    "hippocampus": {"patch": (32, 48, 32), "batch": 64, "strides": [[1, 1, 1], *[[2, 2, 2]] * 3], "kernels": [[3, 3, 3]] * 4},
    "prostate": {
        "patch": (256, 256, 24),
        "batch": 2,
        "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 1], [2, 2, 1]],
        "kernels": [[3, 3, 1], [3, 3, 1], *[[3, 3, 3]] * 4],
    },
}
WIDTHS = [32, 64, 128, 256, 320, 320]
WINDOWS_PER_PASS = 4


class GroupNorm(InstanceNorm):
    """Torch's group norm with one group per channel."""

    def forward(self, image: Tensor) -> Tensor:
        return F.leaky_relu_(nn.GroupNorm.forward(self, image), self.slope)


class PlainInstanceNorm(InstanceNorm):
    """Torch's instance norm."""

    def forward(self, image: Tensor) -> Tensor:
        return F.leaky_relu_(F.instance_norm(image, weight=self.weight, bias=self.bias, eps=self.eps), self.slope)


NORMS = {
    "group norm, channels last": (GroupNorm, True, False),
    "instance norm, contiguous": (PlainInstanceNorm, False, False),
    "segsuite": (InstanceNorm, True, False),
    "segsuite, compiled": (InstanceNorm, True, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--batch", type=int, help="of training, instead of the planned one")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    print("network      what   norm                       ms     patches a second  GB")
    for name in options.networks:
        for norm, (kind, channels_last, compiled) in NORMS.items():
            for training in (True, False):
                if compiled and (options.device == "cpu" or not training):
                    continue
                step, batch = prepared(options, NETWORKS[name], kind, channels_last, compiled, training)
                ms = timed(step, options.device)
                memory = torch.cuda.max_memory_allocated() / 1e9 if options.device != "cpu" else 0.0
                what = "train" if training else "pass"
                print(f"{name:11}  {what:5}  {norm:25}  {ms:7.2f}  {1000 * batch / ms:16.1f}  {memory:4.1f}", flush=True)


def prepared(
    options: argparse.Namespace, network: dict, kind: type[InstanceNorm], channels_last: bool, compiled: bool, training: bool
) -> tuple[Callable[[], None], int]:
    """What is timed, and its batch."""
    torch.manual_seed(0)
    if options.device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    n = len(network["strides"])
    built = UNet(
        in_channels=1,
        out_channels=3,
        channels=WIDTHS[:n],
        kernels=network["kernels"],
        strides=network["strides"],
        n_supervised=n - 1,
    )
    for layer in built.modules():
        if isinstance(layer, InstanceNorm):
            layer.__class__, layer.compiled = kind, compiled
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    built = built.to(options.device).to(memory_format=layout).train(training)
    batch = (options.batch or network["batch"]) if training else WINDOWS_PER_PASS
    image = torch.randn(batch, 1, *network["patch"], device=options.device).contiguous(memory_format=layout)
    optimiser = torch.optim.AdamW(built.parameters(), 1e-4)
    precise = torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bfloat16")

    def train() -> None:
        with precise:
            loss = torch.stack([level.float().square().mean() for level in built(image)]).sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def predict() -> None:
        with torch.inference_mode(), precise:
            built(image)

    return (train if training else predict), batch


def timed(step: Callable[[], None], device: str, *, n: int = 8, n_before: int = 3) -> float:
    """Median milliseconds."""
    times = []
    for number in range(n_before + n):
        started = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        if number >= n_before:
            times.append(1000 * (time.perf_counter() - started))
    return sorted(times)[n // 2]


if __name__ == "__main__":
    main()
