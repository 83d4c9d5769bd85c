"""The baseline: hand-tuned framing, parsing and aggregation, about as fast as plain Python gets.

It uses no regular expressions, and few calls except those of bytes and dict: find, startswith and
rfind at known positions, and numbers cached by their digits. It trusts its input: an unusual line
makes it fail or miscount.
"""

from __future__ import annotations

from typing import Any

from app.rollup.sketch import bin_of

# (minute, dyno, status, code) ->
#     [count, service total, service max, connect total, bytes total, {bin: count}]
Requests = dict[tuple[bytes, bytes, bytes, bytes], list[Any]]
# (minute, dyno, metric) -> [count, total in hundredths or pages, max]
Metrics = dict[tuple[bytes, bytes, bytes], list[int]]

_BINS = [bin_of(ms) for ms in range(65_536)]
_NUMBERS_MAX = 100_000


class _Numbers(dict[bytes, int]):
    """The digits of "18ms", "13", "512.00MB" or "99pages" as a number; -1 for none. A cache."""

    def __missing__(self, text: bytes) -> int:
        if len(self) > _NUMBERS_MAX:
            self.clear()
        digits = text.rstrip(b"msMBpage").replace(b".", b"")
        value = self[text] = int(digits) if digits else -1
        return value


_numbers = _Numbers()


def parse(body: bytes, requests: Requests, metrics: Metrics) -> None:
    """Add a body's router and runtime-metrics lines to both tables."""
    numbers, find, startswith = _numbers, body.find, body.startswith
    position, size = 0, len(body)
    while position < size:
        space = find(b" ", position, position + 8)
        end = space + 1 + numbers[body[position:space]]
        time = find(b">", space, space + 6) + 3
        position = end
        app_name = find(b" ", find(b" ", time + 20, end) + 1, end) + 1
        if startswith(b"heroku router - ", app_name):
            _add_request(body, time, app_name + 16, end, requests)
        elif startswith(b"heroku ", app_name):
            text = find(b" - ", app_name + 7, end) + 3
            if startswith(b"source=", text):
                _add_metrics(body[time : time + 16], body[text + 7 : end - 1], metrics)


def _add_request(body: bytes, time: int, text: int, end: int, requests: Requests) -> None:
    find = body.find
    dyno = body.rfind(b" dyno=", text, end)
    connect = find(b" connect=", dyno + 6, end)
    service = find(b" service=", connect + 9, end)
    status = find(b" status=", service + 9, end)
    size = find(b" bytes=", status + 8, end)
    code = b""
    if not body.startswith(b"at=info m", text):
        start = find(b"code=", text, end) + 5
        code = body[start : find(b" ", start, end)]
    key = (body[time : time + 16], body[dyno + 6 : connect], body[status + 8 : size], code)
    row = requests.get(key)
    if row is None:
        row = requests[key] = [0, 0, 0, 0, 0, {}]
    row[0] += 1
    numbers = _numbers
    value = numbers[body[size + 7 : find(b" ", size + 7, end)]]
    if value > 0:
        row[4] += value
    if key[2] == b"101":
        return
    value = numbers[body[service + 9 : status]]
    if value >= 0:
        row[1] += value
        if value > row[2]:
            row[2] = value
        bins = row[5]
        index = _BINS[value] if value < 65_536 else bin_of(value)
        bins[index] = bins.get(index, 0) + 1
    value = numbers[body[connect + 9 : service]]
    if value > 0:
        row[3] += value


def _add_metrics(minute: bytes, text: bytes, metrics: Metrics) -> None:
    numbers = _numbers
    source, *words = text.split(b" ")
    for word in words:
        if word.startswith(b"sample#"):
            name, _, text_value = word.partition(b"=")
            value = numbers[text_value]
            cell = metrics.get((minute, source, name))
            if cell is None:
                metrics[minute, source, name] = [1, value, value]
            else:
                cell[0] += 1
                cell[1] += value
                if value > cell[2]:
                    cell[2] = value
