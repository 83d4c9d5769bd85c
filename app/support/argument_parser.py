"""A parser of arguments that suggests the closest command or option."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

_UNKNOWN_OPTIONS = "unrecognized arguments: "


class Parser(argparse.ArgumentParser):
    """Adds "Did you mean …?" to the error about an unknown command or option."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += _suggestion(str(value), map(str, action.choices or ()))
            raise

    def error(self, message: str) -> NoReturn:
        """Exit with this message and a suggestion for the first unknown option."""
        if message.startswith(_UNKNOWN_OPTIONS):
            option = message.removeprefix(_UNKNOWN_OPTIONS).split()[0].partition("=")[0]
            if option.startswith("-"):
                message += _suggestion(option, self._all_options())
        super().error(message)

    def _all_options(self) -> list[str]:
        """The options of this parser and of all its subcommands."""
        options = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    options += parser._all_options()
        return options


def _suggestion(word: str, choices: Iterable[str]) -> str:
    close = get_close_matches(word, choices, n=1)
    return f". Did you mean {close[0]}?" if close else ""
