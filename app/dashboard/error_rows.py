"""The errors of an app's page: each code with its meaning, its dynos, and when it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.dashboard.charts import ERRORS_BY_CODE
from app.query.snapshot import AppSnapshot, Question
from app.query.stats import Value
from parsers.error_codes import explain

ERRORS_BY_CODE_AND_DYNO = ERRORS_BY_CODE._replace(also_by="dyno", whole_range=True)
DYNOS_SHOWN = 3


class ErrorCodeRow(NamedTuple):
    """An error code that occurred, with its meaning. Times in Unix seconds.

    dynos             (name, lines), the most first; without lines that name no dyno
    first_s, last_s   the starts of the first and the last step with the code
    """

    code: str
    lines: int
    title: str
    meaning: str
    by_step: list[Value]
    dynos: list[tuple[str, int]]
    first_s: int
    last_s: int

    @property
    def where(self) -> str:
        """The dynos in a few words: web.3; web.1, web.2 and 4 more."""
        names = [name for name, _ in self.dynos]
        if len(names) > DYNOS_SHOWN + 1:
            return f"{', '.join(names[:DYNOS_SHOWN])} and {len(names) - DYNOS_SHOWN} more"
        return ", ".join(names)


def error_questions() -> list[Question]:
    """What the rows ask of the range shown."""
    return [ERRORS_BY_CODE, ERRORS_BY_CODE_AND_DYNO]


def build_error_rows(snapshot: AppSnapshot) -> list[ErrorCodeRow]:
    """The rows, the most frequent code first."""
    start_s, _, step_s, _ = snapshot.time_range
    dynos: dict[str, list[tuple[str, int]]] = {}
    for (code, dyno), lines in snapshot.counts(ERRORS_BY_CODE_AND_DYNO).items():
        if dyno and lines:
            dynos.setdefault(code, []).append((dyno, lines))
    rows = []
    for code, values in snapshot.points_by(ERRORS_BY_CODE).items():
        steps = _steps_with_lines(values)
        if steps:
            lines = int(sum(value or 0 for value in values))
            most_first = sorted(dynos.get(code, ()), key=lambda item: (-item[1], item[0]))
            first_s, last_s = (start_s + step * step_s for step in (steps[0], steps[-1]))
            rows.append(
                ErrorCodeRow(code, lines, *explain(code), values, most_first, first_s, last_s)
            )
    return sorted(rows, key=lambda row: -row.lines)


def _steps_with_lines(values: Sequence[Value]) -> list[int]:
    return [index for index, value in enumerate(values) if value]
