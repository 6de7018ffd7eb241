"""Parts of a batch at once: the same numbers, by the threads that they should be."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from segsuite.engines.streams import InStreams


@pytest.fixture(autouse=True)
def four_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Seen:
    """Keeps how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, int, bool]] = []
        self.network = nn.Conv3d(1, 3, 3, padding=1, device="cpu")
        self.lock = threading.Lock()

    def __call__(self, batch: Tensor) -> Tensor:
        call = (
            len(batch),
            threading.current_thread().name.split("_")[0],
            torch.get_num_threads(),
            torch.is_autocast_enabled("cpu"),
        )
        with self.lock:
            self.calls.append(call)
        result: Tensor = self.network(batch)
        return result


@torch.inference_mode()
def test_a_full_batch_is_split_and_gives_the_same() -> None:
    seen = Seen()
    image = torch.randn(4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    found = InStreams(seen, batch_size=4)(image)
    torch.testing.assert_close(found, seen.network(image))
    assert seen.calls == [(2, "stream", 2, False)] * 2


@torch.inference_mode()
@pytest.mark.parametrize("n", [1, 3])
def test_a_smaller_batch_has_all_cores(n: int) -> None:
    seen = Seen()
    InStreams(seen, batch_size=4)(torch.zeros(n, 1, 4, 4, 4))
    assert seen.calls == [(n, threading.current_thread().name.split("_")[0], 4, False)]


def test_without_cores_or_windows_to_share_nothing_is_split() -> None:
    assert InStreams(Seen(), batch_size=2).n_parts == 1
    torch.set_num_threads(1)
    assert InStreams(Seen(), batch_size=8).n_parts == 1


@torch.inference_mode()
def test_the_number_format_goes_along() -> None:
    seen = Seen()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = InStreams(seen, batch_size=4)(torch.zeros(4, 1, 4, 4, 4))
    assert found.dtype == torch.bfloat16
    assert [call[3] for call in seen.calls] == [True, True]


def test_threads_that_come_later_have_all_cores() -> None:
    InStreams(Seen(), batch_size=4)
    numbers: list[int] = []
    later = threading.Thread(target=lambda: numbers.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert numbers == [4]
    assert torch.get_num_threads() == 4


def test_an_error_in_a_part_is_raised() -> None:
    def broken(_: Tensor) -> Tensor:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        InStreams(broken, batch_size=4)(torch.zeros(4, 1, 4, 4, 4))
