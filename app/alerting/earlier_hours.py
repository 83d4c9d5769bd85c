"""Reads the earlier hours that rules compare with: of last week, or of the year before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from app.alerting.conditions import (
    COMPARED_AGES_S,
    Measurement,
    RuleQuery,
    missing_history,
)
from app.alerting.inputs import RuleQueries
from app.query.engine import scan_packed
from app.query.table import QueryRange
from app.rollup.resolutions import HOUR_S, MINUTE_S, Resolution, align
from app.storage.interface.elements import HEADER_BYTES, Slot
from app.storage.interface.errors import HistoryUnavailable
from app.storage.interface.rollups import RollupReader

log = logging.getLogger(__name__)

_HOURS = Resolution("1h", HOUR_S, 0)

Measurements = Mapping[str, Measurement]  # by value of the rule's label


class EarlierHours:
    """The measurements of earlier hours. Each is read once an hour per app and rule.

    A measurement that cannot be read is unknown, and read again for the next minute.
    `unknown_reason` says why, in a sentence; "" if nothing was unknown in this round.
    """

    def __init__(self, rollups: RollupReader, hours_kept_s: int) -> None:
        """
        Args:
            rollups: reads hours. It should raise HistoryUnavailable rather than wait.
            hours_kept_s: how long hours are kept.
        """
        self._rollups = rollups
        self._hours_kept_s = hours_kept_s
        self._hour_s = 0
        self._values: dict[tuple[str, bytes], Measurements] = {}
        self.unknown_reason = ""
        self._logged_reason = ""

    def begin_round(self) -> None:
        """Forget why measurements of the last round were unknown."""
        self._logged_reason, self.unknown_reason = self.unknown_reason, ""

    async def read(
        self, app: str, queries: RuleQueries, minute_s: int, first_s: int
    ) -> dict[bytes, Measurements]:
        """The measurements that a minute is compared with, by `RuleQuery.key`.

        Those of a rule are missing if they are unknown; `unknown_reason` then says why. There are
        none if the app appeared only during that hour, or later.

        Args:
            app: its name.
            queries: its rules.
            minute_s: the start of the minute.
            first_s: when the store first saw the app. The archive may know more of it.

        Raises:
            StoreUnavailable, PackError
        """
        hour_s = align(minute_s, HOUR_S)
        if hour_s != self._hour_s:
            self._hour_s, self._values = hour_s, {}
        comparisons = [query for query in queries.metric_queries if query.rule.compare]
        new_queries = [query for query in comparisons if (app, query.key) not in self._values]
        for name, age_s in COMPARED_AGES_S.items():
            if same_age := [query for query in new_queries if query.rule.compare == name]:
                await self._load(app, same_age, hour_s - age_s, first_s)
        values = {query.key: self._values.get((app, query.key)) for query in comparisons}
        return {key: measurements for key, measurements in values.items() if measurements}

    async def _load(
        self, app: str, queries: Sequence[RuleQuery], hour_s: int, first_s: int
    ) -> None:
        if reason := missing_history(queries[0].rule, self._hours_kept_s):
            self._report(f"Some rules are unknown: {reason}.")
            return
        try:
            packed_rollups = await self._read_hour(app, hour_s, first_s)
        except HistoryUnavailable as error:
            compare = queries[0].rule.compare
            self._report(f"Rules with compare={compare} are unknown. {error.reason}")
            return
        time_range = QueryRange(hour_s, hour_s + HOUR_S, HOUR_S, _HOURS)
        plans = [query.plan(time_range) for query in queries]
        rollups = [(hour_s, rollup) for rollup in packed_rollups]
        table = scan_packed(app, rollups, [part for plan in plans for part in plan])
        results = iter(table.results())
        for query, plan in zip(queries, plans, strict=True):
            measurements = query.measure([next(results) for _ in plan], HOUR_S // MINUTE_S)
            self._values[app, query.key] = {
                key: _scale_to_rule(query, measurement) for key, measurement in measurements.items()
            }

    def _report(self, reason: str) -> None:
        if reason not in (self._logged_reason, self.unknown_reason):
            log.warning("alerts: %s", reason)
        self.unknown_reason = reason

    async def _read_hour(self, app: str, hour_s: int, first_s: int) -> list[bytes]:
        """The rollups of an hour that the app was there for from its beginning."""
        slots = [Slot(_HOURS.name, hour_s)]
        if hour_s < first_s:
            slots.insert(0, Slot(_HOURS.name, hour_s - HOUR_S))
        contents = (await self._rollups.read(app, slots, inbox=False)).slots
        if hour_s < first_s and slots[0] not in contents:
            return []
        return [element[HEADER_BYTES:] for element in contents.get(slots[-1], [])]


def _scale_to_rule(query: RuleQuery, measurement: Measurement) -> Measurement:
    """Scale a sum over an hour to the number of minutes that the rule sums over."""
    rule, value = query.rule, measurement.value
    if rule.stat != "sum" or query.metric.kind != "counter" or value is None:
        return measurement
    return measurement._replace(value=value * rule.over_minutes / (HOUR_S // MINUTE_S))
