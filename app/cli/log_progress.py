"""Progress while a command reads logs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from app.cli.output import ProgressLine
from app.traffic.log_files import LogFiles
from app.traffic.log_line import LogLine

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def with_progress(
    groups: Iterable[list[LogLine]], log: LogFiles, progress: ProgressLine
) -> Iterator[list[LogLine]]:
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
    while size >= 999.5 and power < len(_UNITS) - 1:
        size /= 1000
        power += 1
    digits = 0 if size >= 9.95 or not power else 1
    return f"{size:.{digits}f} {_UNITS[power]}"
