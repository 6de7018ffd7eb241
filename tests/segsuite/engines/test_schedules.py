from __future__ import annotations

import math

import pytest
import torch

from segsuite.engines.schedules import WeightAverage, learning_rate_factor, make_optimiser


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_learning_rate_falls_from_one_to_zero(schedule: str) -> None:
    values = [learning_rate_factor(t / 20, schedule=schedule) for t in range(21)]
    assert values[0] == pytest.approx(1)
    assert values[-1] == pytest.approx(0, abs=1e-6)
    assert values == sorted(values, reverse=True)


def test_learning_rate_worked_by_hand() -> None:
    assert learning_rate_factor(0.5, schedule="poly") == pytest.approx(0.5**0.9)
    assert learning_rate_factor(1 / 3, schedule="cosine") == pytest.approx((1 + math.cos(math.pi / 3)) / 2)
    assert learning_rate_factor(0.05, schedule="poly", warmup=0.1) == pytest.approx(0.5)


def test_average_is_the_formula() -> None:
    """w <- d w + (1 - d) w_t with d = min(decay, (1 + n) / (10 + n)), by hand; the first update copies."""
    network = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(network, decay=0.5)
    expected = 0.0
    for n, value in enumerate((4.0, 8.0, 2.0, 6.0)):
        network.weight.data.fill_(value)
        average.update_parameters(network)
        d = min(0.5, (1 + n) / (10 + n))
        expected = value if n == 0 else d * expected + (1 - d) * value
    assert float(average.module.weight.detach()) == pytest.approx(expected)


def test_average_goes_on_from_a_checkpoint() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    unbroken, broken = WeightAverage(network, decay=0.9), WeightAverage(network, decay=0.9)
    for step in range(6):
        if step == 3:
            saved = broken.state_dict()
            broken = WeightAverage(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)), decay=0.9)
            broken.load_state_dict(saved)
        network[0].weight.data.fill_(step)
        network[1].running_mean.fill_(step)
        for average in (unbroken, broken):
            average.update_parameters(network)
    torch.testing.assert_close(broken.state_dict(), unbroken.state_dict())
    assert int(unbroken.n_averaged) == 6
    assert unbroken.module[1].running_mean[0] == 5


@pytest.mark.parametrize(("kind", "family"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_optimiser_leaves_out_what_is_held_fixed(kind: str, family: type) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    net[0].requires_grad_(False)
    optimiser = make_optimiser(net.parameters(), kind=kind, learning_rate=0.1, weight_decay=0.01)
    assert type(optimiser) is family
    assert len(optimiser.param_groups[0]["params"]) == 2


def test_constant_schedule_only_warms_up() -> None:
    assert learning_rate_factor(0.9, schedule="constant", warmup=0.1) == 1
    assert learning_rate_factor(0.05, schedule="constant", warmup=0.1) == 0.5
