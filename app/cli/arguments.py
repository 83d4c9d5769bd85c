"""Argument types of several commands; their errors name the accepted values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.access.read_tokens import APP_GLOB
from app.support.durations import parse_duration

T = TypeVar("T")


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """An argument type from a value parser of app.config."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {error}") from None

    return parse_argument


duration = argument(parse_duration)
"""A duration such as 24h, in seconds."""


def app_name(text: str) -> str:
    """The name of an app."""
    if not valid_app(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an app's name: {APP_NAME_RULE}")
    return text


def app_glob(text: str) -> str:
    """The name of an app, or a pattern of names."""
    if not APP_GLOB.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected an app's name or a pattern, such as shop or blog-*"
        )
    return text


@argument
def minutes(text: str) -> int:
    """Whole minutes, as a number or as a duration such as 5m."""
    if text.isascii() and text.isdigit():
        return int(text)
    count, seconds = divmod(parse_duration(text), 60)
    if seconds:
        raise ValueError("whole minutes, such as 5 or 5m")
    return count
