"""What the reader of an app's page chose, as it stands in the page's address."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode

from app.dashboard.app_page import BASELINES, RANGES, PageRequest
from app.query.selection import Selection
from app.rollup.statuses import OUTCOMES

SORTED_BY = {  # columns of the table of dynos: what they are called in the address -> in Dyno
    "name": "",
    "memory": "memory_bytes",
    "used": "memory_used_ratio",
    "load": "load",
    "requests": "requests",
    "errors": "errors",
    "avg": "avg_ms",
    "max": "max_ms",
    "restarts": "restarts",
    "seen": "last_seen_s",
}
_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]{1,64}")  # of process types and dynos
_TIME = re.compile(r"[A-Za-z0-9:.+ -]{1,40}")


class PageState(NamedTuple):
    """Parameters of /apps/{app}, all of them usable: what is not is left out."""

    range: str = "1h"
    start: str = ""
    end: str = ""
    process_type: str = ""
    dyno: str = ""
    outcome: str = ""
    compare: str = ""
    scale: str = "log"
    sort: str = "name"

    def address(self, app: str, **changes: str) -> str:
        """The page with these changes; parameters at their defaults are left out."""
        changed = self._replace(**changes)
        pairs = zip(self._fields, changed, PageState(), strict=True)
        parameters = {name: value for name, value, default in pairs if value != default}
        return f"/apps/{app}" + (f"?{urlencode(parameters)}" if parameters else "")

    def others(self, *names: str) -> dict[str, str]:
        """What is chosen but these, for the hidden fields of a form."""
        pairs = zip(self._fields, self, PageState(), strict=True)
        return {
            name: value for name, value, default in pairs if value != default and name not in names
        }

    @property
    def wanted(self) -> PageRequest:
        """As app_view takes it."""
        return PageRequest(
            self.range,
            self.start,
            self.end,
            self.compare,
            Selection(self.process_type, self.dyno, self.outcome),
            log=self.scale == "log",
        )


def page_state(given: dict[str, str]) -> PageState:
    """From the address; what cannot be used is as if it were not there."""
    usable: dict[str, Callable[[str], object]] = {
        "range": lambda text: text in RANGES,
        "start": _TIME.fullmatch,
        "end": _TIME.fullmatch,
        "process_type": _PATTERN.fullmatch,
        "dyno": _PATTERN.fullmatch,
        "outcome": lambda text: text in OUTCOMES,
        "compare": lambda text: text in BASELINES,
        "scale": lambda text: text in ("log", "linear"),
        "sort": lambda text: text in SORTED_BY,
    }
    fitting = {name: given[name] for name, fits in usable.items() if fits(given.get(name, ""))}
    return PageState(**fitting)
