"""When a lack of lines is silence, and when it is expected."""

from __future__ import annotations

import pytest

from app.judgement.detectors.idle import detect_idle
from app.judgement.detectors.silence import detect_silence, silence_limit_min
from app.judgement.facts import AppProfile, Interval, Usual
from app.judgement.verdict import Finding
from app.judgement.window import Symptom, Window
from app.rollup.resolutions import DAY_S
from tests.app.judgement.scenes import NEW, PROFILE, USUAL, at, event, minute, until, window_of

QUIET_FROM_NOON = until("12:00")
SCALED_DOWN = (event("12:00:00", "scale", "", "web@0:Basic"),)


def usual(heard_share: float) -> Usual:
    return USUAL._replace(heard_share=heard_share)


def symptoms(window: Window, usual: Usual = USUAL) -> list[tuple[str, str, str]]:
    """Kind, reason, and the time of day at which it began."""
    found: list[Symptom] = [*detect_silence(window, usual), *detect_idle(window, usual)]
    return [
        (one.kind, one.reason, f"{(one.since_s - at('00:00')) // 3600:02d}:"
         f"{(one.since_s - at('00:00')) // 60 % 60:02d}")
        for one in found
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "minutes"), [(1.0, 5), (0.999, 5), (0.9, 6), (0.5, 20), (2 / 60, 408)]
)
def test_the_limit_follows_from_how_often_lines_come(share: float, minutes: int) -> None:
    assert silence_limit_min(share) == minutes


def test_an_app_of_which_lines_are_rare_never_has_a_limit_within_a_day() -> None:
    assert silence_limit_min(0) > 24 * 60


@pytest.mark.parametrize(("end", "is_silent"), [("12:05", False), ("12:06", True)])
def test_silence_begins_with_its_limit(end: str, is_silent: bool) -> None:
    window = window_of("10:00", end, QUIET_FROM_NOON)
    assert [one.kind for one in detect_silence(window, usual(0.9))] == ["silent"] * is_silent


def test_silence_says_since_when_how_long_and_how_long_is_usual() -> None:
    (symptom,) = detect_silence(window_of("10:00", "12:10", QUIET_FROM_NOON), usual(0.9))
    assert (symptom.state, symptom.since_s) == ("silent", at("12:00"))
    assert (symptom.value, symptom.limit, symptom.usual) == (10, 6, 0.9)


def test_an_app_with_lines_is_neither_silent_nor_idle() -> None:
    assert symptoms(window_of("10:00", "12:00")) == []


@pytest.mark.parametrize("lines", [Interval(0, messages=3), Interval(0, unparsed=3)])
def test_lines_without_metrics_and_unreadable_ones_are_no_silence(lines: Interval) -> None:
    def some_lines(start_s: int) -> Interval:
        return lines._replace(start_s=start_s)

    assert symptoms(window_of("10:00", "12:30", until("12:00", some_lines))) == []


def test_minutes_that_wait_to_be_counted_are_no_silence() -> None:
    def delayed(start_s: int) -> Interval:
        return Interval(start_s, is_complete=False)

    assert symptoms(window_of("10:00", "12:30", until("12:00", delayed))) == []


def test_an_app_without_a_day_of_history_is_idle_instead() -> None:
    window = window_of("10:00", "12:06", QUIET_FROM_NOON)
    assert symptoms(window, NEW) == [("asleep", "new", "12:00")]


def test_a_new_app_with_few_lines_is_idle_only_after_half_an_hour() -> None:
    def rare(start_s: int) -> Interval:
        return Interval(start_s, messages=int(start_s % 600 == 0))

    assert symptoms(window_of("10:00", "12:20", until("12:00", before=rare)), NEW) == []


@pytest.mark.parametrize(
    "profile", [PROFILE._replace(is_review_app=True), PROFILE._replace(is_live=False)]
)
def test_a_review_app_and_a_replayed_file_are_never_silent(profile: AppProfile) -> None:
    window = window_of("10:00", "12:40", QUIET_FROM_NOON, profile=profile)
    assert symptoms(window) == [("asleep", "quiet", "12:00")]


def test_an_app_of_which_few_lines_are_expected_is_idle_after_half_an_hour() -> None:
    assert symptoms(window_of("10:00", "12:29", QUIET_FROM_NOON), usual(0.05)) == []
    window = window_of("10:00", "12:30", QUIET_FROM_NOON)
    assert symptoms(window, usual(0.05)) == [("asleep", "quiet", "12:00")]


def test_a_silence_longer_than_the_window_is_known_by_its_finding() -> None:
    silent = Finding("silent", "silent", at("06:00"))
    window = window_of("10:00", "13:00", Interval, findings=(silent,))
    assert symptoms(window) == [("silent", "", "06:00")]
    idle = Finding("asleep", "idle", at("06:00"), reason="quiet")
    window = window_of("10:00", "13:00", Interval, findings=(idle,))
    assert symptoms(window, usual(2 / 60)) == [("silent", "", "06:00")]


# --- asleep on purpose --------------------------------------------------------------------------


@pytest.mark.parametrize(("detail", "reason"), [("", "sleep"), ("quota exhausted", "hours")])
def test_an_eco_dyno_that_idles_is_asleep(detail: str, reason: str) -> None:
    events = (event("12:00", "idle", "web.1", detail), event("12:00:05", "down", "web.1"))
    window = window_of("10:00", "12:20", until("12:01"), events)
    assert symptoms(window) == [("asleep", reason, "12:00")]


