"""Whose an output is: what another image's mask is, or what somebody put there, is never replaced unasked.

The ledger says which image each mask was made of. Between the moment at which a mask appears and that of its line stands a
claim, a small hidden file: what a process that died has left is known by it, and two processes that write for images of one
name at the same time see each other.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segsuite.engines.input_case import InputCase
from segsuite.engines.ledger import Ledger
from segsuite.engines.sources import is_mark_of, mark_of, source_of
from segsuite.errors import OutputError
from segsuite.files import writing_to

__all__ = ["Claims"]

SECONDS_TO_WRITE = 600
"""A claim for another image that is older belongs to a process that died."""


@dataclass(frozen=True)
class _Held:
    """A claim that is ours now.

    Attributes:
        was_claimed: For the same image before, by a process that died.
        was_there: Whether the output was there before.
    """

    was_claimed: bool
    was_there: bool


class Claims:
    """Who may write which output of a folder."""

    def __init__(self, ledger: Ledger, *, overwrite: bool) -> None:
        """Set up.

        Args:
            ledger: Of the folder.
            overwrite: Whether all may be replaced.
        """
        self.ledger, self.overwrite = ledger, overwrite
        self._held: dict[str, _Held] = {}

    def require_own(self, case: InputCase, output: str, *, input_hash: str) -> None:
        """Check that a mask may be written: nothing is there, or what an earlier run made of this image.

        Args:
            case: Whose it would be.
            output: Path relative to the ledger's folder.
            input_hash: Of the case's images.

        Raises:
            OutputError: Something else is there.
        """
        target = self.ledger.folder / output
        if self.overwrite or not os.path.lexists(target):
            return
        if self.is_unfinished(case, output):
            return
        line = self.ledger.owner(output)
        if line is None:
            self.ledger.read_again()  # another process may have made it since
            line = self.ledger.owner(output)
        if line is None:
            raise OutputError(
                f"{target} must not be there yet, got {'a folder' if target.is_dir() else 'a file'} that no line of the ledger "
                f"beside it speaks of. Choose another --out, or replace it with --overwrite."
            )
        if self.ledger.is_of_another(line, case, input_hash=input_hash):
            raise OutputError(
                f"{target} must be the mask of {_named(case)}, got that of another image of this name, made at {line.time[:19]} "
                "UTC. Choose another --out, or give both images to one command: each then gets its folder's name in front. "
                "--overwrite replaces it."
            )

    def require_free(self, case: InputCase, output: str, place: str) -> None:
        """Check that what goes beside a mask may be written.

        Args:
            case: Whose it would be.
            output: Of its mask, relative to the ledger's folder.
            place: Of the other file.

        Raises:
            OutputError: It is another case's mask, or a file that was there before this case's mask.
        """
        target = self.ledger.folder / place
        if self.overwrite or not os.path.lexists(target):
            return
        other = self.ledger.owner(place)
        if other is not None and other.case != case.case_id:
            raise OutputError(f"{target} must not be there yet, got the mask of case {other.case}. Rename one of the images.")
        if other is None and self.ledger.owner(output) is None and not self._is_claimed_for(case, output):
            raise OutputError(
                f"{target} must not be there yet, got a file that no line of the ledger beside it speaks of. "
                "Choose another --out, or replace it with --overwrite."
            )

    def take(self, case: InputCase, output: str) -> None:
        """Say that a case's outputs are about to be written.

        Args:
            case: Whose.
            output: Of its mask, relative to the ledger's folder.

        Raises:
            OutputError: Another process does so for another image, or the folder cannot be written.
        """
        path = self._path(output)
        held = _Held(self._is_claimed_for(case, output), os.path.lexists(self.ledger.folder / output))
        with writing_to(path):
            while not held.was_claimed:
                try:
                    with path.open("x", encoding="utf-8") as stream:
                        stream.write(mark_of(source_of(case)))
                    break
                except FileExistsError:
                    self._require_stale(case, output)
                path.unlink(missing_ok=True)
        self._held[output] = held

    def _require_stale(self, case: InputCase, output: str) -> None:
        if not self.overwrite and _age_s(self._path(output)) < SECONDS_TO_WRITE:
            raise OutputError(
                f"{self.ledger.folder / output} must be written by one process, but another one writes it now for another image "
                f"of this name than {_named(case)}. Choose another --out."
            )

    def give_up(self, output: str, *, written: bool) -> None:
        """A claim has served: the ledger speaks now, or there is nothing new to speak of. Nothing happens if there is none.

        Args:
            output: Of the mask, relative to the ledger's folder.
            written: Whether the ledger has a line of it.
        """
        held = self._held.pop(output, None)
        if held is None:
            return
        is_of_use = not written and os.path.lexists(self.ledger.folder / output) and (held.was_claimed or not held.was_there)
        if not is_of_use:
            with suppress(OSError):
                self._path(output).unlink()

    def tidy(self, case: InputCase) -> None:
        """Take away the claim of a process that died after it had written the line of a case that is done.

        Args:
            case: One that is done.
        """
        output = self.ledger.lines[case.case_id].output
        with suppress(OSError):
            if self._is_claimed_for(case, output):
                self._path(output).unlink()

    def is_unfinished(self, case: InputCase, output: str) -> bool:
        """Whether a mask that is there was left by a process that died before it could write the line.

        Args:
            case: Whose it would be.
            output: Of its mask, relative to the ledger's folder.
        """
        return self.ledger.owner(output) is None and self._is_claimed_for(case, output)

    def _is_claimed_for(self, case: InputCase, output: str) -> bool:
        """Also by a process that died before it had written whom it claims for."""
        if output in self._held:
            return self._held[output].was_claimed
        try:
            mark = self._path(output).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return False
        return not mark or is_mark_of(mark, source_of(case))

    def _path(self, output: str) -> Path:
        return self.ledger.folder / f".{hashlib.sha256(output.encode(errors='surrogatepass')).hexdigest()[:16]}.claim"


def _named(case: InputCase) -> str:
    return source_of(case).splitlines()[0]


def _age_s(path: Path) -> float:
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return float("inf")
