from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from segsuite.errors import Advice
from segsuite.networks import normalisation
from segsuite.networks.normalisation import InstanceNorm, normalise_and_activate

IMAGE = torch.randn(2, 6, 5, 4, 3, generator=torch.Generator().manual_seed(0))


def layer(slope: float) -> tuple[InstanceNorm, torch.nn.InstanceNorm3d]:
    ours, theirs = InstanceNorm(6, slope=slope), torch.nn.InstanceNorm3d(6, affine=True)
    with torch.no_grad():
        ours.weight.copy_(torch.linspace(0.5, 2, 6))
        ours.bias.copy_(torch.linspace(-1, 1, 6))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("slope", [1.0, 0.01])
def test_it_is_torchs_instance_norm_and_activation_and_keeps_the_layout(slope: float) -> None:
    ours, theirs = layer(slope)
    expected = F.leaky_relu(theirs(IMAGE), slope)
    torch.testing.assert_close(ours(IMAGE), expected)
    flat = IMAGE.contiguous(memory_format=torch.channels_last_3d)
    assert ours(flat).is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(normalise_and_activate(IMAGE, ours.weight, ours.bias, ours.eps, slope), expected)


def test_the_formula_keeps_a_short_number_format_and_computes_in_single_precision() -> None:
    ours, _ = layer(0.01)
    short = (IMAGE + 100).bfloat16()
    found = normalise_and_activate(short, ours.weight, ours.bias, ours.eps, 0.01)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), ours(short.float()), atol=0.02, rtol=0.02)


def test_without_a_compiler_training_goes_on_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> normalisation.Formula:
        raise RuntimeError("no C compiler here")

    ours, _ = layer(0.01)
    arguments = (IMAGE, ours.weight, ours.bias, ours.eps, 0.01)
    monkeypatch.setattr(normalisation, "_compile", fails)
    compiled = normalisation._Compiled()
    with pytest.warns(Advice, match="no C compiler here"):
        found = compiled(*arguments)
    torch.testing.assert_close(found, normalise_and_activate(*arguments))
    torch.testing.assert_close(found, compiled(*arguments))  # tries no second time


def test_each_size_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def compiles() -> normalisation.Formula:
        made.append(1)
        return normalise_and_activate

    ours, _ = layer(0.01)
    monkeypatch.setattr(normalisation, "_compile", compiles)
    compiled = normalisation._Compiled()
    for image in (IMAGE, IMAGE[:1], IMAGE):
        compiled(image, ours.weight, ours.bias, ours.eps, 0.01)
    assert compiled.sizes == {tuple(IMAGE.shape), tuple(IMAGE[:1].shape)}
    assert made == [1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="what a GPU runs needs one")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_same_numbers_and_gradients(training: bool, dtype: torch.dtype) -> None:
    ours, theirs = layer(0.01)
    image = IMAGE.clone().to(dtype).float().requires_grad_()
    expected = F.leaky_relu(theirs(image), 0.01)
    expected.square().sum().backward()
    layer_there = ours.cuda()
    there = image.detach().cuda().to(dtype).contiguous(memory_format=torch.channels_last_3d).requires_grad_(training)
    tolerance = {"atol": 0.05, "rtol": 0.05} if dtype == torch.bfloat16 else {"atol": 1e-3, "rtol": 1e-3}
    with torch.set_grad_enabled(training):
        found = layer_there(there)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(found.float().cpu(), expected.detach(), **tolerance)
    if training:
        found.float().square().sum().backward()
        torch.testing.assert_close(there.grad.float().cpu(), image.grad, atol=0.1, rtol=0.1)
