"""A network as a file that other engines run: ONNX, and from it OpenVINO's own format."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from segsuite.errors import ModelError
from segsuite.extras import import_engine, require_extra
from segsuite.failures import first_line
from segsuite.files import make_folder, write_atomically
from segsuite.shapes import Size

__all__ = ["export_onnx", "export_openvino"]

EXAMPLES = 2
"""In the batch that the network is followed with; any number may go through the file."""


def export_onnx(network: nn.Module, path: Path, *, n_channels: int, patch_size: Size) -> None:
    """Write a network as ONNX: `image` (batch, channels, i, j, k) to `output` (batch, outputs, i, j, k), float32.

    Args:
        network: On the CPU, in ``eval`` mode.
        path: ``*.onnx``.
        n_channels: Of the image.
        patch_size: Window along i, j, k; fixed in the file, the batch is not.

    Raises:
        SettingsError: The extra is not installed.
        ModelError: The network has something that ONNX has not.
    """
    require_extra("openvino", "onnxscript", purpose="ONNX export")
    example = torch.zeros(EXAMPLES, n_channels, *patch_size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own modules, about their own deprecations
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except Exception as error:  # the exporter raises classes of its own, of several modules
        raise ModelError(
            f"The network must be one that ONNX can express, got {type(error).__name__}: {first_line(error)}."
        ) from error
    assert program is not None  # noqa: S101 - it is, unless a file is given
    make_folder(path.parent)
    write_atomically(path, lambda unfinished: program.save(str(unfinished), external_data=False))


def export_openvino(onnx: Path, path: Path) -> None:
    """Write OpenVINO's own format beside its weights.

    Args:
        onnx: From ``export_onnx``.
        path: ``*.xml``; the weights go into ``*.bin``.

    Raises:
        SettingsError: The extra is not installed.
    """
    require_extra("openvino", "openvino", purpose="OpenVINO export")
    openvino = import_engine("openvino")
    make_folder(path.parent)
    openvino.save_model(openvino.Core().read_model(str(onnx)), str(path), compress_to_fp16=False)
