from __future__ import annotations

import pytest
import torch

from segsuite.engines.devices import (
    choose_device,
    choose_precision,
    devices_of,
    has_fast_bfloat16,
    in_fast_layout,
    set_threads,
)
from segsuite.errors import SettingsError


def test_auto_takes_what_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(SettingsError, match=f"--device must .*got `{name}`"):
        choose_device(name)


def test_precision_follows_the_hardware() -> None:
    cpu = torch.device("cpu")
    assert (choose_precision("auto", cpu) == torch.bfloat16) == has_fast_bfloat16(cpu)
    assert choose_precision("float32", cpu) == torch.float32
    with pytest.raises(SettingsError, match="got `float16`"):
        choose_precision("float16", cpu)


def test_layout_changes_no_result() -> None:
    for network, shape in ((torch.nn.Conv3d(2, 3, 3), (1, 2, 5, 5, 5)), (torch.nn.Conv2d(2, 3, 3), (1, 2, 5, 5))):
        image = torch.randn(shape)
        before = network(image)
        torch.testing.assert_close(in_fast_layout(network)(image), before, atol=1e-5, rtol=1e-5)


def test_threads_are_set_or_left() -> None:
    before = torch.get_num_threads()
    set_threads(1)
    assert torch.get_num_threads() == 1
    set_threads(before)
    set_threads(None)
    assert torch.get_num_threads() == before


def test_trainings_side_by_side_have_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices_of("auto") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices_of("cuda:1") == ["cuda:1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices_of("auto") == ["auto"]
