"""What has arrived in a folder and is complete: files that have not changed between two looks and for some seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from segsuite.engines.input_case import InputCase
from segsuite.failures import Step, reason_of
from segsuite.volumes.image_files import files_of_image

__all__ = ["Inbox"]

State = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of every file of a case."""


class Inbox:
    """Hands out each case once in each state; a case whose files change later is handed out again."""

    def __init__(self, *, settle_s: float) -> None:
        """Set up.

        Args:
            settle_s: A file that changed less than so many seconds ago may still be being written.
        """
        self.settle_s = settle_s
        self._before: dict[str, State] = {}
        self._handed_out: dict[str, State] = {}

    def ready(self, cases: Sequence[InputCase]) -> list[InputCase]:
        """Look once.

        Args:
            cases: All that lie in the folder now.

        Returns:
            Those that are complete and were not handed out in this state.
        """
        states = {case.case_id: _state(case) for case in cases}
        newest = (time.time() - self.settle_s) * 1e9
        found = [
            case
            for case in cases
            if (state := states[case.case_id])
            and state == self._before.get(case.case_id)
            and state != self._handed_out.get(case.case_id)
            and max(changed for _, _, changed in state) <= newest
        ]
        self._before = states
        self._handed_out |= {case.case_id: states[case.case_id] for case in found}
        return found


def _state(case: InputCase) -> State:
    """Empty where a file went away between listing and looking; what cannot be looked at is handed out to fail for its reason."""
    try:
        files = [
            file for path in case.images for file in (sorted(path.iterdir()) if path.is_dir() else files_of_image(path) or [path])
        ]
        return tuple((str(file), status.st_size, status.st_mtime_ns) for file in files if (status := Path(file).stat()))
    except FileNotFoundError:
        return ()
    except Exception as error:
        return ((reason_of(error, Step.LOOKING), 0, 0),)
