"""The written network gives torch's numbers in other engines, for any number of windows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segsuite.engines.backends import NETWORK_FILE, Backend, open_backend
from segsuite.engines.model_folder import ModelFolder
from segsuite.engines.network_export import export_onnx, export_openvino
from segsuite.errors import ModelError
from segsuite.extras import import_engine
from segsuite.networks.encoders import SliceNetwork
from segsuite.networks.unet import UNet

pytestmark = pytest.mark.slow
PATCH = (16, 16, 8)


@pytest.fixture(autouse=True)
def _needs_the_extra() -> None:
    for module in ("openvino", "onnxruntime", "onnxscript"):
        pytest.importorskip(module, reason="needs the extra: pip install 'segsuite[openvino]'")


def unet() -> nn.Module:
    torch.manual_seed(0)
    kernels, strides = [[3, 3, 1], [3, 3, 3]], [[1, 1, 1], [2, 2, 1]]
    return UNet(in_channels=2, out_channels=3, channels=[4, 8], kernels=kernels, strides=strides).eval()


def slices() -> nn.Module:
    torch.manual_seed(0)
    return SliceNetwork(in_channels=2, out_channels=3, architecture="unet", encoder="resnet18").eval()


@pytest.mark.parametrize(("build", "patch"), [(unet, PATCH), (slices, (32, 32, 1))])
def test_engines_give_the_numbers_of_torch(build: object, patch: tuple[int, int, int], tmp_path: Path) -> None:
    network = build()  # type: ignore[operator]
    export_onnx(network, tmp_path / NETWORK_FILE, n_channels=2, patch_size=patch)
    for engine in ("onnxruntime", "openvino"):
        forward = open_backend(Backend(engine), network, ModelFolder(tmp_path, {}))
        for batch in (1, 2, 3):
            image = torch.randn(batch, 2, *patch, generator=torch.Generator().manual_seed(batch))
            image = image.contiguous(memory_format=torch.channels_last_3d)
            with torch.inference_mode():
                expected = network(image)
            found = forward(image)
            assert found.shape == expected.shape
            torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
            found += 1  # what is returned belongs to the caller: the next call must not show it
            torch.testing.assert_close(forward(image), expected, atol=2e-3, rtol=1e-3)


def test_openvino_format_is_written_with_its_weights(tmp_path: Path) -> None:
    network = unet()
    export_onnx(network, tmp_path / "network.onnx", n_channels=2, patch_size=PATCH)
    export_openvino(tmp_path / "network.onnx", tmp_path / "out" / "network.xml")
    openvino = import_engine("openvino")

    in_float32 = {"INFERENCE_PRECISION_HINT": "f32"}  # where the processor has bfloat16, OpenVINO takes it unasked
    compiled = openvino.Core().compile_model(str(tmp_path / "out" / "network.xml"), "CPU", in_float32)
    image = torch.randn(1, 2, *PATCH, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(image)
    torch.testing.assert_close(torch.from_numpy(compiled(image.numpy())[0]), expected, atol=2e-3, rtol=1e-3)


def test_what_onnx_has_not_is_said(tmp_path: Path) -> None:
    class Depends(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image if float(image.sum()) > 0 else -image

    with pytest.raises(ModelError, match="must be one that ONNX can express, got"):
        export_onnx(Depends(), tmp_path / "x.onnx", n_channels=1, patch_size=(4, 4, 4))
    assert not list(tmp_path.iterdir())
