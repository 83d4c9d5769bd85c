"""Whether the problem of an app is one that many apps have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.judgement.fleet import find_fleet_problem, fleet_apps
from app.judgement.verdict import Finding, Verdict


class Fleet(NamedTuple):
    """The finding, and the apps that have the problem."""

    finding: Finding
    apps: frozenset[str]

    def explains(self, app: str, finding: Finding) -> bool:
        """Whether this finding of an app is a part of the problem."""
        if app not in self.apps or finding.until_s:
            return False
        code = self.finding.code
        return finding.code == code if code else finding.kind == "silent"


def find_fleet(verdicts: Sequence[Verdict]) -> Fleet | None:
    """The problem that many of these apps have at the same time; None if there is none."""
    finding = find_fleet_problem(verdicts)
    return Fleet(finding, frozenset(fleet_apps(verdicts, finding))) if finding else None
