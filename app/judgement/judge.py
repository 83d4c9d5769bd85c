"""The judge of one app: intervals go in, one after the other, and verdicts come out.

Pure: no clock, no I/O. The same intervals give the same verdicts, in every process and at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import msgspec

from app.judgement.context import add_context
from app.judgement.detectors.crash_loops import detect_crash_loops
from app.judgement.detectors.idle import detect_idle
from app.judgement.detectors.incomplete import detect_incomplete
from app.judgement.detectors.maintenance import detect_maintenance
from app.judgement.detectors.memory import detect_memory
from app.judgement.detectors.restarts import detect_restart, find_excuse
from app.judgement.detectors.silence import detect_silence
from app.judgement.detectors.unreadable import detect_unreadable
from app.judgement.facts import AppProfile, Interval, Usual
from app.judgement.failing import detect_failing
from app.judgement.formation import WEB
from app.judgement.incidents import JOIN_S, Incidents
from app.judgement.latency import detect_slow
from app.judgement.no_dyno import detect_no_dyno
from app.judgement.verdict import STATES, Episode, Finding, Verdict, worst_state
from app.judgement.window import WINDOW_S, Symptom, Window
from app.judgement.wording import summarize

# A judge needs so much of the past to judge as one that saw it all.
WARM_UP_S = WINDOW_S

_NORMAL_S = 15 * 60  # of which the figures of an app that is all right are

# Each finds one kind of problem at the end of the newest interval.
DETECTORS: tuple[Callable[[Window, Usual], list[Symptom]], ...] = (
    detect_failing,
    detect_no_dyno,
    detect_slow,
    detect_crash_loops,
    detect_memory,
    detect_silence,
    detect_idle,
    detect_maintenance,
    detect_unreadable,
    detect_incomplete,
    detect_restart,
)


class Judge:
    """Judges one app, interval by interval.

    A judge that continues for another one gets its `open_findings`, and is shown WARM_UP_S of
    intervals before it with `is_past=True`.
    """

    def __init__(self, profile: AppProfile, open_findings: Sequence[Finding] = ()) -> None:
        self._profile = profile
        self._window = Window(profile)
        self._incidents = Incidents(open_findings)
        self._episodes: list[Episode] = []

    def advance(self, interval: Interval, usual: Usual, *, is_past: bool = False) -> Verdict:
        """Judge the app at the end of the next interval.

        A gap between two intervals means that nothing was heard in it. With `is_past`, the
        interval only becomes known: findings stay as they are.
        """
        window = self._window
        window.findings = self._incidents.findings
        window.add(interval)
        if find_excuse(window):
            window.excuse_last()
        if not is_past:
            symptoms = list(chain.from_iterable(detect(window, usual) for detect in DETECTORS))
            symptoms = _unite_outages(_without_explained(symptoms), window)
            self._incidents.advance(symptoms, window)
            self._incidents.complete(lambda finding: add_context(window, finding))
            self._end_episodes()
        verdict = self._verdict()
        window.forget_spans()
        return verdict

    def preview(self, interval: Interval, usual: Usual) -> Verdict:
        """Judge the next interval as `advance` does, without going on to it."""
        judge = Judge(self._profile, self._incidents.findings)
        judge._window = self._window.copy()
        return judge.advance(interval, usual)

    def begin_earlier(self, earlier: Sequence[Finding]) -> None:
        """Let findings begin with those of `earlier`: the open ones of the time before."""
        self._incidents.begin_earlier(earlier)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that last, and those that ended in the last hours; also the last of all.

        Those that ended have `until_s`.
        """
        return self._incidents.findings

    def take_ended(self) -> list[Episode]:
        """The findings that have ended for good since the last call."""
        episodes, self._episodes = self._episodes, []
        return episodes

    def _end_episodes(self) -> None:
        """Keep what has ended. Crashes in an outage are told with it, as one incident."""
        findings = self._incidents.findings
        for ended in self._incidents.take_ended():
            if any(_belong(ended, outage) for outage in findings):
                continue
            crashes = [finding for finding in findings if _belong(finding, ended)]
            summary = summarize(ended.state, [ended, *crashes], ended.until_s)
            self._episodes.append(Episode(ended, summary))

    def _verdict(self) -> Verdict:
        judged_s = self._window.end_s
        findings = sorted(
            (finding for finding in self._incidents.findings if not finding.until_s),
            key=lambda finding: (STATES.index(finding.state), finding.since_s, finding.id),
        )
        state = worst_state(finding.state for finding in findings)
        since_s = (
            findings[0].since_s
            if state != "ok"
            else max(
                (finding.until_s for finding in self._incidents.findings if finding.state != "ok"),
                default=0,
            )
        )
        return Verdict(
            self._profile.app,
            state,
            since_s,
            0,
            judged_s,
            summarize(state, findings, judged_s, self._normal_intervals(findings)),
            tuple(findings),
            is_complete=not any(finding.kind == "incomplete" for finding in findings),
        )

    def _normal_intervals(self, findings: Sequence[Finding]) -> Sequence[Interval]:
        """The intervals whose figures tell of an app that is all right.

        A restart that is over failed requests; what is told is how the app is since.
        """
        intervals = self._window.over(_NORMAL_S)
        if any(finding.kind == "restart" for finding in findings):
            return intervals
        excused_s = self._window.excused_s
        return [
            interval for interval in intervals if interval.start_s not in excused_s
        ] or intervals


def _belong(crashes: Finding, outage: Finding) -> bool:
    """Whether crashes are those of an outage: both begin, and end if they do, at about one time."""
    if crashes.kind != "crash_loop" or outage.kind not in ("failing", "no_dyno"):
        return False
    return (
        crashes.process_type == outage.process_type == WEB
        and bool(crashes.until_s)
        and outage.since_s - JOIN_S < crashes.since_s
        and (not outage.until_s or crashes.until_s < outage.until_s + JOIN_S)
    )


def _without_explained(symptoms: Sequence[Symptom]) -> list[Symptom]:
    """Leave out requests that fail because the owner scaled the app to zero."""
    is_scaled = any(
        symptom.reason == "scaled" and symptom.process_type in ("", WEB) for symptom in symptoms
    )
    return [
        symptom
        for symptom in symptoms
        if not (is_scaled and symptom.kind in ("failing", "no_dyno"))
    ]


def _unite_outages(symptoms: Sequence[Symptom], window: Window) -> list[Symptom]:
    """Make one problem of failing web requests and the missing dynos that explain them.

    The finding that began first goes on. If both begin now, the missing dynos say more.
    """
    missing = next((symptom for symptom in symptoms if symptom.kind == "no_dyno"), None)
    if missing is None:
        return [*symptoms]
    failing = next(filter(_is_web_failing, symptoms), None)
    others = [symptom for symptom in symptoms if symptom is not missing and symptom is not failing]
    if window.open_finding("no_dyno", WEB) or not window.open_finding("failing", WEB):
        return [*others, missing]
    failing = failing or msgspec.structs.replace(missing, kind="failing", reason="")
    if missing.code:  # every request fails now, whatever came before
        failing = msgspec.structs.replace(failing, value=missing.value, window_s=missing.window_s)
    return [*others, msgspec.structs.replace(failing, state="down")]


def _is_web_failing(symptom: Symptom) -> bool:
    return symptom.kind == "failing" and symptom.process_type == WEB
