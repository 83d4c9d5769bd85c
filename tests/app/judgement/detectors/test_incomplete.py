"""When so much is lost that nothing can be said."""

from __future__ import annotations

from app.judgement.detectors.incomplete import detect_incomplete
from app.judgement.facts import Interval
from app.judgement.window import Window
from tests.app.judgement.scenes import USUAL, at, minute, until, window_of


def lossy(lost: int, failed: int = 0):  # type: ignore[no-untyped-def]
    def build(start_s: int) -> Interval:
        return minute(start_s, 100, failed, lost=lost, codes={("", "L10"): 1})

    return build


def state(window: Window) -> str:
    return "".join(symptom.state for symptom in detect_incomplete(window, USUAL))


def test_a_loss_of_some_lines_is_a_note_with_their_number() -> None:
    window = window_of("10:00", "11:00", until("10:58", lossy(50)))
    (symptom,) = detect_incomplete(window, USUAL)
    assert (symptom.state, symptom.count, symptom.code) == ("ok", 100, "L10")
    assert symptom.since_s == at("10:58")


def test_a_loss_of_most_lines_leaves_the_state_unknown() -> None:
    assert state(window_of("10:00", "11:00", until("10:55", lossy(150)))) == "unknown"


def test_a_loss_cannot_change_that_most_requests_fail() -> None:
    assert state(window_of("10:00", "11:00", until("10:55", lossy(60, failed=100)))) == "ok"
    assert state(window_of("10:00", "11:00", until("10:55", lossy(150, failed=100)))) == "unknown"


def test_lines_that_wait_leave_the_state_unknown_unless_most_known_requests_fail() -> None:
    def delayed(start_s: int) -> Interval:
        return minute(start_s)._replace(is_complete=False)

    window = window_of("10:00", "11:00", until("10:58", delayed))
    (symptom,) = detect_incomplete(window, USUAL)
    assert (symptom.state, symptom.reason, symptom.since_s) == ("unknown", "delayed", at("10:58"))

    def delayed_and_failing(start_s: int) -> Interval:
        return minute(start_s, 100, 90)._replace(is_complete=False)

    assert state(window_of("10:00", "11:00", until("10:55", delayed_and_failing))) == "ok"


def test_a_loss_that_is_over_is_told_no_longer() -> None:
    minutes = until("10:40", until("10:50", minute, lossy(500)))
    assert state(window_of("10:00", "11:00", minutes)) == ""
