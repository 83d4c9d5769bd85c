"""Text whose reader is gone is dropped, and the process goes on."""

from __future__ import annotations

import os
import subprocess
import sys

PRINT_AFTER_A_LINE = """
import sys
from app.support.output import print_to_reader

sys.stdin.readline()
print_to_reader("up")
print_to_reader("still up")
"""


def print_to(stdout: int, reader: int) -> subprocess.CompletedProcess[bytes]:
    """Run a process that prints after its reader has closed the other end."""
    command = [sys.executable, "-c", PRINT_AFTER_A_LINE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE
    ) as process:
        os.close(stdout)
        os.close(reader)
        _, errors = process.communicate(b"\n")
    return subprocess.CompletedProcess(command, process.returncode, b"", errors)


def test_a_pipe_that_nobody_reads_ends_nothing() -> None:
    reader, stdout = os.pipe()
    result = print_to(stdout, reader)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_terminal_that_was_closed_ends_nothing() -> None:
    reader, stdout = os.openpty()
    result = print_to(stdout, reader)
    assert (result.returncode, result.stderr) == (0, b"")


def test_another_error_is_raised() -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-c", PRINT_AFTER_A_LINE],
            input=b"\n",
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert result.returncode != 0
    assert b"No space left on device" in result.stderr
