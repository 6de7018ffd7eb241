"""A network whose convolutions count in eight bits: faster on most processors, and good only where validation cases say so."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segsuite.engines.inference import WindowInference, window_starts
from segsuite.errors import InputError, ModelError
from segsuite.extras import import_engine, require_extra
from segsuite.failures import first_line
from segsuite.files import make_folder, write_atomically
from segsuite.shapes import Image
from segsuite.volumes.cropping import pad_to_size

__all__ = ["example_windows", "quantise_onnx"]

QUANTISED = ("Conv",)
"""What counts in integers; norms, transposed convolutions and all decisions stay in float32."""


def quantise_onnx(onnx: Path, path: Path, windows: Sequence[Image]) -> None:
    """Write the network with convolutions in int8: weights per channel, features by the range that they have in examples.

    Weights take seven of their eight bits: processors without VNNI add pairs of products in 16 bits, which full weights overflow,
    and a file may be judged on one processor and used on another.

    Args:
        onnx: From ``network_export.export_onnx``.
        path: ``*.onnx``; the same input and output, float32, with pairs of QuantizeLinear and DequantizeLinear.
        windows: Examples, each (channels, i, j, k) as the network sees it; of cases that it is not judged by afterwards.

    Raises:
        SettingsError: The extra is not installed.
        ModelError: The network cannot be quantised.

    Source: Jacob et al., CVPR 2018, arXiv:1712.05877, equation 1 (affine quantisation); Nagel et al., arXiv:2106.08295.
    """
    require_extra("openvino", "onnxruntime", purpose="int8")
    quantization = import_engine("onnxruntime.quantization")

    class Examples(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        """Hands out one window after the other."""

        def __init__(self) -> None:
            self.windows = iter(windows)

        def get_next(self) -> dict[str, Any] | None:
            """The next input; ``None`` after the last."""
            window = next(self.windows, None)
            return None if window is None else {"image": window[None]}

    def write(unfinished: Path) -> None:
        quantization.quantize_static(
            onnx,
            unfinished,
            Examples(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )

    make_folder(path.parent)
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # it recommends a preparation that changes nothing here
    try:
        write_atomically(path, write)
    except InputError:
        raise
    except Exception as error:  # the quantiser raises classes of its own, of several modules
        raise ModelError(
            f"The network must be one that can be quantised, got {type(error).__name__}: {first_line(error)}."
        ) from error
    finally:
        root.setLevel(level)


def example_windows(image: Image, windows: WindowInference, *, count: int, seed: int) -> Iterator[Image]:
    """Some of the windows that prediction goes over.

    Args:
        image: (channels, i, j, k), prepared.
        windows: Size and overlap.
        count: At most so many.
        seed: Of the choice.

    Yields:
        (channels, *patch), float32.
    """
    padded = pad_to_size(image, windows.patch_size, value=float(image.min()))
    starts = [window_starts(n, patch, windows.overlap) for n, patch in zip(padded.shape[1:], windows.patch_size, strict=True)]
    grid = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 3)
    for at in np.random.default_rng(seed).permutation(grid)[:count]:
        inside = tuple(slice(start, start + patch) for start, patch in zip(at, windows.patch_size, strict=True))
        yield np.ascontiguousarray(padded[(slice(None), *inside)])
