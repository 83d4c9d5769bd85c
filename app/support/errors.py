"""The base of every error that a command reports as one line instead of a traceback."""

from __future__ import annotations


class UserError(Exception):
    """An argument, a setting or the environment is wrong; the message says how to fix it.

    `exit_code` is the exit code of a command that ends with this error.
    """

    exit_code = 2
