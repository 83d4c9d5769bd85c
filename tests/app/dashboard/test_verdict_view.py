"""Verdicts on the pages: short words, lines with their time, and marks on figures."""

from __future__ import annotations

import pytest

from app.dashboard.verdict_view import (
    ALL_NORMAL,
    STATE_SHAPES,
    STATE_WORDS,
    build_judgement,
    marked_figures,
    shorten_summary,
)
from app.judgement.verdict import STATES, Episode, Finding, State, Verdict

AT_S = 1_795_341_600  # 10:00 UTC


def verdict(state: State, summary: str, *findings: Finding) -> Verdict:
    return Verdict("shop", state, AT_S, 0, AT_S + 900, summary, findings)


FAILING = Finding("failing", "down", AT_S, code="H10", dynos=("web.1",), who="dyno")


@pytest.mark.parametrize(
    ("state", "summary", "words"),
    [
        (
            "down",
            "Down since 23:12 UTC (15 min): every request ends with H10; web.1 and web.2 have "
            "crashed. One minute after release v57. Memory and load unchanged.",
            "since 23:12 UTC (15 min): every request ends with H10; web.1 and web.2 have crashed",
        ),
        (
            "degraded",
            "Slow since 22:50 UTC (9 min): p95 of answered requests is 560 ms. Right after "
            "release v212.",
            "Slow since 22:50 UTC (9 min): p95 of answered requests is 560 ms",
        ),
    ],
)
def test_a_line_of_the_list_has_the_first_sentence_without_the_state(
    state: State, summary: str, words: str
) -> None:
    assert shorten_summary(verdict(state, summary, FAILING)) == words


def test_an_app_that_is_all_right_is_all_normal() -> None:
    assert shorten_summary(verdict("ok", "All normal: 86 requests a minute.")) == ALL_NORMAL


def test_a_state_has_a_word_and_a_shape_of_its_own() -> None:
    assert set(STATE_WORDS) == set(STATE_SHAPES) == set(STATES)
    assert len(set(STATE_SHAPES.values())) == len(STATES)


def test_a_figure_is_marked_only_if_a_finding_is_about_it() -> None:
    assert marked_figures([]) == frozenset()
    assert marked_figures([Finding("slow", "degraded", AT_S)]) == {"time"}
    assert marked_figures([FAILING, Finding("memory_high", "ok", AT_S)]) == {
        "failed",
        "errors",
        "memory",
    }
    assert marked_figures([Finding("restart", "ok", AT_S)]) == frozenset()


def test_a_finding_links_to_its_time_with_some_context() -> None:
    lasting, over = build_judgement(
        verdict("down", "Down.", FAILING, Finding("slow", "degraded", AT_S, until_s=AT_S + 600)), []
    ).findings
    assert (lasting.start_s, lasting.end_s) == (AT_S - 900, 0)
    assert over.start_s < AT_S < over.until_s < over.end_s
    assert over.end_s - over.start_s == 3600


def test_a_line_has_the_time_that_its_text_tells() -> None:
    crashes = Finding("crash_loop", "degraded", AT_S - 3, process_type="web", count=2)
    (line,) = build_judgement(verdict("degraded", "In a crash loop.", crashes), []).findings
    assert line.text.startswith("In a crash loop since 10:00 UTC")
    assert line.since_s == AT_S


def test_the_history_has_problems_that_are_over_the_latest_first() -> None:
    episodes = [
        Episode(Finding("slow", "degraded", AT_S - 9000, until_s=AT_S - 8000), "Was slow."),
        Episode(Finding("failing", "down", AT_S - 4000, until_s=AT_S - 3000), "Was down."),
        Episode(Finding("asleep", "idle", AT_S - 3000, until_s=AT_S - 2000), "Slept."),
        Episode(Finding("restart", "ok", AT_S - 3000, until_s=AT_S - 2000), "Restarted."),
        Episode(FAILING, "Is down."),
    ]
    history = build_judgement(verdict("down", "Down.", FAILING), episodes).history
    assert [line.text for line in history] == ["Was down.", "Was slow."]


def test_the_dynos_that_findings_name_are_known() -> None:
    assert build_judgement(verdict("down", "Down.", FAILING), []).dynos_named == {"web.1"}
