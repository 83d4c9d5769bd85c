"""Output of the commands: results go to stdout, everything else to stderr."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

T = TypeVar("T")

PROGRESS_ON_TERMINAL_S = 0.2
PROGRESS_IN_FILE_S = 5.0

# A space between a number and its word, which comes after it (30 s) or before it (status 137).
_JOINT = re.compile(r"(?<=[0-9%)]) (?=[^\s0-9])|(?:(?<=:)|(?<=\bstatus)|(?<=\bcode)) (?=[0-9])")
_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_NO_BREAK = "\N{NO-BREAK SPACE}"


def wrap(text: str, width: int, begin: str = "") -> list[str]:
    """Break a text into lines, but never between a number and its word (30 s, status 137).

    `begin` begins the first line; the others are indented as far.
    """
    lines = textwrap.wrap(
        _JOINT.sub(_NO_BREAK, text),
        width,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


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


class ReadPosition(Protocol):
    """How many bytes of a log were read, and of how many; None if that is not known."""

    @property
    def position(self) -> int:
        """Bytes read."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes in all."""
        ...


def with_progress(
    groups: Iterable[list[T]], log: ReadPosition, progress: ProgressLine
) -> Iterator[list[T]]:
    """The same groups of lines; shows lines, rate, bytes and the time left as they are consumed."""
    lines = 0
    started_s = time.monotonic()
    for group in groups:
        yield group
        lines += len(group)
        if progress.is_due():
            elapsed_s = time.monotonic() - started_s
            rate = f"{lines:,} lines, {lines / elapsed_s:,.0f} lines/s"
            progress.show(f"{rate}, {format_share(log.position, log.size, elapsed_s)}")


def format_share(position: int, size: int | None, elapsed_s: float) -> str:
    """Bytes read; if the size is known, also the share and the time left, as minutes:seconds."""
    if not size or not position:
        return format_bytes(position)
    share = min(position / size, 1)
    minutes, seconds = divmod(int(elapsed_s * (1 - share) / share), 60)
    of_size = f"{format_bytes(position)} of {format_bytes(size)} ({share:.0%})"
    return f"{of_size}, {minutes}:{seconds:02} left"


def format_bytes(size: float) -> str:
    """A size as "4.7 GB", in powers of 1000."""
    power = 0
    while size >= 999.5 and power < len(_BYTE_UNITS) - 1:
        size /= 1000
        power += 1
    digits = 0 if size >= 9.95 or not power else 1
    return f"{size:.{digits}f} {_BYTE_UNITS[power]}"
