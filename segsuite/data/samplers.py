"""Which patch numbers an epoch holds, on which device: a function of the epoch, so that a restart goes on exactly."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

__all__ = ["EpochSampler"]


class EpochSampler(Sampler[int]):
    """Numbers ``epoch * length`` to ``(epoch + 1) * length`` of the whole run, dealt over the ranks."""

    def __init__(self, length: int, *, rank: int = 0, world_size: int = 1) -> None:
        """Set up.

        Args:
            length: Patches per epoch over all ranks.
            rank: This process.
            world_size: All processes.
        """
        self.length, self.rank, self.world_size = length, rank, world_size
        self.epoch = 0
        self.begun = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch; the trainer calls it before each one."""
        self.epoch = epoch

    def go_on_at(self, epoch: int, n_over: int) -> None:
        """Begin within an epoch; the ones after it are whole.

        Args:
            epoch: Which.
            n_over: Patches of this rank in it that are over.
        """
        self.epoch, self.begun = epoch, (epoch, n_over)

    def __iter__(self) -> Iterator[int]:
        """The numbers of this rank."""
        start = self.epoch * self.length
        n_over = self.begun[1] if self.epoch == self.begun[0] else 0
        return iter(range(start + self.rank + n_over * self.world_size, start + self.length, self.world_size))

    def __len__(self) -> int:
        """Patches of this rank per epoch."""
        return len(range(self.rank, self.length, self.world_size))
