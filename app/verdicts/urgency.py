"""The order in which people should look at apps: the worst first."""

from __future__ import annotations

from collections.abc import Iterable

from app.judgement.verdict import Episode, State, Verdict

# Not the precedence of states within an app: a planned maintenance is nobody's first concern.
URGENCY: tuple[State, ...] = (
    "down", "silent", "unreadable", "unknown", "degraded", "maintenance", "ok", "idle",
)  # fmt: skip
FINE_STATES: frozenset[State] = frozenset({"ok", "idle", "maintenance"})


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts by urgency of their states; of one state, the latest to begin comes first.

    Fine apps are in order of their names, those with a note before the others.
    """
    return sorted(verdicts, key=_urgency)


def _urgency(verdict: Verdict) -> tuple[int, int, int, str]:
    is_fine = verdict.state in FINE_STATES
    begin = 0 if is_fine else -verdict.since_s
    has_no_note = int(is_fine and not verdict.findings)
    return URGENCY.index(verdict.state), begin, has_no_note, verdict.app


def latest_first(episodes: Iterable[Episode]) -> list[Episode]:
    """Episodes by their begin, the latest first."""
    return sorted(episodes, key=lambda episode: -episode.finding.since_s)
