"""Tells production and staging apps by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from app.support.globs import matches_glob

Environment = Literal["production", "", "staging"]
ENVIRONMENTS: tuple[Environment, ...] = ("production", "", "staging")  # the most important first


class Environments(NamedTuple):
    """Glob patterns of the names of production and of staging apps."""

    production: Sequence[str]
    staging: Sequence[str]

    def environment_of(self, app: str) -> Environment:
        """The environment of an app; "" if its name does not tell."""
        if any(matches_glob(app, glob) for glob in self.production):
            return "production"
        return "staging" if any(matches_glob(app, glob) for glob in self.staging) else ""

    def rank_of(self, app: str) -> int:
        """The place of its environment in a list: the lower, the more important."""
        return ENVIRONMENTS.index(self.environment_of(app))
