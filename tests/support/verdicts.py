"""Verdicts as a worker stores them, for what shows them."""

from __future__ import annotations

from collections.abc import Sequence

from app.judgement.verdict import Change, Episode, Finding, State, Verdict
from app.storage.interface.alerts import AlertChange, AlertStore, AlertTable
from app.verdicts.verdict_record import VerdictRecord, pack_episode, pack_verdict_record

DAY_S = 86_400


def crashed(since_s: int) -> Finding:
    """Every request ends with H10, after a release."""
    return Finding(
        "no_dyno",
        "down",
        since_s,
        since_s,
        since_s + 60,
        process_type="web",
        dynos=("web.1", "web.2"),
        who="process_type",
        code="H10",
        count=840,
        after=Change(since_s - 50, "release", "v57", (("config", "set STRIPE_KEY"),)),
        not_reasons=("memory", "load"),
    )


def verdict(
    app: str, state: State, judged_s: int, summary: str, findings: Sequence[Finding] = ()
) -> Verdict:
    """A verdict since its first finding."""
    since_s = findings[0].since_s if findings else judged_s - DAY_S
    return Verdict(app, state, since_s, 0, judged_s, summary, tuple(findings))


async def store_verdict(
    store: AlertStore, verdict: Verdict, episodes: Sequence[Episode] = ()
) -> None:
    """Store it as the latest, of an app that was judged for a day."""
    since_s = verdict.judged_s - DAY_S
    record = VerdictRecord(verdict, verdict.findings, since_s, verdict.judged_s)
    await store.change_alerts(
        [AlertChange(AlertTable.VERDICTS, verdict.app, pack_verdict_record(record))],
        episodes={verdict.app: [pack_episode(episode) for episode in episodes]},
    )
