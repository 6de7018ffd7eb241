from __future__ import annotations

import math

import pytest
import torch

from pipelines.cohort_contrast.attributes import CLASS_WIDTH, VALUE_WIDTH, attribute_alignment, attribute_terms
from pipelines.cohort_contrast.losses import null_pull, salient_uniformity


def test_18_a_dimension_that_follows_the_attribute_costs_less_and_classes_are_indicator_means() -> None:
    y = torch.linspace(0, 1, 12, dtype=torch.float64)
    shuffled = y[torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    assert attribute_alignment(y, y, width=VALUE_WIDTH) < attribute_alignment(shuffled, y, width=VALUE_WIDTH)
    z = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kind = torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0], dtype=torch.float64)
    alike = sum(float((z[2 * k] - z[2 * k + 1]) ** 2) for k in range(3))
    assert float(attribute_alignment(z, kind, width=CLASS_WIDTH)) == pytest.approx(alike / 15, abs=1e-6)
    assert float(attribute_alignment(z, kind, width=CLASS_WIDTH, normalised=True)) == pytest.approx(alike / 3, abs=1e-6)


def test_unknown_attributes_are_left_out() -> None:
    z, y = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.2, 0.2, math.nan])
    torch.testing.assert_close(attribute_alignment(z, y, width=0.025), attribute_alignment(z[:2], y[:2], width=0.025))
    assert float(attribute_alignment(z[:2], y[1:], width=0.025)) == 0
    with pytest.raises(ValueError, match=r"`values` and `attribute` must be \(n,\) each"):
        attribute_alignment(z, y[:2], width=0.025)


def test_terms_are_the_mean_over_attributes() -> None:
    z = torch.randn(8, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = torch.rand(8, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    diseased = torch.arange(8) >= 4
    slow = 0.0
    for k, width in enumerate((VALUE_WIDTH, CLASS_WIDTH)):
        pulled = attribute_alignment(z[4:, k], y[4:, k], width=width)
        slow += float(salient_uniformity(z[:, k : k + 1], diseased) + (pulled + null_pull(z[:, k : k + 1], diseased)) / 2) / 2
    assert float(attribute_terms(z, y, diseased, is_class=(False, True))) == pytest.approx(slow)
    assert torch.autograd.gradcheck(lambda x: attribute_terms(x, y, diseased, is_class=(False, True)), z.requires_grad_())
    with pytest.raises(ValueError, match="one column per salient dimension"):
        attribute_terms(z, y[:, :1], diseased, is_class=(False,))
