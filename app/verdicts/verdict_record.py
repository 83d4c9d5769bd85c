"""The state of an app as the store holds it, and its episodes. MessagePack, by field name.

Fields may be added: an older version skips those that it does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import msgspec

from app.judgement.verdict import Episode, Finding, Verdict
from app.verdicts.recent_figures import RecentFigures

log = logging.getLogger(__name__)


class VerdictRecord(msgspec.Struct, frozen=True):
    """The verdict of an app, and the state of its judge. Times in Unix seconds.

    verdict         the latest one; that of the last minute may be provisional
    open_findings   those of the judge after the last final minute, for the one that continues
    judged_since_s  from here on, the app was judged minute by minute: its episodes are complete
    judged_until_s  the end of the last final minute
    figures         those of the hour up to `verdict.judged_s`; None from an older version
    """

    verdict: Verdict
    open_findings: tuple[Finding, ...] = ()
    judged_since_s: int = 0
    judged_until_s: int = 0
    figures: RecentFigures | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(VerdictRecord).decode
_decode_episode = msgspec.msgpack.Decoder(Episode).decode


def pack_verdict_record(record: VerdictRecord) -> bytes:
    """Encode a record for the store."""
    return _encode(record)


def unpack_verdict_record(data: bytes) -> VerdictRecord:
    """
    Raises:
        msgspec.MsgspecError: the data is damaged, or of a newer version.
    """
    return _decode_record(data)


def pack_episode(episode: Episode) -> bytes:
    """Encode an episode for the store."""
    return _encode(episode)


def unpack_episodes(records: Iterable[bytes]) -> list[Episode]:
    """The episodes that this version can read: a newer one may have kinds of its own."""
    episodes = []
    for data in records:
        try:
            episodes.append(_decode_episode(data))
        except msgspec.MsgspecError as error:
            log.debug("an episode cannot be read: %s", error)
    return episodes


def unpack_verdict_records(records: Mapping[str, bytes]) -> dict[str, VerdictRecord]:
    """The records by app that this version can read. The other apps are judged anew."""
    readable: dict[str, VerdictRecord] = {}
    for app, data in records.items():
        try:
            readable[app] = unpack_verdict_record(data)
        except msgspec.MsgspecError as error:
            log.debug("the verdict of %s cannot be read: %s", app, error)
    return readable
