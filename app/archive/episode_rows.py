"""Rows of the table of episodes, from the episodes that the store holds.

The store's records name their fields (app.verdicts.verdict_record). They are read by name here, so
the kinds and fields of a newer version are archived too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from app.archive.detail_rows import Row
from app.archive.times import to_utc

log = logging.getLogger(__name__)


class _StoredEpisode(msgspec.Struct):
    finding: dict[str, Any]
    summary: str


_decode = msgspec.msgpack.Decoder(_StoredEpisode).decode


def episode_rows(episodes: Mapping[str, Sequence[bytes]], since_s: float) -> list[Row]:
    """The rows of episodes, by app, that ended at `since_s` or later; each key once."""
    rows = {row[:2] + row[3:5]: row for row in _rows(episodes, since_s)}
    return list(rows.values())


def _rows(episodes: Mapping[str, Sequence[bytes]], since_s: float) -> Iterator[Row]:
    for app, records in episodes.items():
        for data in reversed(records):  # the newest comes last and stays
            try:
                record = _decode(data)
                start_s, end_s = int(record.finding["since_s"]), int(record.finding["until_s"])
                kind, state = str(record.finding["kind"]), str(record.finding["state"])
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
                log.debug("an episode of %s cannot be archived: %s", app, error)
                continue
            if end_s >= since_s:
                process_type = str(record.finding.get("process_type", ""))
                finding = Jsonb(record.finding)
                yield (
                    *(app, to_utc(start_s), to_utc(end_s)),
                    *(kind, process_type, state, record.summary, finding),
                )
