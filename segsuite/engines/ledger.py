"""One line per case that says what happened to it, so that a restart repeats exactly what is not done and unchanged.

The lines also say which image each output was made of, so that images of one name never take each other's.
"""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segsuite.engines.input_case import InputCase
from segsuite.engines.sources import is_mark_of, mark_of, source_of
from segsuite.files import hash_of_file, writing_to

__all__ = ["LEDGERS", "Ledger", "LedgerLine", "now", "read_ledger"]

LEDGERS = "ledger*.jsonl"
"""One file for each shard that wrote into a folder."""


@dataclass(frozen=True)
class LedgerLine:
    """What happened to one case.

    Attributes:
        case: Case id.
        status: ``done`` or ``failed``.
        output: The mask's path relative to the ledger's folder.
        input_hash: Of the image files' content.
        model_hash: Of the model and of everything that changes a mask.
        output_hash: Of the mask file; empty if failed.
        reason: Why it failed; empty if done.
        seconds: Wall time.
        peak_memory_mb: Highest resident memory of the process so far.
        time: When it ended, UTC.
        notes: Facts worth showing, for example ``empty mask``.
        computed_by: Engine, number format and device, for example ``openvino/int8 on cpu``.
        source: Mark of where the image was, see ``sources.mark_of``; empty in ledgers of earlier versions.
    """

    case: str
    status: str
    output: str
    input_hash: str
    model_hash: str
    output_hash: str = ""
    reason: str = ""
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    time: str = ""
    notes: tuple[str, ...] = ()
    computed_by: str = ""
    source: str = ""


class Ledger:
    """Append-only JSON lines. Several shards write one file each; reading merges all of them."""

    def __init__(self, folder: Path, *, shard: tuple[int, int] = (1, 1)) -> None:
        """Open, reading what is there.

        Args:
            folder: Where the masks are.
            shard: This process's part, counted from 1, of how many.

        Raises:
            OutputError: What is there cannot be read.
        """
        self.folder = folder
        number, count = shard
        self.path = folder / ("ledger.jsonl" if count == 1 else f"ledger-{number}of{count}.jsonl")
        self.lines: dict[str, LedgerLine] = {}
        self._owners: dict[str, LedgerLine] = {}
        self.read_again()

    def read_again(self) -> None:
        """See also what other processes have written since."""
        for line in sorted(_all_lines(self.folder), key=lambda line: line.time):
            self._take(line)

    def owner(self, output: str) -> LedgerLine | None:
        """The line of the image of which an output was last made.

        Args:
            output: Path relative to the ledger's folder.
        """
        return self._owners.get(output)

    def is_of_another(self, line: LedgerLine, case: InputCase, *, input_hash: str) -> bool:
        """Whether a line is of another image than a case, although of its name.

        Args:
            line: Of this ledger.
            case: As it is now.
            input_hash: Of its images as they are now; empty: not known.

        Returns:
            True if both place and content differ; False where an earlier version did not write down the place.
        """
        return bool(line.source) and line.input_hash != (input_hash or None) and not is_mark_of(line.source, source_of(case))

    def is_done(self, case: str, *, input_hash: str, model_hash: str) -> bool:
        """Whether a case needs no work: done with this input and model, and its mask is still what was written.

        Args:
            case: Case id.
            input_hash: Of the image as it is now.
            model_hash: Of the model as it is now.

        Returns:
            True if it can be skipped.
        """
        line = self.lines.get(case)
        if line is None or line.status != "done" or (line.input_hash, line.model_hash) != (input_hash, model_hash):
            return False
        mask = self.folder / line.output
        return mask.is_file() and hash_of_file(mask) == line.output_hash

    def put_down(self, case: InputCase, reason: str, *, line: LedgerLine | None = None) -> None:
        """Write that a case failed, also from a process that has not seen it fail.

        Args:
            case: Which.
            reason: What is known.
            line: What else is known.
        """
        if line is None:
            line = LedgerLine(case.case_id, "failed", case.output, input_hash="", model_hash="", source=mark_of(source_of(case)))
        name = self._name_of(case, line.input_hash)
        self.append(replace(line, case=name, status="failed", reason=reason, output_hash="", time=now()))

    def _name_of(self, case: InputCase, input_hash: str) -> str:
        """The case's id, after its parent folders where that is the id of another image whose mask is there."""
        folders, name = list(Path(source_of(case).splitlines()[0]).parts[1:-1]), case.case_id
        while folders:
            line = self.lines.get(name)
            if line is None or line.status != "done" or not self.is_of_another(line, case, input_hash=input_hash):
                break
            name = f"{folders.pop()}/{name}"
        return name

    def append(self, line: LedgerLine) -> None:
        """Write one line through to the disk.

        Args:
            line: What happened.

        Raises:
            OutputError: The file cannot be written.
        """
        with writing_to(self.path), self.path.open("ab+") as stream:
            if stream.tell() and not _ends_with_newline(stream):
                stream.write(b"\n")  # a kill cut the last line: keep the next one readable
            stream.write(json.dumps(asdict(line)).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._take(line)

    def _take(self, line: LedgerLine) -> None:
        self.lines[line.case] = line
        if line.status == "done":
            self._owners[line.output] = line

    def counts(self) -> Counter[str]:
        """How many cases have each status."""
        return Counter(line.status for line in self.lines.values())


def read_ledger(folder: Path) -> dict[str, LedgerLine]:
    """The last line of every case, over all shards; a line that a kill cut short is passed over.

    Args:
        folder: Where the masks are.

    Returns:
        Case id to line; empty if there is no ledger.
    """
    return {line.case: line for line in sorted(_all_lines(folder), key=lambda line: line.time)}


def now() -> str:
    """The time for a ledger line, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _all_lines(folder: Path) -> Iterator[LedgerLine]:
    for path in sorted(folder.glob(LEDGERS)):
        with writing_to(path), path.open(encoding="utf-8", errors="replace") as stream:
            for text in stream:
                line = _parse(text)
                if line is not None:
                    yield line


def _parse(text: str) -> LedgerLine | None:
    try:
        content: dict[str, Any] = json.loads(text)
        line = LedgerLine(**{**content, "notes": tuple(content.get("notes", ()))})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    texts = (line.case, line.status, line.output, line.input_hash, line.output_hash, line.reason, line.time, line.source)
    return line if all(isinstance(text, str) for text in texts) else None


def _ends_with_newline(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return bool(stream.read(1) == b"\n")
