"""One line per case that says what happened to it, so that a restart repeats exactly what is not done and unchanged."""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segsuite.files import hash_of_file, writing_to

__all__ = ["Ledger", "LedgerLine", "now", "read_ledger"]


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


class Ledger:
    """Append-only JSON lines. Several shards write one file each; reading merges all of them."""

    def __init__(self, folder: Path, *, shard: tuple[int, int] = (1, 1)) -> None:
        """Open, reading what is there.

        Args:
            folder: Where the masks are.
            shard: This process's part, counted from 1, of how many.
        """
        self.folder = folder
        number, count = shard
        self.path = folder / ("ledger.jsonl" if count == 1 else f"ledger-{number}of{count}.jsonl")
        self.lines = read_ledger(folder)

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

    def put_down(self, case: str, output: str, reason: str) -> None:
        """Write that a case failed in a process that can no longer say so.

        Args:
            case: Case id.
            output: Where its mask would be.
            reason: What is known.
        """
        self.append(LedgerLine(case, "failed", output, input_hash="", model_hash="", reason=reason, time=now()))

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
        self.lines[line.case] = line

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
    found: dict[str, LedgerLine] = {}
    for path in sorted(folder.glob("ledger*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as stream:
            for text in stream:
                line = _parse(text)
                if line is not None and (line.case not in found or found[line.case].time <= line.time):
                    found[line.case] = line
    return found


def now() -> str:
    """The time for a ledger line, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _parse(text: str) -> LedgerLine | None:
    try:
        content: dict[str, Any] = json.loads(text)
        return LedgerLine(**{**content, "notes": tuple(content.get("notes", ()))})
    except (ValueError, TypeError):
        return None


def _ends_with_newline(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return bool(stream.read(1) == b"\n")
