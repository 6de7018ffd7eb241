"""How a batch of cases is segmented, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["AS_USUAL", "BatchOptions", "Outcome", "ignore"]


@dataclass(frozen=True)
class Outcome:
    """How a batch ended.

    Attributes:
        n_done: Masks made now.
        n_skipped: Masks that were there, unchanged.
        failures: Case id to reason.
        n_left: Cases that were not begun, because the batch was told to stop.
        busy_share: Share of the time in which the network was not waiting for reading or writing.
        computed_by: Engine, number format and device; empty where several processes may have had different ones.
    """

    n_done: int
    n_skipped: int
    failures: dict[str, str]
    n_left: int = 0
    busy_share: float = field(default=1.0, compare=False)
    computed_by: str = field(default="", compare=False)

    @property
    def exit_code(self) -> int:
        """0 all, 2 some failed, 3 all failed, 130 stopped before the end."""
        if self.n_left:
            return 130
        if not self.failures:
            return 0
        return 2 if self.n_done + self.n_skipped else 3


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is segmented.

    Attributes:
        shard: Only names the ledger file; the cases are already this shard's.
        overwrite: Do again what is done.
        save_probabilities: Also write ``<name>_probability_<label>`` for every label.
        series_uid: For DICOM folders with several series: which one.
        force: Segment also what the model takes for another kind of image.
        save_regions: Also write ``<name>_region_<region>`` for every region of a model that decides regions.
    """

    shard: tuple[int, int] = (1, 1)
    overwrite: bool = False
    save_probabilities: bool = False
    series_uid: str | None = None
    force: bool = False
    save_regions: bool = False


AS_USUAL = BatchOptions()
"""Nothing special is wished."""


def ignore(*_: str) -> None:
    """Nobody listens."""
