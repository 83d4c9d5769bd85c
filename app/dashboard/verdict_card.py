"""The card at the head of an app's page: a sentence, and what is known about the worst finding.

Nothing is judged here. The sentence and most facts are parts of the verdict's own summary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.dashboard.verdict_view import HISTORY_DAYS, STATE_WORDS, first_sentence
from app.judgement.verdict import Episode, Finding, Verdict
from app.judgement.wording import describe_after
from app.rollup.resolutions import DAY_S
from app.support.quantities import (
    clock_time,
    count_in_words,
    duration_in_words,
    names_in_words,
    share_in_words,
    time_in_words,
    times_in_words,
)
from parsers.samples import labels_of

_KINDS_OF_DYNOS = {
    *("failing", "no_dyno", "slow", "crash_loop"),
    *("memory_exceeded", "memory_killed", "memory_high"),
}
_USUAL_WORDS = {"failing": share_in_words, "slow": time_in_words}
_PROBLEMS = {"down", "silent", "unreadable", "degraded"}


class Fact(NamedTuple):
    """What is known about a problem, under a short name."""

    name: str
    text: str


class VerdictCard(NamedTuple):
    """A verdict for a person in a hurry.

    headline  the first sentence, to be read after the state: "since 23:12 UTC (15 min): …"
    more      the other sentences, where no facts tell them
    facts     who is affected, what came before, what it is not, and whether that is usual
    """

    headline: str
    more: str
    facts: list[Fact]


def build_card(
    verdict: Verdict, episodes: Sequence[Episode], sources: Mapping[str, int]
) -> VerdictCard:
    """The card of a verdict.

    Args:
        verdict: of now, or of a range in the past.
        episodes: problems of the days before that are over.
        sources: when each dyno was active last, Unix seconds.
    """
    first = first_sentence(verdict.summary)
    more = verdict.summary.removeprefix(first).strip()
    headline = first.removeprefix(f"{STATE_WORDS[verdict.state]} ")
    worst = next((finding for finding in verdict.findings if finding.state == verdict.state), None)
    if worst is None or verdict.state not in _PROBLEMS:
        return VerdictCard(headline, more, [])
    return VerdictCard(headline, "", _list_facts(worst, episodes, sources))


def _list_facts(
    finding: Finding, episodes: Sequence[Episode], sources: Mapping[str, int]
) -> list[Fact]:
    facts = []
    if finding.kind in _KINDS_OF_DYNOS:
        facts.append(Fact("Who", describe_who(finding, sources)))
    if finding.after is not None:
        facts.append(Fact("After", describe_after(finding.after, finding.since_s)))
    elif finding.kind in _KINDS_OF_DYNOS:
        facts.append(Fact("After", "No change found shortly before."))
    if finding.not_reasons:
        names = names_in_words(finding.not_reasons)
        facts.append(Fact("Ruled out", f"{names[:1].upper()}{names[1:]} unchanged."))
    facts.append(Fact("Usual", describe_usual(finding, episodes)))
    return facts


def describe_who(finding: Finding, sources: Mapping[str, int]) -> str:
    """Which dynos a finding is about, and of how many that were active since it began."""
    process_type = finding.process_type or _type_of(finding.dynos) or "web"
    peers = sum(
        labels_of(name)[0] == process_type and "." in name and last_active_s >= finding.since_s
        for name, last_active_s in sources.items()
    )
    all_peers = count_in_words(peers, f"{process_type} dyno")
    if finding.dynos:
        names = names_in_words(finding.dynos)
        if len(finding.dynos) < peers:
            return f"{names}, of {all_peers}."
        return f"{names}: every {process_type} dyno." if peers > 1 else f"{names}."
    if finding.who == "unsure":
        return "Not clear which dynos."
    if peers > 1:
        all_of_them = f"Both {process_type} dynos" if peers == 2 else f"All {all_peers}"
        return f"{all_of_them} alike."
    return "Everyone."


def _type_of(dynos: Sequence[str]) -> str:
    return labels_of(dynos[0])[0] if dynos else ""


def describe_usual(finding: Finding, episodes: Sequence[Episode]) -> str:
    """The usual value, and how often the same happened in the days before."""
    earlier = [
        episode.finding
        for episode in episodes
        if (episode.finding.kind, episode.finding.process_type)
        == (finding.kind, finding.process_type)
        and finding.since_s - HISTORY_DAYS * DAY_S <= episode.finding.since_s < finding.since_s
        and episode.finding.until_s
    ]
    words = _USUAL_WORDS.get(finding.kind)
    usual = "" if words is None or finding.usual is None else f"Usually {words(finding.usual)}. "
    if not earlier:
        return f"{usual}No such problem in the {HISTORY_DAYS} days before."
    last = max(earlier, key=lambda finding: finding.since_s)
    times = times_in_words(len(earlier))
    at = clock_time(last.since_s, finding.since_s)
    length = duration_in_words(last.until_s - last.since_s)
    return (
        f"{usual}{times[:1].upper()}{times[1:]} in the {HISTORY_DAYS} days before, "
        f"last at {at} UTC for {length}."
    )
