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

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch; the trainer calls it before each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """The numbers of this rank."""
        start = self.epoch * self.length
        return iter(range(start + self.rank, start + self.length, self.world_size))

    def __len__(self) -> int:
        """Patches of this rank per epoch."""
        return len(range(self.rank, self.length, self.world_size))
