"""Every sentence that a judgement can say, word for word."""

from __future__ import annotations

import re

import msgspec
import pytest

from app.judgement.facts import Interval
from app.judgement.sentences import code_in_words
from app.judgement.verdict import FINDINGS, Change, Finding, State
from app.judgement.wording import (
    describe_brief,
    describe_change,
    describe_finding,
    summarize,
)
from app.rollup.resolutions import DAY_S
from tests.app.judgement.scenes import at, minute

NOW = at("23:27")
SINCE = at("23:12")
RELEASE = Change(at("23:11"), "release", "v57", (("config", "set STRIPE_KEY"),))
FAILING = Finding(
    "failing", "degraded", SINCE, code="H12", metric="failed_share", value=0.09, count=106
)
DOWN = Finding("failing", "down", SINCE, code="H10", value=1.0, count=600)
CRASHES = Finding(
    "crash_loop", "degraded", SINCE, process_type="web", dynos=("web.1", "web.2"), count=8,
    exit_status=1, reason="start",
)  # fmt: skip
SLOW = Finding("slow", "degraded", SINCE, process_type="web", value=560.0, usual=246.0)
R14 = Finding("memory_exceeded", "degraded", SINCE, dynos=("web.2",), code="R14", value=1.12)
SILENT = Finding("silent", "silent", SINCE, value=15, limit=6)
ASLEEP = Finding("asleep", "idle", SINCE, reason="quiet")


def changed(finding: Finding, **values: object) -> Finding:
    return msgspec.structs.replace(finding, **values)


