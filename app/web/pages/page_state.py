"""The settings of an app's page (range, filters, comparison, scale, sorting), as its URL holds
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode

from app.dashboard.app_page import BASELINES, RANGES, PageRequest
from app.query.selection import Selection
from app.rollup.statuses import OUTCOMES

SORT_FIELDS = {  # value of `sort` in the URL -> field of DynoRow; "" for the order of names
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
_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]{1,138}")  # of process types and dynos
_TIME = re.compile(r"[A-Za-z0-9:.+ -]{1,40}")


class PageState(NamedTuple):
    """The parameters of /apps/{app}. All of them are valid; defaults replace invalid values."""

    range: str = "1h"
    start: str = ""
    end: str = ""
    process_type: str = ""
    dyno: str = ""
    outcome: str = ""
    compare: str = ""
    scale: str = "linear"
    split: str = "types"
    dynos: str = ""  # "table": many dynos are shown as a table too
    sort: str = ""
    order: str = ""

    def url(self, app: str, **changes: str) -> str:
        """The URL of the page with these changes. Parameters with default values are left out."""
        parameters = self._replace(**changes).hidden_fields()
        return f"/apps/{app}" + (f"?{urlencode(parameters)}" if parameters else "")

    def hidden_fields(self, *form_fields: str) -> dict[str, str]:
        """The non-default parameters, without those that a form has fields for."""
        defaults = self._field_defaults
        return {
            name: value
            for name, value in zip(self._fields, self, strict=True)
            if value != defaults[name] and name not in form_fields
        }

    def sort_url(self, app: str, key: str, sort: str) -> str:
        """The URL that sorts dynos by `key`, or reverses the order if `sort` is that already."""
        reverse = "reverse" if key == sort and not self.order else ""
        return self.url(app, sort=key, order=reverse)

    @property
    def page_request(self) -> PageRequest:
        """The request for the view model of the page."""
        return PageRequest(
            self.range,
            self.start,
            self.end,
            self.compare,
            Selection(self.process_type, self.dyno, self.outcome),
            log=self.scale == "log",
            split="dynos" if self.split == "dynos" else "types",
        )


def parse_state(parameters: dict[str, str]) -> PageState:
    """The state in a URL's parameters. Unknown parameters and invalid values are ignored."""
    validators: dict[str, Callable[[str], object]] = {
        "range": lambda text: text in RANGES,
        "start": _TIME.fullmatch,
        "end": _TIME.fullmatch,
        "process_type": _PATTERN.fullmatch,
        "dyno": _PATTERN.fullmatch,
        "outcome": lambda text: text in OUTCOMES,
        "compare": lambda text: text in BASELINES,
        "scale": lambda text: text in ("log", "linear"),
        "split": lambda text: text in ("types", "dynos"),
        "dynos": lambda text: text == "table",
        "sort": lambda text: text in SORT_FIELDS,
        "order": lambda text: text == "reverse",
    }
    values = {
        name: parameters[name]
        for name, is_valid in validators.items()
        if is_valid(parameters.get(name, ""))
    }
    return PageState(**values)
