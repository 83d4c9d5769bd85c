"""Reads log lines from several files, one after the other."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence

from app.traffic.log_input import STDIN, LogInput
from app.traffic.log_line import LogLine


class LogFiles:
    """Files that are read as one input. Each may have a form of its own; "-" is standard input.

    `size` is the size of all in bytes, None if one of them is a pipe. `position` is the number of
    bytes read so far. `files_read` is the number of files begun, so it tells when the next begins.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        """
        Raises:
            LogInputError: a file does not exist, is a directory, or may not be read.
        """
        self._paths = paths
        self._position = 0
        self._log: LogInput | None = None
        self.files_read = 0
        self.forms: Counter[str] = Counter()  # files by form
        sizes = [_size_of(path) for path in paths]
        self.size = None if None in sizes else sum(filter(None, sizes))

    @property
    def position(self) -> int:
        """The number of bytes read so far."""
        return self._position + (self._log.position if self._log else 0)

    def groups(self, idle_s: float | None = None) -> Iterator[list[LogLine]]:
        """Yield the lines of each read, and an empty group after `idle_s` seconds without input.

        Before the first line of several files, each of them is looked at, so nothing is done with
        the others if one cannot be read.

        Raises:
            LogInputError: a file cannot be read.
            UnknownLogForm: a file is not a log of Heroku's.
        """
        self._position = self.files_read = 0
        self.forms.clear()
        if len(self._paths) > 1:
            for path in self._paths:
                _check_form(path)
        for path in self._paths:
            with LogInput(path) as log:
                self._log = log
                self.files_read += 1
                yield from log.groups(idle_s)
                self._position += log.position
                self._log = None
                if log.form:
                    self.forms[log.form] += 1

    def form_lines(self) -> list[str]:
        """The forms found so far, one a line. With several files, each form has their number."""
        forms = self.forms.copy()
        if self._log and self._log.form:
            forms[self._log.form] += 1
        if len(self._paths) == 1:
            return list(forms)
        return [
            f"{form} ({files:,} {'file' if files == 1 else 'files'})"
            for form, files in forms.most_common()
        ]


def _size_of(path: str) -> int | None:
    """The size of a file; None for a pipe, which is not opened here: it can be read only once."""
    if path != STDIN and os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
        return None
    with LogInput(path) as log:
        return log.size


def _check_form(path: str) -> None:
    """Read a file until its form is known."""
    if path == STDIN or _size_of(path) is None:
        return
    with LogInput(path) as log:
        for _ in log.groups():
            if log.form:
                return
