"""What the API and `status --json` say of a verdict, field by field."""

from __future__ import annotations

import json

from app.judgement.verdict import Change, Episode, Finding, Verdict
from app.verdicts.public_fields import episode_fields, verdict_fields
from app.web.api.verdicts import VerdictBody

SINCE_S = 1_795_339_800  # 09:30 UTC
FAILING = Finding(
    kind="failing",
    state="degraded",
    since_s=SINCE_S,
    since_min_s=SINCE_S,
    since_max_s=SINCE_S + 60,
    process_type="web",
    dynos=("web.3",),
    who="dyno",
    code="H12",
    value=0.09,
    window_s=300,
    usual=0.001,
    limit=0.02,
    worst=0.11,
    count=106,
    after=Change(SINCE_S - 10, "release", "v57", (("config", "set STRIPE_KEY"),)),
    not_reasons=("memory", "load"),
)
VERDICT = Verdict(
    app="shop",
    state="degraded",
    since_s=SINCE_S,
    until_s=0,
    judged_s=SINCE_S + 1800,
    summary="Failing since 09:30 UTC (30 min): 9 % of requests end with H12.",
    findings=(FAILING,),
)
WHO = {"process_type": "web", "dyno": "web.3", "dynos": ["web.3"], "scope": "dyno"}
CAUSE = {
    "time": SINCE_S - 10,
    "kind": "release",
    "detail": "v57",
    "actions": [{"kind": "config", "detail": "set STRIPE_KEY"}],
}


def test_a_verdict_has_the_documented_fields_and_repeats_its_worst_finding() -> None:
    fields = verdict_fields(VERDICT)
    (finding,) = fields.pop("findings")
    assert fields == {
        "app": "shop",
        "state": "degraded",
        "since": SINCE_S,
        "until": None,
        "summary": VERDICT.summary,
        "who": WHO,
        "cause": CAUSE,
        "complete": True,
        "judged_until": SINCE_S + 1800,
    }
    summary = finding.pop("summary")
    assert summary.endswith(".")
    assert finding == {
        "kind": "failing",
        "state": "degraded",
        "since": SINCE_S,
        "since_earliest": SINCE_S,
        "since_latest": SINCE_S + 60,
        "until": None,
        "who": WHO,
        "what": {
            "code": "H12",
            "metric": None,
            "value": 0.09,
            "window_s": 300,
            "usual": 0.001,
            "limit": 0.02,
            "worst": 0.11,
            "count": 106,
            "exit_status": None,
            "full_at": None,
            "up_since": None,
            "reason": "",
        },
        "after": CAUSE,
        "not": ["memory", "load"],
        "certainty": "certain",
        "occurrences": 1,
        "resolution_s": 60,
    }


def test_an_app_without_findings_has_nobody_affected_and_no_cause() -> None:
    fields = verdict_fields(Verdict("shop", "ok", 0, 0, SINCE_S, "All normal."))
    assert (fields["since"], fields["who"], fields["cause"]) == (None, None, None)
    assert fields["findings"] == []


def test_an_episode_keeps_the_words_that_it_was_told_in() -> None:
    fields = episode_fields(Episode(FAILING, "As it was told at three in the morning."))
    assert fields["summary"] == "As it was told at three in the morning."
    assert fields["kind"] == "failing"


def test_the_api_describes_every_field_and_only_those() -> None:
    fields = json.loads(json.dumps(verdict_fields(VERDICT)))
    assert VerdictBody.model_validate(fields).model_dump(by_alias=True, mode="json") == fields
