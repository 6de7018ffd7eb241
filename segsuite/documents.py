"""Text, JSON and tables that people bring: any usual encoding, bounded size and depth, and one sentence for what is wrong.

Everything that reads such a file goes through here, so that a BOM, latin-1, a German Excel or 100,000 brackets are met once.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segsuite.errors import Advice, InputError

__all__ = ["Table", "is_missing", "read_json", "read_table", "read_text"]

MOST_BYTES = 1 << 28
"""A manifest of a million cases has about as many; what is longer was no text that a person wrote."""
MOST_DEPTH = 64
SEPARATORS = ("\t", ";", ",", "|")
MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "<na>"})
"""What spreadsheets, pandas, R and BIDS write where nothing is known, in lower case."""
BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class Table:
    """What a table holds, as text.

    Attributes:
        path: Its file.
        columns: Names in the header, without blanks around them.
        rows: Column to cell, without blanks around it; empty where the row is shorter. Blank rows are left out.
        lines: The line of the file that each row begins in, for messages.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    lines: list[int]


def is_missing(cell: str) -> bool:
    """Whether a cell says that nothing is known: empty, ``nan``, ``n/a``, ``NA``, ``null``."""
    return cell.strip().lower() in MISSING


def read_text(path: Path, *, error: type[InputError] = InputError, most_bytes: int = MOST_BYTES) -> str:
    """A text file in UTF-8, UTF-16 with its mark, or (with a note) Windows-1252, of which latin-1 is a part.

    Args:
        path: The file.
        error: What to raise.
        most_bytes: What is longer is refused without being read.

    Returns:
        The text without byte-order mark.

    Raises:
        FileNotFoundError: Nothing is there.
        InputError: Of the class ``error``: no regular file, no permission, too long, or no text.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} must be a file, but nothing is there. Check the path.")
    if not path.is_file():
        raise error(f"{path} must be a file, got {'a folder' if path.is_dir() else 'a device or pipe'}.")
    try:
        with path.open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError as problem:
        raise error(f"{path} must be readable, got: {problem.strerror or problem}. Check its permissions.") from problem
    if len(content) > most_bytes:
        raise error(f"{path} must be a text of at most {most_bytes:,} bytes, got more ({path.stat().st_size:,}).")
    return _decoded(content, path, error)


def _decoded(content: bytes, path: Path, error: type[InputError]) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as problem:
        if encoding != "utf-8" or 0 in content:
            raise error(f"{path} must be a text file, got bytes that are none. Save it as UTF-8.") from problem
        text = content.decode("cp1252", errors="replace")
        line = content[: problem.start].count(b"\n") + 1
        shown = text.splitlines()[line - 1].strip()[:60]
        warnings.warn(
            Advice(f"{path} is not UTF-8; it was read as Windows-1252 (latin-1), for example line {line}: `{shown}`"),
            stacklevel=1,
        )
    if "\0" in text:
        raise error(f"{path} must be a text file, got bytes that are none (a spreadsheet or image?). Save it as text, UTF-8.")
    return text


def read_json(path: Path, *, kind: type = dict, error: type[InputError] = InputError, most_bytes: int = MOST_BYTES) -> Any:
    """A JSON file; ``NaN`` in it, which is no JSON but what many programs write, is read as ``null``.

    Args:
        path: The file.
        kind: ``dict`` or ``list``: what it must hold.
        error: What to raise.
        most_bytes: As in ``read_text``.

    Returns:
        The content.

    Raises:
        FileNotFoundError: Nothing is there.
        InputError: Of the class ``error``: as ``read_text``; no JSON, a key twice, infinite or absurdly long numbers, nested
            too deep, or another kind.
    """
    text = read_text(path, error=error, most_bytes=most_bytes)
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_constant)
        too_deep = _is_deeper(content, MOST_DEPTH)
    except RecursionError:
        too_deep = True
    except json.JSONDecodeError as problem:
        where = f"{problem.msg} (line {problem.lineno}, column {problem.colno})" if text.strip() else "an empty file"
        raise error(f"{path} must be JSON, got: {where}.") from problem
    except ValueError as problem:
        raise error(f"{path} must be JSON, got: {problem}.") from problem
    if too_deep:
        raise error(f"{path} must be nested at most {MOST_DEPTH} deep, got more.")
    if not isinstance(content, kind):
        names = {"dict": "an object {...}", "list": "a list [...]"}
        wanted, found = (names.get(name, name) for name in (kind.__name__, type(content).__name__))
        raise error(f"{path} must hold {wanted}, got {found}.")
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise ValueError(f"the key `{twice[0]}` twice in one object, of which only one can hold")
    return content


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"the number {name}, which is no JSON")


def _is_deeper(content: Any, most: int) -> bool:
    level = [content]
    for _ in range(most):
        level = [
            part
            for item in level
            if isinstance(item, dict | list)
            for part in (item.values() if isinstance(item, dict) else item)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def read_table(path: Path, *, error: type[InputError] = InputError) -> Table:
    """A CSV or TSV as spreadsheets write it: ``,``, ``;``, tab or ``|``, found in the header; blank rows and trailing commas.

    Args:
        path: The file.
        error: What to raise.

    Returns:
        Header and rows.

    Raises:
        FileNotFoundError: Nothing is there.
        InputError: Of the class ``error``: as ``read_text``; no header, a column twice, a row with more cells than columns, or
            a quote that is never closed.
    """
    text, separator, offset = _without_first_lines(read_text(path, error=error))
    records = _records(text, separator, path, error)
    columns = _header([name.strip() for name in next(records, (0, []))[1]], path, error)
    rows, lines = [], []
    for line, record in records:
        cells = [cell.strip() for cell in record] + [""] * len(columns)
        # a first column without a name holds the row numbers of pandas
        if lost := [
            cell for name, cell in zip(["index", *columns[1:], *[""] * len(record)], cells, strict=False) if cell and not name
        ]:
            raise error(
                f"{path} line {line + offset} must have cells below the columns {[name for name in columns if name]} only, got "
                f"another: `{lost[0]}`. Name its column, or put cells that hold the separator into quotes."
            )
        if any(cells):
            rows.append({name: cell for name, cell in zip(columns, cells, strict=False) if name})
            lines.append(line + offset)
    return Table(path, tuple(name for name in columns if name), rows, lines)


def _without_first_lines(text: str) -> tuple[str, str, int]:
    """The text from its header on, the separator, and how many lines stood before."""
    rest = text.lstrip("\r\n")
    offset = text[: len(text) - len(rest)].count("\n")
    first, _, below = rest.partition("\n")
    if first.lower().startswith("sep="):  # Excel's own line
        return below, first.rstrip("\r")[4:5] or ",", offset + 1
    return rest, _separator(first), offset


def _header(columns: list[str], path: Path, error: type[InputError]) -> list[str]:
    while columns and not columns[-1]:
        columns.pop()
    if not columns:
        raise error(f"{path} must have a header with the names of its columns, got an empty file.")
    if twice := [name for name, count in Counter(columns).items() if count > 1 and name]:
        raise error(f"{path} must name each column once, got `{twice[0]}` twice in {columns}.")
    return columns


def _separator(header: str) -> str:
    """The one that the header has most of, outside quotes."""
    bare = "".join(part for number, part in enumerate(header.split('"')) if number % 2 == 0)
    return max(SEPARATORS, key=lambda mark: (bare.count(mark), -SEPARATORS.index(mark)))


def _records(text: str, separator: str, path: Path, error: type[InputError]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            raise error(f"{path} line {line} must be a row of a table, got: {problem}. Check its quotes.") from problem
        yield line, record
