"""Argument types of several commands; their errors name the accepted values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TypeVar

from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.access.read_tokens import APP_GLOB

T = TypeVar("T")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400}


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """An argument type from a value parser of app.config."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {error}") from None

    return parse_argument


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


def time_span(units: str, examples: str) -> Callable[[str], int]:
    """A type for spans of time, in seconds, written with one of these units (of m, h, d)."""
    pattern = re.compile(rf"([0-9]{{1,5}})([{units}])")

    def parse_span(text: str) -> int:
        match = pattern.fullmatch(text)
        if not match or not int(match[1]):
            raise argparse.ArgumentTypeError(f"{text!r}: expected a time such as {examples}")
        return int(match[1]) * _UNIT_S[match[2]]

    return parse_span
