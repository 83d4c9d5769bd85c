"""Output of the commands: results go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

PROGRESS_ON_TERMINAL_S = 0.2
PROGRESS_IN_FILE_S = 5.0

T = TypeVar("T")


def print_err(text: str) -> None:
    """Print a line for people to stderr, so that stdout stays readable for programs."""
    print(text, file=sys.stderr)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print left-aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def format_minute(at_s: int, never: str = "never") -> str:
    """A Unix time as "2026-11-22 10:08" (UTC); `never` for 0."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M}" if at_s else never


class ProgressLine:
    """A progress line on stderr: rewritten in place on a terminal, else a new line every 5 s."""

    def __init__(self, *, terminal_only: bool = False) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._is_silent = terminal_only and not self._is_terminal
        self._interval_s = PROGRESS_ON_TERMINAL_S if self._is_terminal else PROGRESS_IN_FILE_S
        self._last_s = time.monotonic()

    def is_due(self) -> bool:
        """Whether the interval has passed. Ask first where the text is expensive to build."""
        return not self._is_silent and time.monotonic() - self._last_s >= self._interval_s

    def show(self, text: str) -> None:
        """Print the text if it is due."""
        if not self.is_due():
            return
        self._last_s = time.monotonic()
        if self._is_terminal:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            print_err(text)

    def clear(self) -> None:
        """Remove the line from the terminal."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Input(Protocol):
    """A log that is being read."""

    position: int  # bytes read so far
    size: int | None  # in bytes; None if unknown


def with_progress(
    groups: Iterable[list[T]], log: Input, progress: ProgressLine
) -> Iterator[list[T]]:
    """The same groups of lines; shows lines, rate and share as they are consumed."""
    lines = 0
    started_s = time.monotonic()
    for group in groups:
        yield group
        lines += len(group)
        if progress.is_due():
            rate = lines / (time.monotonic() - started_s)
            share = f", {min(log.position / log.size, 1):.0%}" if log.size else ""
            progress.show(f"{lines:,} lines, {rate:,.0f} lines/s{share}")
