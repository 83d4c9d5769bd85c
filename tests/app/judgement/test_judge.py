"""What the judge of an app says, minute by minute."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from app.judgement.facts import AppProfile, Interval, TypeFacts, Usual
from app.judgement.judge import WARM_UP_S, Judge
from app.judgement.verdict import Episode, Verdict
from app.rollup.events import EventKey
from app.rollup.resolutions import DAY_S, MINUTE_S
from app.rollup.sketch import bin_of
from tests.app.judgement.scenes import PROFILE, USUAL, at, event, minute, until

BEGIN_S = at("09:00")


def judge_all(judge: Judge, intervals: Sequence[Interval], usual: Usual = USUAL) -> list[Verdict]:
    return [judge.advance(interval, usual) for interval in intervals]


def minutes(count: int, course: object = minute) -> list[Interval]:
    return [course(BEGIN_S + n * MINUTE_S) for n in range(count)]  # type: ignore[operator]


def all_failing(start_s: int) -> Interval:
    return minute(start_s, 40, 40)


def test_a_quiet_app_is_ok_and_nobody_knows_since_when() -> None:
    verdict = judge_all(Judge(PROFILE), minutes(30))[-1]
    assert (verdict.state, verdict.since_s, verdict.findings) == ("ok", 0, ())
    assert verdict.judged_s == BEGIN_S + 30 * MINUTE_S


def test_an_outage_is_found_dated_and_over() -> None:
    course = until("10:20", minute, until("10:00", all_failing, minute))
    judge = Judge(PROFILE)
    verdicts = {verdict.judged_s: verdict for verdict in judge_all(judge, minutes(120, course))}
    assert verdicts[at("10:00")].state == "ok"
    assert verdicts[at("10:02")].state == "down"
    assert abs(verdicts[at("10:02")].since_s - at("10:00")) <= 30
    assert verdicts[at("10:24")].state == "down", "five quiet minutes are needed"
    assert verdicts[at("10:25")].state == "ok"
    assert verdicts[at("10:25")].since_s == at("10:20")
    (episode,) = judge.take_ended()
    assert episode.finding.count == 20 * 40
    assert episode.finding.until_s == at("10:20")


def test_an_outage_within_a_minute_is_told_by_the_newest_minute() -> None:
    def course(start_s: int) -> Interval:
        return minute(start_s, 40, 24 if start_s == at("10:00") else 40)

    judged = judge_all(Judge(PROFILE), minutes(62, until("10:00", course)))
    assert judged[-1].summary.startswith("Down since 10:00 UTC (2 min): every request fails")


def test_the_worst_finding_makes_the_state() -> None:
    def course(start_s: int) -> Interval:
        web, api = TypeFacts(100, 20), TypeFacts(50, 50)
        return Interval(start_s, types={"api": api, "web": web}, messages=150)

    verdict = judge_all(Judge(PROFILE), [*minutes(60), *minutes(63, course)[60:]])[-1]
    assert verdict.state == "down"
    assert [finding.process_type for finding in verdict.findings] == ["api", "web"]
    assert [finding.state for finding in verdict.findings] == ["down", "degraded"]


def test_missing_dynos_are_one_finding_and_not_two() -> None:
    def course(start_s: int) -> Interval:
        return minute(start_s, 40, 40, codes={("web.", "H10"): 40})

    verdict = judge_all(Judge(PROFILE), minutes(120, until("10:00", course)))[-1]
    assert [finding.kind for finding in verdict.findings] == ["no_dyno"]
    assert verdict.findings[0].code == "H10"


def test_an_outage_that_begins_and_ends_within_a_minute_is_one_finding() -> None:
    def course(start_s: int) -> Interval:
        dead = {at("10:00"): 30, at("10:09"): 1}.get(start_s, 40)
        dead = dead if at("10:00") <= start_s <= at("10:09") else 0
        return minute(start_s, 40, dead, codes={("web.", "H10"): dead} if dead else {})

    judge = Judge(PROFILE)
    verdicts = {verdict.judged_s: verdict for verdict in judge_all(judge, minutes(100, course))}
    for end_s in range(at("10:02"), at("10:14"), MINUTE_S):
        (finding,) = verdicts[end_s].findings
        assert (finding.kind, finding.since_s) == ("no_dyno", at("10:00:15"))
    assert [episode.finding.kind for episode in judge.take_ended()] == ["no_dyno"]
    assert verdicts[at("10:40")].state == "ok"


def test_after_an_outage_a_single_failure_is_no_new_problem() -> None:
    def outage(start_s: int) -> Interval:
        return minute(start_s, 40, 40, codes={("web.", "H10"): 40})

    def recovered(start_s: int) -> Interval:
        return minute(start_s, 40, int(start_s == at("10:40")))

    course = until("10:10", recovered, until("10:00", outage))
    judge = Judge(PROFILE)
    verdicts = {verdict.judged_s: verdict for verdict in judge_all(judge, minutes(120, course))}
    assert verdicts[at("10:10")].findings[0].kind == "no_dyno"
    assert verdicts[at("10:41")].state == "ok"
    assert verdicts[at("10:41")].since_s == at("10:10")


def test_a_leak_names_the_release_at_the_start_of_the_dyno() -> None:
    def leaking(start_s: int) -> Interval:
        interval = minute(start_s)
        ratio = 0.5 + max(start_s - at("09:30"), 0) / 36_000
        dyno = interval.dynos["web.2"]._replace(memory_ratio=ratio)
        events = (event("09:30", "release", "", "v31"), event("09:31", "up", "web.2"))
        return interval._replace(
            dynos={**interval.dynos, "web.2": dyno},
            events=events if start_s == at("09:30") else (),
        )

    verdict = judge_all(Judge(PROFILE), minutes(150, leaking))[-1]
    (finding,) = verdict.findings
    assert (finding.reason, finding.dynos) == ("leak", ("web.2",))
    assert finding.after and finding.after.detail == "v31"
    assert "10 minutes after release v31." in verdict.summary, "a note says it too"


def test_after_a_deploy_the_figures_are_those_since() -> None:
    events = (event("09:57", "release", "", "v9"), event("09:57:20", "up", "web.1"))

    def deploying(start_s: int) -> Interval:
        interval = minute(start_s, 100, 30 if start_s == at("09:57") else 0)
        own = tuple(e for e in events if start_s <= e.at_ms // 1000 < interval.end_s)
        return interval._replace(events=own)

    judge = Judge(PROFILE)
    verdicts = {verdict.judged_s: verdict for verdict in judge_all(judge, minutes(62, deploying))}
    assert "30 requests failed meanwhile" in verdicts[at("09:58")].summary
    assert "none failed" in verdicts[at("10:01")].summary


def test_a_problem_that_has_just_stopped_is_not_told_as_present() -> None:
    course = until("10:20", minute, until("10:00", all_failing, minute))
    judged = judge_all(Judge(PROFILE), minutes(120, course))
    verdicts = {verdict.judged_s: verdict for verdict in judged}
    assert verdicts[at("10:21")].summary.startswith(
        "Down since 10:00 UTC (21 min): every request fails"
    )
    assert verdicts[at("10:23")].summary.startswith(
        "Down since 10:00 UTC (23 min), last at 10:20 UTC: every request failed"
    )


def test_crashes_of_an_outage_end_as_one_episode_with_it() -> None:
    def crashing(start_s: int) -> Interval:
        crashes = (event("10:00:05", "crash", "web.1"), event("10:08", "crash", "web.1"))
        events = (*crashes, event("10:11:50", "up", "web.1"))
        return minute(start_s, 40, 40, dynos={}, codes={("web.", "H10"): 40})._replace(
            events=tuple(one for one in events if start_s <= one.at_ms // 1000 < start_s + 60)
        )

    judge = Judge(PROFILE)
    course = until("10:12", minute, until("10:00", crashing, minute))
    judge_all(judge, minutes(150, course))
    (episode,) = judge.take_ended()
    assert episode.finding.kind == "no_dyno"
    assert "crashed" in episode.summary
    assert "2 times" in episode.summary or "twice" in episode.summary


def test_requests_without_dynos_are_no_failures_once_the_app_is_scaled_up_again() -> None:
    down, up = event("10:00", "scale", "", "web@0:Basic"), event("10:40", "up", "web.1")

    def course(start_s: int) -> Interval:
        if at("10:00") <= start_s < at("10:40"):
            interval = minute(start_s, 4, 4, dynos={}, codes={("web.", "H14"): 4})
        else:
            interval = minute(start_s, 4, int(start_s == at("10:41")))
        return interval._replace(
            events=tuple(one for one in (down, up) if one.at_ms == start_s * 1000)
        )

    states = {
        verdict.judged_s: verdict.state
        for verdict in judge_all(Judge(PROFILE), minutes(120, course))
    }
    assert states[at("10:30")] == "idle"
    assert {states[at_s] for at_s in range(at("10:41"), at("11:00"), 60)} == {"ok"}


def test_a_preview_changes_nothing() -> None:
    first, second = Judge(PROFILE), Judge(PROFILE)
    for interval in minutes(70, until("10:00", all_failing)):
        preview = first.preview(interval._replace(types={}), USUAL)
        assert preview.judged_s == interval.end_s
        exact = first.preview(interval, USUAL)
        assert first.advance(interval, USUAL) == exact == second.advance(interval, USUAL)


def test_an_hour_at_a_time_is_judged_too() -> None:
    usual = Usual(30 * DAY_S, failed_share={"web": 0.001}, heard_share=1.0)
    hours = [
        minute(at("00:00") + hour * 3600, 6000, 3000 if hour == 8 else 6)._replace(length_s=3600)
        for hour in range(12)
    ]
    judge = Judge(PROFILE)
    verdicts = judge_all(judge, hours, usual)
    assert [verdict.state for verdict in verdicts[:8]] == ["ok"] * 8
    (finding,) = verdicts[8].findings
    assert (finding.resolution_s, finding.certainty) == (3600, "likely")
    assert finding.since_min_s <= at("08:00") + 60
    assert finding.since_max_s >= at("08:00")
    assert verdicts[9].state == "ok"


class History:
    """A random history: bad times of several kinds, thin and dense traffic, gaps."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.rate = self.rng.choice((2, 20, 100))
        self.usual = Usual(30 * DAY_S, failed_share={"web": 0.005}, heard_share=1.0)

    def minutes(self, count: int) -> list[Interval]:
        intervals = []
        share, factor = 0.005, 1
        for n in range(count):
            if self.rng.random() < 0.03:
                share = self.rng.choice((0.005, 0.005, 0.1, 0.5, 1.0))
                factor = self.rng.choice((1, 1, 4))
            if self.rng.random() < 0.02:
                continue
            types = {name: self._facts(share, factor) for name in ("api", "web")}
            start_s = BEGIN_S + n * MINUTE_S
            events: tuple[EventKey, ...] = ()
            if self.rng.random() < 0.03:
                kind = self.rng.choice(("crash", "up", "restart", "down"))
                events = (event("09:00", kind, "web.1")._replace(at_ms=start_s * 1000 + 5000),)
            intervals.append(Interval(start_s, types=types, messages=self.rate, events=events))
        return intervals

    def _facts(self, share: float, factor: int) -> TypeFacts:
        requests = self.rng.randrange(2 * self.rate)
        failed = sum(self.rng.random() < share for _ in range(requests))
        times: dict[int, int] = {}
        for _ in range(requests - failed):
            index = bin_of(int(self.rng.lognormvariate(5, 0.5) * factor))
            times[index] = times.get(index, 0) + 1
        return TypeFacts(requests, failed, times)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(WARM_UP_S // MINUTE_S, 200))
def test_a_judge_that_continues_another_one_says_the_same(seed: int, position: int) -> None:
    history = History(seed)
    intervals = history.minutes(220)
    judge = Judge(PROFILE)
    expected = judge_all(judge, intervals, history.usual)
    first = Judge(PROFILE)
    verdicts = judge_all(first, intervals[:position], history.usual)
    episodes: list[Episode] = first.take_ended()
    second = Judge(PROFILE, first.open_findings)
    now_s = intervals[position - 1].end_s
    for interval in intervals[:position]:
        if interval.start_s >= now_s - WARM_UP_S:
            second.advance(interval, history.usual, is_past=True)
    verdicts += judge_all(second, intervals[position:], history.usual)
    episodes += second.take_ended()
    assert verdicts == expected
    assert episodes == judge.take_ended()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_process_types_does_not_matter(seed: int) -> None:
    history = History(seed)
    intervals = history.minutes(150)
    reverse = [
        interval._replace(types=dict(reversed([*interval.types.items()]))) for interval in intervals
    ]
    expected = judge_all(Judge(PROFILE), intervals, history.usual)
    assert judge_all(Judge(PROFILE), reverse, history.usual) == expected


def test_an_app_is_named_in_its_verdict() -> None:
    assert Judge(AppProfile("blog")).advance(minute(BEGIN_S), USUAL).app == "blog"
