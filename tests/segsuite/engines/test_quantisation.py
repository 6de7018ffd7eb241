"""Convolutions in int8: within the rounding that the number format allows, with weights that no processor overflows."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segsuite.engines.backends import INT8_FILE, NETWORK_FILE, Backend, open_backend
from segsuite.engines.inference import WindowInference
from segsuite.engines.model_folder import ModelFolder
from segsuite.engines.network_export import export_onnx
from segsuite.engines.quantisation import example_windows, quantise_onnx
from segsuite.errors import ModelError

PATCH = (6, 4, 8)


def image_of(seed: int, *, size: tuple[int, int, int] = PATCH) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 3, size=(2, *size)).astype(np.float32)


class Convolution(nn.Module):
    """One, whose result can be bounded by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv3d(2, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layer(image)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    for module in ("openvino", "onnxruntime", "onnxscript"):
        pytest.importorskip(module, reason="needs the extra: pip install 'segsuite[openvino]'")
    export_onnx(Convolution().eval(), tmp_path / NETWORK_FILE, n_channels=2, patch_size=PATCH)
    return ModelFolder(tmp_path, {})


def test_result_lies_within_the_rounding_of_weights_and_features(folder: ModelFolder) -> None:
    network = Convolution().eval()
    examples = [image_of(seed) for seed in range(3)]
    quantise_onnx(folder.path / NETWORK_FILE, folder.path / INT8_FILE, examples)
    image = torch.from_numpy(np.stack(examples))
    with torch.inference_mode():
        expected = network(image)
    found = open_backend(Backend("openvino", "int8"), network, folder)(image)
    # affine quantisation: a feature is off by half a step of 1/255 of the range,
    # a weight by half a step of 2/127 of the largest of its channel; results are rounded once more
    low, high = min(0.0, float(image.min())), float(image.max())
    feature_step = (high - low) / 255
    weights = network.layer.weight.detach().flatten(1)
    weight_step = 2 * weights.abs().amax(dim=1) / 127
    result_step = float(expected.max() - expected.min()) / 255
    n = weights.shape[1]
    bound = feature_step / 2 * weights.abs().sum(dim=1) + weight_step / 2 * n * max(abs(low), high)
    bound += n * feature_step * weight_step / 4 + result_step
    error = (found - expected).abs().amax(dim=(0, 2, 3, 4))
    assert (error <= bound).all()
    assert error.max() > 1e-4, "the convolution was not quantised"
    assert float((found - expected).abs().mean()) < 0.1 * float(bound.min())


def test_weights_take_seven_bits_per_channel(folder: ModelFolder) -> None:
    import onnx
    from onnx import numpy_helper

    quantise_onnx(folder.path / NETWORK_FILE, folder.path / INT8_FILE, [image_of(0)])
    model = onnx.load(str(folder.path / INT8_FILE))
    stored = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    weights = next(array for array in stored if array.dtype == np.int8 and array.ndim == 5)
    assert np.abs(weights.astype(int)).reshape(3, -1).max(axis=1).tolist() == [64, 64, 64]
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}


def test_same_examples_same_file_and_the_log_stays_as_it_was(folder: ModelFolder) -> None:
    logging.getLogger().setLevel(logging.INFO)
    for name in ("a.onnx", "b.onnx"):
        quantise_onnx(folder.path / NETWORK_FILE, folder.path / name, [image_of(0)])
    assert (folder.path / "a.onnx").read_bytes() == (folder.path / "b.onnx").read_bytes()
    assert logging.getLogger().level == logging.INFO


def test_a_file_that_is_no_network_is_refused_and_nothing_is_left(folder: ModelFolder) -> None:
    (folder.path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="must be one that can be quantised, got"):
        quantise_onnx(folder.path / "broken.onnx", folder.path / INT8_FILE, [image_of(0)])
    assert not (folder.path / INT8_FILE).exists()
    assert not list(folder.path.rglob("*.tmp.*"))


def test_examples_are_windows_of_the_image() -> None:
    image = image_of(0, size=(9, 4, 11))
    windows = WindowInference(patch_size=PATCH, n_classes=2, overlap=0.5)
    found = list(example_windows(image, windows, count=3, seed=0))
    assert [part.shape for part in found] == [(2, *PATCH)] * 3
    every = np.lib.stride_tricks.sliding_window_view(image, (2, *PATCH))[0]
    places = [np.argwhere((every == part).all(axis=(-4, -3, -2, -1))) for part in found]
    assert [len(place) for place in places] == [1, 1, 1]
    assert len({tuple(place[0]) for place in places}) == 3
    again = list(example_windows(image, windows, count=3, seed=0))
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


def test_a_small_image_is_one_padded_window() -> None:
    image = image_of(0, size=(3, 4, 5))
    (found,) = example_windows(image, WindowInference(patch_size=PATCH, n_classes=2), count=8, seed=0)
    assert found.shape == (2, *PATCH)
    assert found.min() == image.min()