def test_an_eco_dyno_that_woke_up_is_not_asleep() -> None:
    events = (event("12:00", "idle", "web.1"), event("12:30", "unidle", "web.1"))
    window = window_of("10:00", "12:33", until("12:01", until("12:30", minute, Interval)), events)
    assert symptoms(window) == []


def test_a_sleep_that_began_before_the_window_lasts() -> None:
    asleep = Finding("asleep", "idle", at("03:00"), reason="sleep")
    window = window_of("10:00", "13:00", Interval, findings=(asleep,))
    assert symptoms(window) == [("asleep", "sleep", "03:00")]


def no_dynos(start_s: int) -> Interval:
    return Interval(start_s, messages=4, counted=4, codes={("web.", "H14"): 4})


def test_an_app_that_was_scaled_to_zero_is_asleep_with_its_requests() -> None:
    window = window_of("10:00", "12:20", until("12:00", no_dynos), SCALED_DOWN)
    (symptom,) = detect_idle(window, USUAL)
    assert (symptom.reason, symptom.code, symptom.count) == ("scaled", "H14", 80)


def test_an_app_of_which_workers_go_on_is_scaled_to_no_web_dyno() -> None:
    def worker(start_s: int) -> Interval:
        return minute(start_s, 0, messages=5, dynos={"worker.1": minute(0).dynos["web.1"]})

    (symptom,) = detect_idle(window_of("10:00", "12:20", until("12:00", worker), SCALED_DOWN), NEW)
    assert (symptom.process_type, symptom.reason) == ("web", "scaled")


@pytest.mark.parametrize(
    "resumption",
    [event("12:10", "scale", "", "web@1:Basic"), event("12:10", "up", "web.1")],
    ids=["scale", "up"],
)
def test_an_app_that_is_scaled_up_again_is_silent_if_nothing_comes(resumption: object) -> None:
    events = (*SCALED_DOWN, resumption)
    window = window_of("10:00", "12:40", QUIET_FROM_NOON, events)  # type: ignore[arg-type]
    assert symptoms(window) == [("silent", "", "12:00")]


def test_requests_that_are_answered_end_a_rest() -> None:
    assert symptoms(window_of("10:00", "12:40", minute, SCALED_DOWN)) == []


def test_an_app_of_which_only_workers_were_scaled_to_zero_may_fall_silent() -> None:
    up = (event("11:00", "up", "web.1"), event("11:00", "scale", "", "web@2:Basic worker@0:Basic"))
    assert symptoms(window_of("10:00", "12:40", QUIET_FROM_NOON, up)) == [("silent", "", "12:00")]


def test_dynos_that_all_went_down_are_stopped_and_one_that_crashed_is_silent() -> None:
    down = (event("12:00", "down", "web.1"), event("12:00", "down", "web.2"))
    window = window_of("10:00", "12:20", QUIET_FROM_NOON, down)
    assert symptoms(window) == [("asleep", "stopped", "12:00")]
    crashed = (down[0], event("12:00", "crash", "web.2"))
    window = window_of("10:00", "12:20", QUIET_FROM_NOON, crashed)
    assert symptoms(window) == [("silent", "", "12:00")]


def test_history_counts_from_a_day_on() -> None:
    window = window_of("10:00", "12:20", QUIET_FROM_NOON)
    assert symptoms(window, USUAL._replace(history_s=DAY_S)) == [("silent", "", "12:00")]
    assert symptoms(window, USUAL._replace(history_s=DAY_S - 1)) == [("asleep", "new", "12:00")]


def test_a_silence_that_began_before_all_that_is_known_is_no_news() -> None:
    window = window_of("10:00", "13:00", Interval)
    assert symptoms(window) == [("asleep", "unseen", "11:00")]
    unseen = Finding("asleep", "idle", at("11:00"), reason="unseen")
    later = window_of("10:00", "14:00", Interval, findings=(unseen,))
    assert [kind for kind, _, _ in symptoms(later)] == ["asleep"]


def test_a_silence_that_was_found_goes_on_when_its_begin_has_left_the_window() -> None:
    silent = Finding("silent", "silent", at("08:00"))
    window = window_of("10:00", "13:00", Interval, findings=(silent,))
    assert symptoms(window) == [("silent", "", "08:00")]


def without_dynos(start_s: int) -> Interval:
    return minute(start_s, 4, 4, dynos={}, codes={("web.", "H14"): 4})


def test_an_app_that_had_no_dyno_in_all_the_time_that_is_known_is_scaled_to_zero() -> None:
    window = window_of("10:00", "12:00", without_dynos)
    assert symptoms(window) == [("asleep", "scaled", "10:00")]


@pytest.mark.parametrize(
    "window",
    [
        window_of("10:00", "11:50", without_dynos),
        window_of("10:00", "12:00", until("10:30", without_dynos)),
        window_of(
            "10:00",
            "12:00",
            without_dynos,
            findings=(Finding("no_dyno", "down", at("09:00"), process_type="web"),),
        ),
    ],
    ids=["too little is known", "it had answered", "an outage goes on"],
)
def test_an_app_that_lost_its_dynos_is_not_scaled_to_zero(window: Window) -> None:
    assert symptoms(window) == []
