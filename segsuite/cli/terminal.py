"""What people see: problems, progress and tables on standard error; machine output alone on standard output."""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from segsuite.errors import Advice

__all__ = [
    "CaseProgress",
    "case_progress",
    "end_on_sigterm",
    "print_json",
    "print_problem",
    "print_scores",
    "print_table",
    "say",
    "set_verbosity",
    "stop_on_sigterm",
    "training_progress",
]

SECONDS_BETWEEN_LINES = 5.0
_console = Console(stderr=True, highlight=False)


class _Voice:
    quiet = False


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """How much is said.

    Args:
        quiet: Problems only.
        verbose: Also the log of libraries.
    """
    _Voice.quiet = quiet
    warnings.showwarning = _show_warning
    logging.basicConfig(stream=sys.stderr)
    logging.getLogger().setLevel(logging.INFO if verbose else logging.ERROR)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None
) -> None:
    """Our own as a sentence; those of libraries as Python shows them."""
    if issubclass(category, Advice):
        say(f"note: {message}")
    else:
        (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))


def say(text: str) -> None:
    """One line on standard error, unless quiet."""
    if not _Voice.quiet:
        _console.print(text, markup=False, soft_wrap=True)


def print_problem(text: str) -> None:
    """An error, also when quiet."""
    _console.print(f"segsuite: {text}", markup=False, style="bold red" if _console.is_terminal else "", soft_wrap=True)


def print_json(content: Any) -> None:
    """Machine output on standard output."""
    text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # file names need not be text
        text = json.dumps(_plain(content), indent=1, allow_nan=False)
    sys.stdout.write(text + "\n")


def _plain(content: Any) -> Any:
    """The same with ``null`` for what is not a number: JSON has no NaN."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """A table on standard error, unless quiet."""
    if _Voice.quiet:
        return
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    width = None if _console.is_terminal else 200
    Console(stderr=True, width=width, highlight=False).print(table)


class CaseProgress:
    """Progress over cases: a bar in a terminal, plain lines elsewhere; always with the failures so far."""

    def __init__(self, doing: str, bar: Progress | None) -> None:
        """Set up.

        Args:
            doing: What is done to each case.
            bar: The bar, or ``None`` where there is no terminal.
        """
        self.doing, self.bar = doing, bar
        self.task = None if bar is None else bar.add_task(doing, total=None, failed="")
        self.n_total, self.n_seen, self.n_failed = 0, 0, 0
        self.started = self.last_line = time.monotonic()

    def start(self, n_total: int) -> None:
        """Tell how many cases there are."""
        self.n_total = n_total
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, total=n_total)

    def case(self, case_id: str, result: str = "done") -> None:
        """One case is over.

        Args:
            case_id: Which.
            result: ``done``, ``skipped`` or why it failed.
        """
        self.n_seen += 1
        case_id = "".join(letter if letter.isprintable() else "?" for letter in case_id)  # no terminal obeys a file's name
        if result not in ("done", "skipped"):
            self.n_failed += 1
            print_problem(f"case {case_id} failed: {result}")
        if self.bar is not None and self.task is not None:
            failed = f"{self.n_failed} failed" if self.n_failed else ""
            self.bar.update(self.task, advance=1, description=f"{self.doing} {case_id}", failed=failed)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES or self.n_seen == self.n_total:
            self.last_line = time.monotonic()
            if not self.n_total:  # nobody knows how many will come
                say(f"{self.doing}: {self.n_seen}, {case_id}, {self.n_failed} failed")
                return
            left = (self.last_line - self.started) / self.n_seen * (self.n_total - self.n_seen)
            say(f"{self.doing}: {self.n_seen} of {self.n_total}, {case_id}, {self.n_failed} failed, {left:.0f} s left")


@contextmanager
def case_progress(doing: str) -> Iterator[CaseProgress]:
    """Show progress over cases while the block runs.

    Args:
        doing: What is done to each case.

    Yields:
        To report to.
    """
    if _Voice.quiet or not _console.is_terminal:
        yield CaseProgress(doing, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("[red]{task.fields[failed]}"), console=_console) as bar:
        yield CaseProgress(doing, bar)


@contextmanager
def stop_on_sigterm() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM ask for an end instead of making one, while the block runs.

    Yields:
        Whether it was asked for.
    """
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block like an interrupt, so that whatever it holds is let go."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def training_progress() -> Iterator[Any]:
    """Show what a training does while the block runs.

    Yields:
        A ``pipeline.Progress``: called with what is done, the share, and numbers.
    """
    if _Voice.quiet:
        yield None
        return
    if not _console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[numbers]}"), console=_console) as bar:
        task = bar.add_task("starting", total=1.0, numbers="")

        def update(doing: str, share: float, numbers: dict[str, float]) -> None:
            bar.update(task, description=doing, completed=share, numbers=_numbers(numbers))

        yield update


def _lines() -> Any:
    state: dict[str, Any] = {"last": 0.0, "doing": ""}

    def update(doing: str, share: float, numbers: dict[str, float]) -> None:
        now, kind = time.monotonic(), doing.split(",")[0]
        if kind != state["doing"] or now - state["last"] > SECONDS_BETWEEN_LINES:
            state.update(last=now, doing=kind)
            say(f"{doing} ({share:.0%}) {_numbers(numbers)}".rstrip())

    return update


def _numbers(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in numbers.items())


def print_scores(summary: dict[str, Any]) -> None:
    """The scores of an evaluation as a table.

    Args:
        summary: As in ``metrics_summary.json``.
    """
    metrics = ("dice", "hd95", "assd", "volume_difference")
    rows = []
    for name, entry in summary["structures"].items():
        cells = [_cell(entry[metric]) for metric in metrics]
        dice = entry["dice"]
        rows.append((name, *cells, f"{dice['n_scored']} of {dice['n_expected']}, {dice['n_missed']} missed"))
    mean = summary["mean"].get("dice")
    rows.append(("mean", "-" if mean is None else f"{mean:.3f}", "", "", "", ""))
    print_table(("structure", "Dice", "HD95 mm", "ASSD mm", "volume difference ml", "cases"), rows)


def _cell(entry: dict[str, Any]) -> str:
    if entry["mean"] is None:
        return "-"
    return f"{entry['mean']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
