"""On a CPU, parts of a batch at once, each on its share of the cores: these wait less for each other and keep to their caches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

__all__ = ["InStreams"]

LEAST_PART = 2
"""Windows of a part; oneDNN is slower with one at a time."""


class InStreams:
    """A network that splits what it is given over threads; the same numbers, but for the last digit."""

    def __init__(self, network: Callable[[Tensor], Tensor], *, batch_size: int) -> None:
        """Start the threads; their shares of the cores are those that torch may use now.

        Args:
            network: Batch to output, on the CPU; called from several threads at once.
            batch_size: Of the full batches. A smaller one is not split.
        """
        self.network, self.batch_size = network, batch_size
        n_cores = torch.get_num_threads()
        self.n_parts = max(1, min(n_cores, batch_size // LEAST_PART))
        if self.n_parts > 1:
            self._threads = ThreadPoolExecutor(self.n_parts, thread_name_prefix="stream")
            together = threading.Barrier(self.n_parts)
            list(self._threads.map(lambda _: _take_share(n_cores // self.n_parts, together), range(self.n_parts)))
            torch.set_num_threads(n_cores)  # or threads that come later would take a part's share

    def __call__(self, batch: Tensor) -> Tensor:
        """(batch, channels, ...) to the network's output."""
        if self.n_parts == 1 or len(batch) != self.batch_size or len(batch) % self.n_parts:
            return self.network(batch)
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        return torch.cat(list(self._threads.map(lambda part: self._run(part, kind), batch.chunk(self.n_parts))))

    @torch.inference_mode()
    def _run(self, part: Tensor, kind: torch.dtype | None) -> Tensor:
        """Number formats are a matter of each thread."""
        with torch.autocast("cpu", dtype=kind, enabled=kind is not None):
            return self.network(part)


def _take_share(n_cores: int, together: threading.Barrier) -> None:
    torch.set_num_threads(n_cores)
    torch.get_num_threads()  # takes effect in this thread; otherwise at its first convolution, by the number that holds then
    together.wait()
