from __future__ import annotations

import numpy as np
import pytest

from pipelines.fewshot.bank import Bank, is_novel
from pipelines.fewshot.kernels import SupportStatistics
from pipelines.fewshot.rules import BaseKernels, Rule
from segsuite.errors import ModelError, SettingsError

TAKEN = {"background": 0, "liver": 1, "spleen": 4}
RULE = Rule()
BASE = BaseKernels(np.eye(4)[:3])


def support(seed: int, side: float = 1.0) -> SupportStatistics:
    draw = np.random.default_rng(seed)
    shift = np.array([side, 0, 0, 0])
    inside, outside = draw.normal(size=(40, 4)) + shift, draw.normal(size=(90, 4)) - shift
    parts = (inside, outside)
    return SupportStatistics(
        np.array([40.0, 90.0]),
        np.stack([part.sum(0) for part in parts]),
        np.stack([part.T @ part for part in parts]),
        np.zeros((3, 4)),
        inside.astype(np.float16),
        outside.astype(np.float16),
        f"{seed:064x}",
    )


def kernels(bank: Bank) -> list[np.ndarray]:
    return [np.append(kernel.weights, kernel.threshold) for kernel in bank.kernels(RULE, BASE)]


def test_registering_another_leaves_the_first_as_it_is_in_any_order() -> None:
    """I2 and I3, bit by bit."""
    a = Bank().add("kidney", 2, [support(0)], taken=TAKEN)
    ab = a.add("aorta", 3, [support(1, -1.0)], taken=TAKEN)
    ba = Bank().add("aorta", 3, [support(1, -1.0)], taken=TAKEN).add("kidney", 2, [support(0)], taken=TAKEN)
    assert np.array_equal(kernels(a)[0], kernels(ab)[0])
    assert np.array_equal(kernels(ab)[0], kernels(ba)[1])
    assert np.array_equal(kernels(ab)[1], kernels(ba)[0])


def test_shots_can_come_later_and_twice() -> None:
    """I6 and I14: one and then four is five at once; a support that is there already changes nothing."""
    shots = [support(seed) for seed in range(5)]
    at_once = Bank().add("kidney", 2, shots, taken=TAKEN)
    later = Bank().add("kidney", 2, shots[3:4], taken=TAKEN).add("kidney", 2, [*shots[:3], shots[4]], taken=TAKEN)
    again = later.add("kidney", 2, shots[:2], taken=TAKEN)
    for bank in (later, again):
        assert np.array_equal(kernels(at_once)[0], kernels(bank)[0])
        assert bank.describe() == at_once.describe()


def test_single_step_equals_many_steps() -> None:
    """I14."""
    both = Bank().add("a", 2, [support(0)], taken=TAKEN).add("b", 3, [support(1)], taken=TAKEN)
    again = Bank().add("a", 2, [support(0)], taken=TAKEN)
    again = again.add("b", 3, [support(1)], taken=TAKEN)
    assert all(np.array_equal(x, y) for x, y in zip(kernels(both), kernels(again), strict=True))
    assert [entry["session"] for entry in both.describe()] == [1, 2]


def test_forgetting_restores_the_bank() -> None:
    """I11."""
    before = Bank().add("kidney", 2, [support(0)], taken=TAKEN)
    after = before.add("aorta", 3, [support(1)], taken=TAKEN).without("aorta")
    assert after.describe() == before.describe()
    assert {name: t.tolist() for name, t in after.tensors().items()} == {n: t.tolist() for n, t in before.tensors().items()}
    with pytest.raises(SettingsError, match="must be a registered structure"):
        after.without("aorta")


def test_failed_registration_leaves_the_bank() -> None:
    bank = Bank().add("kidney", 2, [support(0)], taken=TAKEN)
    for name, label, said in (
        ("liver", 9, "must be a new name"),
        ("aorta", 4, r"got 4 \(spleen\)"),
        ("aorta", 2, r"got 2 \(kidney\)"),
        ("aorta", 0, r"got 0 \("),
        ("aorta", 255, "reserved"),
        ("kidney", 7, "has label 2, got 7"),
    ):
        with pytest.raises(SettingsError, match=said):
            bank.add(name, label, [support(1)], taken=TAKEN)
    with pytest.raises(ModelError, match="at least one support"):
        bank.add("aorta", 3, [], taken=TAKEN)
    assert bank.names == ("kidney",)


def test_saved_and_loaded() -> None:
    """I11, I13: per structure and shot the memory is that of its statistics."""
    bank = Bank().add("kidney", 2, [support(0), support(1)], taken=TAKEN)
    tensors = bank.tensors()
    assert all(is_novel(name) for name in tensors)
    assert len(tensors) == 12
    again = Bank.load(bank.describe(), {**tensors, "encoder.weight": tensors[next(iter(tensors))]})
    assert np.array_equal(kernels(bank)[0], kernels(again)[0])
    tensors.pop(next(iter(tensors)))
    with pytest.raises(ModelError, match="must hold what `kidney` was made from"):
        Bank.load(bank.describe(), tensors)


def test_leave_one_out_needs_two_shots_and_sees_a_bad_one() -> None:
    good = Bank().add("kidney", 2, [support(seed, 3.0) for seed in range(4)], taken=TAKEN)["kidney"]
    assert min(good.leave_one_out(RULE, BASE)) > 0.9
    inverted = Bank().add("kidney", 2, [*good.supports, support(9, -3.0)], taken=TAKEN)["kidney"]
    assert min(inverted.leave_one_out(RULE, BASE)) < 0.3
    assert Bank().add("x", 2, [support(0)], taken=TAKEN)["x"].leave_one_out(RULE, BASE) == []
