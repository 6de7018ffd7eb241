from __future__ import annotations

import pytest
import torch

from pipelines.cohort_contrast.kernels import (
    gathered,
    log_kernel,
    on_sphere,
    positive,
    require_rows,
    squared_distances,
    without_self,
)


def test_distances_equal_a_double_loop_and_do_not_cancel_far_from_the_origin() -> None:
    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double()
    slow = torch.tensor([[float(((a - b) ** 2).sum()) for b in rows] for a in rows], dtype=torch.float64)
    torch.testing.assert_close(squared_distances(rows), slow)
    far = squared_distances((rows + 500).float())
    assert torch.diagonal(far).abs().max() == 0
    torch.testing.assert_close(far.double(), slow, atol=1e-2, rtol=1e-3)


def test_kernels_of_half_precision_are_computed_in_float32_even_under_autocast() -> None:
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logs = log_kernel(rows.bfloat16(), 0.5)
    assert logs.dtype == torch.float32
    torch.testing.assert_close(logs, log_kernel(rows.bfloat16().float(), 0.5))


def test_a_row_is_not_its_own_neighbour_and_rows_are_checked() -> None:
    assert torch.isneginf(torch.diagonal(without_self(torch.zeros(3, 3)))).all()
    assert on_sphere(torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]
    torch.testing.assert_close(on_sphere(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))
    with pytest.raises(ValueError, match="`bandwidth` must be above 0, got 0"):
        positive(0)
    with pytest.raises(ValueError, match=r"`rows` must be \(n, d\) with n >= 2, got \(1, 3\)"):
        require_rows(torch.zeros(1, 3), least=2, name="rows")


def test_one_process_gathers_its_own_rows() -> None:
    rows = torch.ones(2, 2, requires_grad=True)
    assert gathered(rows) is rows