# Each finding while it lasts, and once it is over (until 23:20).
GOLDEN = [
    (
        DOWN,
        "Down since 23:12 UTC (15 min): every request ends with H10 (app crashed).",
        "Was down from 23:12 to 23:20 UTC (8 min): every request ended with H10 (app crashed).",
    ),
    (
        changed(DOWN, code="", value=0.72, worst=0.81),
        "Down since 23:12 UTC (15 min): 72 % of requests fail, 600 so far.",
        "Was down from 23:12 to 23:20 UTC (8 min): up to 81 % of requests failed, 600 in all.",
    ),
    (
        changed(DOWN, code="500"),
        "Down since 23:12 UTC (15 min): every request is answered with 500.",
        "Was down from 23:12 to 23:20 UTC (8 min): every request was answered with 500.",
    ),
    (
        FAILING,
        "Failing since 23:12 UTC (15 min): 9 % of requests end with H12 (request timeout), "
        "106 so far.",
        "Failed from 23:12 to 23:20 UTC (8 min): 9 % of requests ended with H12 "
        "(request timeout), 106 in all.",
    ),
    (
        changed(FAILING, who="dyno", dynos=("web.3",), usual=0.004, worst=0.124),
        "Failing since 23:12 UTC (15 min): 9 % of requests (usually 0.4 %) end with H12 "
        "(request timeout), 106 so far, mostly on web.3.",
        "Failed from 23:12 to 23:20 UTC (8 min): up to 12 % of requests (usually 0.4 %) ended "
        "with H12 (request timeout), 106 in all, mostly on web.3.",
    ),
    (
        changed(FAILING, code="", process_type="api", who="unsure", count=0, value=0.04),
        "Failing since 23:12 UTC (15 min): 4 % of requests of api fail, not clear on which dynos.",
        "Failed from 23:12 to 23:20 UTC (8 min): 4 % of requests of api failed, not clear on "
        "which dynos.",
    ),
    (
        Finding("no_dyno", "down", SINCE, process_type="web", code="H10"),
        "Down since 23:12 UTC (15 min): every request ends with H10 (app crashed).",
        "Was down from 23:12 to 23:20 UTC (8 min): every request ended with H10 (app crashed).",
    ),
    (
        Finding("no_dyno", "down", SINCE, process_type="web", exit_status=1),
        "Down since 23:12 UTC (15 min): all web dynos have crashed (exit status 1).",
        "Was down from 23:12 to 23:20 UTC (8 min): all web dynos had crashed (exit status 1).",
    ),
    (
        SLOW,
        "Slow since 23:12 UTC (15 min): p95 of answered requests is 560 ms, 2.3 × the usual 246 "
        "ms.",
        "Was slow from 23:12 to 23:20 UTC (8 min): p95 of answered requests rose to 560 ms, 2.3 "
        "× the usual 246 ms.",
    ),
    (
        changed(SLOW, process_type="api", reason="new", value=30_124.0, who="dyno",
                dynos=("api.1", "api.2"), worst=31_000.0),
        "Slow since 23:12 UTC (15 min): p95 of answered requests to api is 30.1 s, 122 × the 246 "
        "ms of the hour before "
        "(no usual value yet), mostly on api.1 and api.2.",
        "Was slow from 23:12 to 23:20 UTC (8 min): p95 of answered requests to api rose to 31 s, "
        "126 × the 246 ms of "
        "the hour before (no usual value yet), mostly on api.1 and api.2.",
    ),
    (
        R14,
        "Over the memory quota since 23:12 UTC (15 min): web.2 swaps (R14), at 112 % of the quota.",
        "Was over the memory quota from 23:12 to 23:20 UTC (8 min): web.2 swapped (R14), at up to "
        "112 % of the quota.",
    ),
    (
        changed(R14, dynos=(), process_type="worker", value=None, state="ok", reason="chronic"),
        "Over the memory quota since 23:12 UTC (15 min): the worker process swaps (R14), as on the "
        "day before.",
        "Was over the memory quota from 23:12 to 23:20 UTC (8 min): the worker process swapped "
        "(R14), as on the day before.",
    ),
    (
        Finding("memory_killed", "degraded", SINCE, dynos=("web.2",), count=3),
        "Killed for its memory 3 times since 23:12 UTC (15 min): web.2 used far more than its "
        "quota (R15).",
        "Was killed for its memory 3 times from 23:12 to 23:20 UTC (8 min): web.2 used far more "
        "than its quota (R15).",
    ),
    (
        Finding("memory_high", "ok", SINCE, dynos=("web.2",), value=0.96),
        "web.2 has had little memory left since 23:12 UTC (15 min): now at 96 % of the quota.",
        "web.2 had little memory left from 23:12 to 23:20 UTC (8 min): up to 96 % of the quota.",
    ),
    (
        Finding("memory_high", "ok", SINCE, dynos=("web.2",), value=0.82, reason="leak",
                full_s=at("23:10") + 4 * 3600),
        "Memory of web.2 has been rising since 23:12 UTC (15 min): now at 82 % of the quota, "
        "full at about 03:10 UTC.",
        "Memory of web.2 rose from 23:12 to 23:20 UTC (8 min): up to 82 % of the quota.",
    ),
    (
        CRASHES,
        "In a crash loop since 23:12 UTC (15 min): web.1 and web.2 have crashed at start 8 times "
        "(exit status 1).",
        "Was in a crash loop from 23:12 to 23:20 UTC (8 min): web.1 and web.2 crashed at start "
        "8 times (exit status 1).",
    ),
    (
        changed(CRASHES, dynos=("worker.1",), count=3, reason="", up_s=at("23:20")),
        "In a crash loop since 23:12 UTC (15 min): worker.1 has crashed 3 times (exit status 1), "
        "up again since 23:20 UTC.",
        "Was in a crash loop from 23:12 to 23:20 UTC (8 min): worker.1 crashed 3 times "
        "(exit status 1).",
    ),
    (
        changed(CRASHES, dynos=("worker.1",), count=2, reason=""),
        "In a crash loop since 23:12 UTC (15 min): worker.1 has crashed twice (exit status 1).",
        "Was in a crash loop from 23:12 to 23:20 UTC (8 min): worker.1 crashed twice "
        "(exit status 1).",
    ),
    (
        changed(CRASHES, dynos=("worker.1",), count=1, exit_status=137, reason="crashed"),
        "Crashed since 23:12 UTC (15 min): worker.1 has not come up again (exit status 137).",
        "Was crashed from 23:12 to 23:20 UTC (8 min): worker.1 had not come up again "
        "(exit status 137).",
    ),
    (
        SILENT,
        "Silent since 23:12 UTC (15 min): no log lines arrive; more than 6 min without any is "
        "unusual.",
        "Was silent from 23:12 to 23:20 UTC (8 min): no log lines arrived; more than 6 min without "
        "any is unusual.",
    ),
    (
        Finding("fleet", "silent", SINCE, count=11, value=11 / 14),
        "11 of 14 apps have been silent since 23:12 UTC (15 min): look at Heroku "
        "(status.heroku.com), at log delivery, or at Dynometer itself.",
        "11 of 14 apps were silent from 23:12 to 23:20 UTC (8 min): look at Heroku "
        "(status.heroku.com), at log delivery, or at Dynometer itself.",
    ),
    (
        Finding("fleet", "degraded", SINCE, count=3, value=0.3, code="H99"),
        "3 of 10 apps have had H99 (platform error) since 23:12 UTC (15 min): look at Heroku "
        "(status.heroku.com), at log delivery, or at Dynometer itself.",
        "3 of 10 apps had H99 (platform error) from 23:12 to 23:20 UTC (8 min): look at Heroku "
        "(status.heroku.com), at log delivery, or at Dynometer itself.",
    ),
    (
        ASLEEP,
        "Idle since 23:12 UTC (15 min): no log lines, as is usual at this time.",
        "Was idle from 23:12 to 23:20 UTC (8 min): no log lines, as is usual at this time.",
    ),
    (
        changed(ASLEEP, reason="new"),
        "Idle since 23:12 UTC (15 min): no log lines, and the app is too new to say whether that "
        "is usual.",
        "Was idle from 23:12 to 23:20 UTC (8 min): no log lines, and the app is too new to say "
        "whether that is usual.",
    ),
    (
        changed(ASLEEP, reason="sleep"),
        "Asleep since 23:12 UTC (15 min): Eco dynos sleep when no requests come.",
        "Was asleep from 23:12 to 23:20 UTC (8 min): Eco dynos sleep when no requests come.",
    ),
    (
        changed(ASLEEP, reason="hours"),
        "Asleep since 23:12 UTC (15 min): the account's Eco dyno hours are used up.",
        "Was asleep from 23:12 to 23:20 UTC (8 min): the account's Eco dyno hours are used up.",
    ),
    (
        changed(ASLEEP, reason="scaled", count=1204),
        "Scaled to zero since 23:12 UTC (15 min): 1,204 requests ended with H14 "
        "(no web dynos running).",
        "Was scaled to zero from 23:12 to 23:20 UTC (8 min): 1,204 requests ended with H14 "
        "(no web dynos running).",
    ),
    (
        changed(ASLEEP, reason="scaled", process_type="web"),
        "Scaled to web=0 since 23:12 UTC (15 min).",
        "Was scaled to web=0 from 23:12 to 23:20 UTC (8 min).",
    ),
    (
        changed(ASLEEP, reason="stopped"),
        "Stopped since 23:12 UTC (15 min): every dyno went down.",
        "Was stopped from 23:12 to 23:20 UTC (8 min): every dyno went down.",
    ),
    (
        Finding("restart", "ok", SINCE, count=12, code="H13"),
        "Restarting since 23:12 UTC (15 min): 12 requests failed meanwhile (H13).",
        "Restarted from 23:12 to 23:20 UTC (8 min): 12 requests failed meanwhile (H13).",
    ),
    (
        Finding("restart", "ok", SINCE),
        "Restarting since 23:12 UTC (15 min).",
        "Restarted from 23:12 to 23:20 UTC (8 min).",
    ),
    (
        Finding("incomplete", "unknown", SINCE, count=1200, code="L10"),
        "Unknown since 23:12 UTC (15 min): 1,200 log lines were lost on the way (L10).",
        "Was unknown from 23:12 to 23:20 UTC (8 min): 1,200 log lines were lost on the way (L10).",
    ),
    (
        Finding("incomplete", "ok", SINCE, count=1),
        "Incomplete since 23:12 UTC (15 min): 1 log line was lost on the way.",
        "Was incomplete from 23:12 to 23:20 UTC (8 min): 1 log line was lost on the way.",
    ),
    (
        Finding("incomplete", "unknown", SINCE, reason="delayed"),
        "Unknown since 23:12 UTC (15 min): log lines still wait to be counted.",
        "Was unknown from 23:12 to 23:20 UTC (8 min): log lines waited to be counted.",
    ),
    (
        Finding("maintenance", "maintenance", SINCE),
        "In maintenance since 23:12 UTC (15 min): requests are answered with 503 (H80).",
        "Was in maintenance from 23:12 to 23:20 UTC (8 min): requests were answered with "
        "503 (H80).",
    ),
    (
        Finding("unreadable", "unreadable", SINCE, count=1204),
        "Unreadable since 23:12 UTC (15 min): 1,204 log lines arrived, and none could be read.",
        "Was unreadable from 23:12 to 23:20 UTC (8 min): 1,204 log lines arrived, and none could "
        "be read.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("finding", "present", "past"), GOLDEN, ids=lambda value: str(value)[:40])
def test_a_finding_is_told_in_a_sentence_of_now_and_of_the_past(
    finding: Finding, present: str, past: str
) -> None:
    assert describe_brief(finding, NOW) == present
    assert describe_brief(changed(finding, until_s=at("23:20")), NOW) == past


def test_every_kind_of_finding_has_its_sentence() -> None:
    assert {finding.kind for finding, _, _ in GOLDEN} == FINDINGS.keys()
    assert not [text for _, *texts in GOLDEN for text in texts if re.search(r"\de[+-]\d", text)]


# --- the whole of a summary ---------------------------------------------------------------------

BILLING = changed(DOWN, after=RELEASE, not_reasons=("memory", "load"))


def test_the_one_who_is_woken_reads_what_since_when_after_what_and_what_not() -> None:
    assert summarize("down", [BILLING, CRASHES], NOW) == (
        "Down since 23:12 UTC (15 min): every request ends with H10 (app crashed); web.1 and web.2 "
        "have crashed at start 8 times (exit status 1). One minute after release v57 and a config "
        "change (STRIPE_KEY). Memory and load unchanged."
    )


def test_what_was_is_told_as_the_past() -> None:
    findings = [changed(one, until_s=at("23:20")) for one in (BILLING, CRASHES)]
    assert summarize("down", findings, NOW, start_s=at("22:00")) == (
        "Was down from 23:12 to 23:20 UTC (8 min): every request ended with H10 (app crashed); "
        "web.1 and web.2 crashed at start 8 times (exit status 1). One minute after release v57 "
        "and a config change (STRIPE_KEY). Memory and load unchanged."
    )


def test_a_second_problem_is_told_and_further_ones_are_counted() -> None:
    assert summarize("degraded", [FAILING, SLOW, R14], NOW) == (
        "Failing since 23:12 UTC (15 min): 9 % of requests end with H12 (request timeout), "
        "106 so far. Also slow since 23:12 UTC (15 min): p95 of answered requests is 560 ms, 2.3 "
        "× the usual 246 ms. "
        "1 more problem."
    )


def test_crashes_of_another_process_type_explain_nothing() -> None:
    worker = changed(CRASHES, process_type="worker", dynos=("worker.1",))
    assert summarize("down", [DOWN, worker], NOW) == (
        "Down since 23:12 UTC (15 min): every request ends with H10 (app crashed). Also in a crash "
        "loop since 23:12 UTC (15 min): worker.1 has crashed at start 8 times (exit status 1)."
    )


def test_notes_are_told_of_an_app_that_is_all_right_only() -> None:
    note = Finding("memory_high", "ok", SINCE, dynos=("web.2",), value=0.96)
    minutes = [minute(NOW - 60 * ago) for ago in range(5, 0, -1)]
    assert summarize("ok", [note], NOW, minutes) == (
        "Fine, but web.2 has had little memory left since 23:12 UTC (15 min): now at 96 % of the "
        "quota. 100 requests a minute, p95 200 ms, none failed."
    )
    assert "memory" not in summarize("degraded", [SLOW, note], NOW, minutes)


@pytest.mark.parametrize(
    ("minutes", "summary"),
    [
        ([], "All normal."),
        (
            [minute(NOW - 300 + 60 * n, 1204, 3, 1500) for n in range(5)],
            "All normal: 1,204 requests a minute, p95 1.51 s, 0.2 % failed.",
        ),
        (
            [minute(NOW - 300 + 60 * n, int(n < 3), time_ms=40) for n in range(5)],
            "All normal: 3 requests in 5 min, p95 40 ms, none failed.",
        ),
        (
            [Interval(NOW - 60, messages=12)],
            "All normal: log lines arrive, no requests in 5 min.",
        ),
        (
            [Interval(NOW - 780, messages=1), *(Interval(NOW - 60 * n) for n in range(12, 0, -1))],
            "All normal: no log lines for 12 min, which is not unusual.",
        ),
        ([Interval(NOW - 60)], "All normal: no log lines lately, as is usual at this time."),
    ],
)
def test_an_app_that_is_all_right_says_what_is_known(minutes: list[Interval], summary: str) -> None:
    assert summarize("ok", [], NOW, minutes) == summary


def test_an_hour_that_was_all_right_is_told_as_the_past() -> None:
    assert summarize("ok", [], NOW, start_s=at("22:00")) == "All normal from 22:00 to 23:27 UTC."


# --- times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "time"),
    [
        ({"since_min_s": SINCE - 60, "since_max_s": SINCE}, "Silent since 23:12 UTC (15 min)"),
        (
            {"since_s": at("23:04"), "since_min_s": at("23:02"), "since_max_s": at("23:06")},
            "Silent since some time between 23:02 and 23:06 UTC (about 23 min)",
        ),
        (
            {"since_s": at("23:20"), "resolution_s": 600},
            "Silent since 23:20 UTC or later",
        ),
        (
            {"since_s": at("22:00"), "resolution_s": 600},
            "Silent since some time between 22:00 and 22:10 UTC (about 1 h 27 min)",
        ),
        ({"since_s": at("23:11:53")}, "Silent since 23:12 UTC (15 min)"),
        ({"since_s": at("23:12:29")}, "Silent since 23:12 UTC (15 min)"),
        (
            {"since_s": at("23:04"), "since_min_s": at("23:02:50"), "since_max_s": at("23:05:10")},
            "Silent since some time between 23:02 and 23:06 UTC (about 23 min)",
        ),
        ({"since_s": at("21:27")}, "Silent since 21:27 UTC (2 h)"),
        ({"since_s": at("23:12") - DAY_S}, "Silent since 29 Nov 23:12 UTC (24 h 15 min)"),
        ({"since_s": at("23:12") - 5 * DAY_S}, "Silent since 25 Nov 23:12 UTC (5 days)"),
        ({"since_s": NOW}, "Silent since 23:27 UTC (under 1 min)"),
        ({"occurrences": 4}, "Silent 4 times since 23:12 UTC (15 min)"),
        ({"certainty": "likely"}, "Probably silent since 23:12 UTC (15 min)"),
        ({"until_s": at("23:40")}, "Was silent from 23:12 to 23:40 UTC (28 min)"),
        (
            {"until_s": at("23:40"), "certainty": "likely", "occurrences": 3},
            "Was probably silent 3 times from 23:12 to 23:40 UTC (28 min)",
        ),
        (
            {"since_s": SINCE - DAY_S, "until_s": at("23:40") - DAY_S},
            "Was silent on 29 Nov from 23:12 to 23:40 UTC (28 min)",
        ),
        (
            {"since_s": SINCE - DAY_S, "until_s": at("00:12")},
            "Was silent from 29 Nov 23:12 to 00:12 UTC (1 h)",
        ),
        (
            {"since_s": SINCE - 2 * DAY_S, "until_s": at("00:12") - DAY_S},
            "Was silent from 28 Nov 23:12 to 29 Nov 00:12 UTC (1 h)",
        ),
        (
            {
                "since_s": at("23:04"),
                "since_min_s": at("23:02"),
                "since_max_s": at("23:06"),
                "until_s": at("23:20"),
            },
            "Was silent from some time between 23:02 and 23:06 to 23:20 UTC (about 16 min)",
        ),
    ],
)
def test_times_are_told_as_exactly_as_they_are_known(values: dict[str, int], time: str) -> None:
    text = describe_brief(changed(SILENT, limit=None, **values), NOW)
    assert text.partition(":no")[0].partition(": no")[0] == time


def test_without_a_day_to_compare_with_every_time_has_its_date() -> None:
    finding = changed(SILENT, limit=None, until_s=at("23:40"))
    assert describe_finding(finding, 0) == (
        "Was silent on 30 Nov 2026 from 23:12 to 23:40 UTC (28 min): no log lines arrived."
    )


# --- changes and codes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change(SINCE - 20, "release", "v57"), "Right after release v57."),
        (Change(SINCE + 20, "release", "v57"), "Right after release v57."),
        (Change(SINCE - 45, "release", "v57"), "One minute after release v57."),
        (Change(SINCE - 150, "rollback", "v56"), "2 minutes after a rollback to v56."),
        (
            Change(SINCE, "deploy", "edab52188a2b6f1f0e6a7cd22acbd1e3f5b09f54"),
            "Right after a deploy (edab521).",
        ),
        (Change(SINCE, "config", "unset A, B"), "Right after a config change (unset A, B)."),
        (
            Change(SINCE, "scale", "web@4:Standard-1X worker@1:Basic"),
            "Right after scaling to web=4, worker=1.",
        ),
        (
            Change(SINCE, "addon", "attach DATABASE"),
            "Right after an add-on change (attach DATABASE).",
        ),
        (Change(SINCE, "restart", "was up"), "Right after a restart."),
        (Change(SINCE, "restart", "web.4"), "Right after a restart of web.4."),
    ],
)
def test_a_change_is_named_and_its_distance(change: Change, text: str) -> None:
    summary = describe_finding(changed(SILENT, after=change), NOW)
    assert summary.endswith(f"unusual. {text}")


def test_the_parts_of_one_change_are_told_together() -> None:
    change = Change(SINCE, "release", "v3", (("deploy", "edab521"), ("addon", "attach REDIS")))
    assert describe_change(change) == (
        "release v3, a deploy (edab521) and an add-on change (attach REDIS)"
    )


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("H12", "H12 (request timeout)"),
        ("H33", "H33 (HTTP/2 stream broken)"),
        ("H32", "H32 (TLS certificate mismatch)"),
        ("H98", "H98"),
    ],
)
def test_a_code_is_explained_once(code: str, text: str) -> None:
    assert code_in_words(code) == text


@pytest.mark.parametrize("state", ["unknown", "maintenance", "unreadable", "silent", "idle"])
def test_every_state_has_a_summary_of_its_own(state: State) -> None:
    """Even without figures of the app, the first words name the state."""
    kinds = {
        "unknown": "incomplete", "maintenance": "maintenance", "unreadable": "unreadable",
        "silent": "silent", "idle": "asleep",
    }  # fmt: skip
    summary = summarize(state, [Finding(kinds[state], state, SINCE)], NOW)
    assert state in summary.partition(":")[0].lower()
