"""Completes a finding: its dynos, the change before it, and reasons that are ruled out."""

from __future__ import annotations

import msgspec

from app.judgement.changes import find_change
from app.judgement.reasons import find_not_reasons
from app.judgement.verdict import Finding
from app.judgement.who import find_affected
from app.judgement.window import Window
from app.rollup.resolutions import HOUR_S, MINUTE_S

AFTER_S = 15 * MINUTE_S  # in which events may still arrive that came before
FRESH_S = HOUR_S  # the history reaches back to before its begin


def add_context(window: Window, finding: Finding) -> Finding:
    """Return an open finding with its dynos, its change and `not_reasons`, as known by now.

    They are sought while the finding is fresh, and then stay. A change is soon known, or never.
    """
    age_s = window.end_s - finding.since_s
    if finding.reason == "leak":  # it is found only after an hour or more
        age_s -= HOUR_S
    values: dict[str, object] = {}
    if finding.after is None and age_s <= max(AFTER_S, 2 * finding.resolution_s):
        values["after"] = find_change(window, finding)
    if age_s <= max(FRESH_S, 2 * finding.resolution_s):
        outliers = find_affected(window, finding)
        if outliers.dynos or not finding.dynos:
            values |= outliers._asdict()
        values["not_reasons"] = find_not_reasons(window, finding)
    return msgspec.structs.replace(finding, **values)
