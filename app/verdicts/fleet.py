"""Whether the problem of an app is one that many apps have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.judgement.fleet import find_fleet_problem, fleet_apps
from app.judgement.verdict import Finding, Verdict


class Fleet(NamedTuple):
    """A problem of many apps.

    Attributes:
        finding: what they have in common.
        apps: those that have it.
        judged_s: the end of the last minute judged, Unix seconds.
    """

    finding: Finding
    apps: frozenset[str]
    judged_s: int

    def explains(self, app: str, finding: Finding) -> bool:
        """Whether this finding of an app is a part of the problem."""
        if app not in self.apps or finding.until_s:
            return False
        code = self.finding.code
        return finding.code == code if code else finding.kind == "silent"


def find_fleet(verdicts: Sequence[Verdict]) -> Fleet | None:
    """The problem that many of these apps have at the same time; None if there is none."""
    finding = find_fleet_problem(verdicts)
    if finding is None:
        return None
    judged_s = max(verdict.judged_s for verdict in verdicts)
    return Fleet(finding, frozenset(fleet_apps(verdicts, finding)), judged_s)
