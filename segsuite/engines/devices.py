"""Which device computes, and in which precision."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from segsuite.engines.machine import available_cores
from segsuite.errors import SettingsError

__all__ = ["choose_device", "choose_precision", "devices_of", "has_fast_bfloat16", "in_fast_layout", "set_threads"]

Network = TypeVar("Network", bound=nn.Module)


def choose_device(name: str) -> torch.device:
    """The device that the user asked for.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; ``auto`` takes the first GPU if there is one.

    Returns:
        The device.

    Raises:
        SettingsError: No such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"--device must be auto, cpu, cuda, cuda:N or mps, got `{name}`.") from error
    found = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= found:
        raise SettingsError(f"--device must exist here, got `{name}` with {found} CUDA devices. Use --device cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("--device must exist here, got `mps` without Metal. Use --device cpu.")
    return device


def devices_of(name: str) -> list[str]:
    """The devices that trainings side by side may have, one each.

    Args:
        name: What the user asked for; ``auto`` means all CUDA devices.

    Returns:
        Names for ``choose_device``.
    """
    if name == "auto" and torch.cuda.device_count() > 1:
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [name]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are computed in hardware: CUDA from Ampere on, or AVX512-BF16 / AMX.

    Args:
        device: Where.

    Returns:
        True where bfloat16 pays.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        return "AVX512" in capability and torch.cpu._is_avx512_bf16_supported()
    return False


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format of the convolutions.

    Args:
        name: ``auto``, ``float32`` or ``bfloat16``; ``auto`` takes bfloat16 where it is computed in hardware.
        device: Where.

    Returns:
        ``torch.float32`` or ``torch.bfloat16``.

    Raises:
        SettingsError: Another name.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if name not in known:
        raise SettingsError(f"Precision must be auto, float32 or bfloat16, got `{name}`.")
    return known[name]


def in_fast_layout(network: Network) -> Network:
    """A network with its weights laid out channels last, which convolutions are faster in.

    Args:
        network: With 2-D convolutions, 3-D ones, or both.

    Returns:
        The same network.
    """
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.ndim])
    return network


def set_threads(count: int | None) -> None:
    """How many threads compute on a CPU.

    Args:
        count: At least 1; ``None`` leaves it to torch, but to no more than the cores that this process may use.
    """
    if count is not None:
        torch.set_num_threads(max(1, count))
    elif torch.get_num_threads() > available_cores():
        torch.set_num_threads(available_cores())
