"""What a plan will take on this machine: disk from the headers, memory and seconds from one real training step."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from segsuite.data.cache import forecast_cache
from segsuite.data.fingerprint import take_fingerprint
from segsuite.data.locate import find_data_root
from segsuite.data.manifest import read_manifest
from segsuite.engines.devices import choose_device, choose_precision, in_fast_layout
from segsuite.engines.inference import window_starts
from segsuite.engines.planning import Plan, make_plan
from segsuite.networks.encoders import SliceNetwork
from segsuite.networks.unet import UNet, count_parameters

__all__ = ["measure_step", "plan_with_forecast"]


def plan_with_forecast(
    manifest_path: Path,
    *,
    data_root: Path | None,
    device: str,
    workers: int,
    on_start: Callable[[int], None] | None = None,
    on_case: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The plan for a manifest's labelled cases, and what it will take here.

    Args:
        manifest_path: The manifest.
        data_root: Where its paths start.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        workers: Threads that read.
        on_start: Called with the number of cases.
        on_case: Called with each case id.

    Returns:
        ``plan``, ``fingerprint`` and ``forecast``, as JSON values.
    """
    chosen = choose_device(device)
    manifest = read_manifest(manifest_path)
    root = find_data_root(manifest, manifest_path, data_root)
    cases = manifest.split(None)[0]
    if on_start is not None:
        on_start(len(cases))
    fingerprint = take_fingerprint(manifest, cases, data_root=root, workers=workers, on_case=on_case)
    plan = make_plan(fingerprint, on_gpu=chosen.type == "cuda")
    with tempfile.TemporaryDirectory() as folder:
        disk = forecast_cache(cases, manifest, root, Path(folder), plan.preprocessing)
    n_classes = len(manifest.regions) or len(manifest.structures) + 1
    step = measure_step(plan, n_channels=manifest.n_channels, n_classes=n_classes, device=chosen)
    size = [
        n * mm / want
        for n, mm, want in zip(fingerprint.median_shape, fingerprint.median_spacing_mm, plan.spacing_mm, strict=True)
    ]
    windows = math.prod(
        len(window_starts(max(math.ceil(n), patch), patch, 0.5)) for n, patch in zip(size, plan.patch_size, strict=True)
    )
    forecast = {
        "network parameters": step["parameters"],
        "training memory": f"{step['memory_gb']:.2f} GB",
        "cache on disk": f"{disk.n_bytes / 1e9:.2f} GB",
        "seconds per training step": round(step["seconds"], 3),
        "steps in 20 minutes": int(1200 / step["seconds"]),
        "minutes for 1000 looks at each case": round(len(cases) * 1000 / plan.batch_size * step["seconds"] / 60, 1),
        "seconds per predicted case": round(windows * 2 ** len(plan.mirror_axes) * step["forward_seconds"], 2),
    }
    return {"plan": plan.to_json(), "fingerprint": asdict(fingerprint), "forecast": forecast}


def measure_step(plan: Plan, *, n_channels: int, n_classes: int, device: torch.device) -> dict[str, Any]:
    """Run the planned network forward and backward on noise, after one warm-up, and look at clock and memory.

    Args:
        plan: What to run.
        n_channels: Of the image.
        n_classes: Background included.
        device: Where.

    Returns:
        ``parameters``, ``seconds`` per step, ``forward_seconds`` per window, ``memory_gb``.
    """
    network = in_fast_layout(_network(plan, n_channels, n_classes).to(device))
    image = torch.zeros(plan.batch_size, n_channels, *plan.patch_size, device=device)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    precision = choose_precision("auto", device)
    before = psutil.Process().memory_info().rss
    seconds, peak = math.inf, before
    for _ in range(3):
        started = time.monotonic()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            outputs = network(image.contiguous(memory_format=torch.channels_last_3d))
            loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        peak = max(peak, psutil.Process().memory_info().rss)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        seconds = min(seconds, time.monotonic() - started)
    network.eval()
    started = time.monotonic()
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        network(image[:1])
    forward = time.monotonic() - started
    used = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak
    return {
        "parameters": count_parameters(network),
        "seconds": seconds,
        "forward_seconds": forward,
        "memory_gb": used / 1e9,
    }


def _network(plan: Plan, n_channels: int, n_classes: int) -> nn.Module:
    if plan.dimensions == 2:
        return SliceNetwork(in_channels=n_channels, out_channels=n_classes, architecture="unet", encoder="resnet18")
    return UNet(
        in_channels=n_channels, out_channels=n_classes, channels=plan.channels, kernels=plan.kernels, strides=plan.strides
    )
