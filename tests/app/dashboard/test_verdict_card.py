"""The card at the head of an app's page: a sentence, and facts about the worst finding."""

from __future__ import annotations

import pytest

from app.dashboard.verdict_card import build_card
from app.judgement.verdict import Change, Episode, Finding, State, Verdict
from app.judgement.who import Who

AT_S = 1_795_341_600  # 22 Nov 10:00 UTC
DAY_S = 86_400
THREE_DYNOS = {f"web.{number}": AT_S + 300 for number in (1, 2, 3)}
FAILING = Finding(
    "failing",
    "degraded",
    AT_S,
    process_type="web",
    dynos=("web.3",),
    who="dyno",
    code="H12",
    usual=0.004,
    after=Change(AT_S - 60, "release", "v57", (("config", "set STRIPE_KEY"),)),
    not_reasons=("memory", "load"),
)


def verdict(state: State, summary: str, *findings: Finding) -> Verdict:
    return Verdict("shop", state, AT_S, 0, AT_S + 900, summary, findings)


def facts_of(finding: Finding, *episodes: Episode) -> dict[str, str]:
    summary = "Failing since 10:00 UTC: 9 % of requests end with H12. Memory unchanged."
    card = build_card(verdict(finding.state, summary, finding), episodes, THREE_DYNOS)
    return {fact.name: fact.text for fact in card.facts}


def episode(since_s: int, **changes: str) -> Episode:
    process_type = changes.get("process_type", "web")
    finding = Finding(
        "failing", "degraded", since_s, until_s=since_s + 720, process_type=process_type
    )
    return Episode(finding, "Failed.")


def test_the_facts_tell_who_after_what_what_it_is_not_and_what_is_usual() -> None:
    assert facts_of(FAILING) == {
        "Who": "web.3, of 3 web dynos.",
        "After": "One minute after release v57 and a config change (STRIPE_KEY).",
        "Ruled out": "Memory and load unchanged.",
        "Usual": "Usually 0.4 %. No such problem in the 7 days before.",
    }


def test_the_same_problem_of_the_days_before_is_counted() -> None:
    same = [episode(AT_S - DAY_S), episode(AT_S - 3 * DAY_S)]
    different_episodes = [episode(AT_S - DAY_S, process_type="worker"), episode(AT_S - 8 * DAY_S)]
    usual = facts_of(FAILING, *same, *different_episodes)["Usual"]
    assert usual.endswith("Twice in the 7 days before, last at 21 Nov 10:00 UTC for 12 min.")


@pytest.mark.parametrize(
    ("who", "dynos", "words"),
    [
        ("everyone", (), "All 3 web dynos alike."),
        ("unsure", (), "Not clear which dynos."),
        ("dyno", ("web.1", "web.2"), "web.1 and web.2, of 3 web dynos."),
        ("dyno", ("web.1", "web.2", "web.3"), "web.1, web.2 and web.3: every web dyno."),
    ],
)
def test_who_is_told_in_words(who: Who, dynos: tuple[str, ...], words: str) -> None:
    finding = Finding(
        "failing",
        "degraded",
        AT_S,
        process_type="web",
        who=who,
        dynos=dynos,
    )
    assert facts_of(finding)["Who"] == words


def test_dynos_that_were_gone_before_the_problem_are_not_counted() -> None:
    sources = {"web.1": AT_S + 60, "web.2": AT_S + 60, "web.3": AT_S - 60, "worker.1": AT_S + 60}
    finding = Finding("failing", "down", AT_S, process_type="web")
    card = build_card(verdict("down", "Down since 10:00 UTC.", finding), [], sources)
    assert card.facts[0].text == "Both web dynos alike."


def test_the_headline_is_read_after_the_state_and_facts_replace_the_other_sentences() -> None:
    summary = "Down since 10:00 UTC: every request ends with H10. Right after release v57."
    down = Finding("no_dyno", "down", AT_S, code="H10")
    card = build_card(verdict("down", summary, down), [], {})
    assert card.headline == "since 10:00 UTC: every request ends with H10."
    assert card.more == ""


def test_of_an_app_without_a_problem_all_sentences_are_shown() -> None:
    unknown = verdict("unknown", "Not judged: no worker judges this app. Check /readyz.")
    card = build_card(unknown, [], {})
    assert (card.headline, card.more, card.facts) == (
        "Not judged: no worker judges this app.",
        "Check /readyz.",
        [],
    )
