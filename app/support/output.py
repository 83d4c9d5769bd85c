"""Output to a program that may have stopped reading, as in `dynometer serve | head`."""

from __future__ import annotations

import errno
import os
import sys


def print_to_reader(text: str) -> None:
    """Print to stdout and flush. If its reader or terminal is gone, the text is dropped."""
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):  # of a pipe, of a terminal
            raise
        discard_stdout()


def discard_stdout() -> None:
    """Drop the rest of stdout. Python flushes it once more at exit, which must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
