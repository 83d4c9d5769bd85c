"""Progress while a command reads a log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from app.cli.output import ProgressLine
from app.traffic.log_input import LogInput, LogLine


def with_progress(
    groups: Iterable[list[LogLine]], log: LogInput, progress: ProgressLine
) -> Iterator[list[LogLine]]:
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
