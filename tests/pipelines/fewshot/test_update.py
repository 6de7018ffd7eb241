from __future__ import annotations

import pytest
import torch

from pipelines.fewshot.update import KernelUpdate, pooled_prototypes

C = 5


def gate() -> KernelUpdate:
    torch.manual_seed(0)
    return KernelUpdate(C)


def test_prototype_by_a_loop() -> None:
    """I8: what is not scored is in no prototype."""
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(2, C, 3, 2, 2), dim=1)
    label = torch.randint(-1, 3, (2, 3, 2, 2))
    label[label == 2] = -1
    found, present = pooled_prototypes(features, label, 4)
    assert present.tolist() == [True, True, False, False]
    for place in range(2):
        total = sum(
            features[b, :, i, j, k] for b in range(2) for i in range(3) for j in range(2) for k in range(2)
            if label[b, i, j, k] == place
        )  # fmt: skip
        torch.testing.assert_close(found[place], total / total.norm(), atol=1e-5, rtol=1e-5)
    assert not found[2:].any()


def test_before_training_it_imprints_and_blends_in_halves() -> None:
    """U(p, p) is p exactly; U(k, p) lies about midway."""
    update = gate()
    kernel, prototype = torch.nn.functional.normalize(torch.randn(2, 3, C), dim=2)
    torch.testing.assert_close(update(prototype, prototype), prototype)
    torch.testing.assert_close(update(kernel, prototype), (kernel + prototype) / 2, atol=0.05, rtol=0)


def test_lengths_do_not_matter() -> None:
    """I7."""
    update = gate()
    kernel, prototype = torch.randn(2, 3, C)
    torch.testing.assert_close(update(3 * kernel, prototype * 7), update(kernel, prototype))


def test_update_by_hand() -> None:
    """The formula written out for one kernel, with a residual that is not zero."""
    update = gate()
    torch.nn.init.normal_(update.residual.weight)
    kernel, prototype = torch.nn.functional.normalize(torch.randn(2, 1, C), dim=2)
    q = torch.nn.functional.layer_norm(update.of_kernel[0].weight @ kernel[0], (C,))
    r = torch.nn.functional.layer_norm(update.of_prototype[0].weight @ prototype[0], (C,))
    a = torch.sigmoid(update.gate.weight @ torch.cat([q * r, q, r]))
    expected = kernel[0] + a * (prototype[0] + update.residual.weight @ prototype[0] - kernel[0])
    torch.testing.assert_close(update(kernel, prototype)[0], expected)
    opening = update.opening(kernel, prototype)
    assert ((opening > 0) & (opening < 1)).all()


def test_stays_in_single_precision() -> None:
    """I22."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert gate()(torch.randn(2, C), torch.randn(2, C)).dtype == torch.float32
    assert pooled_prototypes(torch.randn(1, C, 2, 2, 2).bfloat16(), torch.zeros(1, 2, 2, 2).long(), 1)[0].dtype == torch.float32


@pytest.mark.parametrize("plays", [0, 1])
def test_gradient_reaches_both_sides(plays: int) -> None:
    """I19."""
    pair = torch.randn(2, 1, C, requires_grad=True)
    gate()(pair[0], pair[1]).square().sum().backward()
    assert pair.grad[plays].abs().sum() > 0
