"""When findings begin, end, and are one."""

from __future__ import annotations

from collections.abc import Iterable

from app.judgement.incidents import Incidents
from app.judgement.verdict import Finding
from app.judgement.window import Symptom, Window
from app.rollup.resolutions import MINUTE_S
from tests.app.judgement.scenes import PROFILE, at, minute


class Course:
    """Minutes from noon on, with or without a symptom."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self.incidents = Incidents(tuple(findings))
        self.window = Window(PROFILE)
        self.start_s = at("12:00")

    def add(self, minutes: int, *symptoms: Symptom, requests: int = 100) -> None:
        for _ in range(minutes):
            self.window.findings = self.incidents.findings
            self.window.add(minute(self.start_s, requests))
            self.incidents.advance(symptoms, self.window)
            self.start_s += MINUTE_S

    @property
    def finding(self) -> Finding:
        (finding,) = self.incidents.findings
        return finding


def bad(since: str = "12:00", state: str = "degraded", **fields: object) -> Symptom:
    fields = {"kind": "failing", "process_type": "web", "value": 0.1, "usual": 0.0} | fields
    return Symptom(state=state, since_s=at(since), **fields)  # type: ignore[arg-type]


def test_a_symptom_makes_a_finding_that_keeps_its_begin() -> None:
    course = Course()
    course.add(1, bad("11:59"))
    course.add(9, bad("12:01"))
    assert course.finding.since_s == at("11:59")
    assert course.finding.latest_s == at("12:10")
    assert course.finding.until_s == 0


def test_five_quiet_minutes_end_it() -> None:
    course = Course()
    course.add(10, bad())
    course.add(4)
    assert course.finding.until_s == 0
    course.add(1)
    assert course.finding.until_s == at("12:10")


def test_quiet_minutes_with_few_requests_prove_nothing() -> None:
    course = Course()
    course.add(1, bad())
    course.add(6, requests=3)
    assert course.finding.until_s == 0
    course.add(1, requests=3)
    assert course.finding.until_s == at("12:01")


def test_an_hour_ends_it_in_any_case() -> None:
    course = Course()
    course.add(1, bad())
    course.add(59, requests=0)
    assert course.finding.until_s == 0
    course.add(1, requests=0)
    assert course.finding.until_s == at("12:01")


def test_it_goes_on_if_it_comes_again_within_ten_minutes() -> None:
    course = Course()
    course.add(1, bad(count=3))
    course.add(8)
    course.add(1, bad("12:09", count=4))
    assert course.finding.since_s == at("12:00")
    assert course.finding.until_s == 0
    assert course.finding.occurrences == 2
    assert course.finding.count == 7


def test_after_ten_minutes_it_is_another_one() -> None:
    course = Course()
    course.add(1, bad())
    course.add(10)
    course.add(1, bad("12:11"))
    assert [finding.since_s for finding in course.incidents.findings] == [at("12:00"), at("12:11")]


def test_its_state_rises_and_falls_and_its_begin_stays() -> None:
    course = Course()
    course.add(1, bad())
    first_id = course.finding.id
    course.add(1, bad("12:01", "down", value=0.9))
    assert (course.finding.state, course.finding.since_s) == ("down", at("12:00"))
    course.add(1, bad("12:02", value=0.2))
    assert course.finding.state == "degraded"
    assert (course.finding.value, course.finding.worst) == (0.2, 0.9)
    assert course.finding.id == first_id


def test_other_kinds_and_other_process_types_are_other_findings() -> None:
    course = Course()
    course.add(2, bad(), bad(process_type="api"), bad(kind="slow"))
    assert len(course.incidents.findings) == 3


def test_lines_end_a_silence_at_once() -> None:
    course = Course()
    course.add(1, bad(kind="silent", state="silent", process_type=""))
    course.add(1)
    assert course.finding.until_s == at("12:01")


def test_it_is_handed_over_once_it_cannot_go_on() -> None:
    course = Course()
    course.add(1, bad())
    course.add(14)
    assert course.incidents.take_ended() == []
    course.add(1)
    (finding,) = course.incidents.take_ended()
    assert finding.until_s == at("12:01")
    course.add(1)
    assert course.incidents.take_ended() == []


def test_a_successor_hands_over_what_its_predecessor_did_not() -> None:
    course = Course()
    course.add(1, bad())
    course.add(14)
    successor = Course(course.incidents.findings)
    successor.start_s = course.start_s
    successor.add(1)
    assert len(successor.incidents.take_ended()) == 1
    third = Course(successor.incidents.findings)
    third.start_s = successor.start_s
    third.add(5)
    assert third.incidents.take_ended() == []


def test_findings_of_coarse_intervals_are_likely() -> None:
    course = Course()
    course.window.add(minute(at("12:00"))._replace(length_s=600))
    course.incidents.advance([bad()], course.window)
    assert course.finding.certainty == "likely"
    assert course.finding.resolution_s == 600
