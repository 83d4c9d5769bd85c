"""The alerts and events of an app as an Atom feed (RFC 4287), for feed readers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlencode
from xml.etree import ElementTree

from app.alerting.state import HistoryEntry
from app.query.event_stories import original_detail
from app.query.maintenance_events import LAST_SEEN, MAINTENANCE, ON
from app.rollup.events import EventKey
from parsers.samples import APP_EVENTS

ENTRIES_MAX = 100
VIEW_MARGIN_S = 1800  # the page that an entry links to shows this long before and after it
_NAMESPACE = "http://www.w3.org/2005/Atom"
_KINDS = APP_EVENTS | {"crash"}
_MS = 1000


class Entry(NamedTuple):
    """An entry of the feed. Its `id` never changes and is never reused."""

    at_s: float
    id: str
    title: str


def feed_entries(history: Sequence[HistoryEntry], events: Sequence[EventKey]) -> list[Entry]:
    """The entries of the alert history and the events, newest first."""
    alerts = [
        Entry(entry.at_s, f"alert:{entry.what}:{entry.id or entry.at_s}", _title(entry))
        for entry in history
    ]
    changes = [
        Entry(
            event.at_ms / _MS,
            f"event:{event.at_ms}:{event.kind}:{event.source}:{original_detail(event)}",
            " ".join(part for part in (event.kind, event.source, event.detail) if part),
        )
        for event in events
        if event.kind in _KINDS and not _is_provisional(event)
    ]
    return sorted([*alerts, *changes], key=lambda entry: (-entry.at_s, entry.id))[:ENTRIES_MAX]


def _is_provisional(event: EventKey) -> bool:
    """Whether an event's time changes until the maintenance ends."""
    return event.kind == MAINTENANCE and event.detail.startswith((ON, LAST_SEEN))


def _title(entry: HistoryEntry) -> str:
    sign = {"fired": "🔴 ", "resolved": "🟢 resolved: "}.get(entry.what, "")
    return sign + entry.text


def render_feed(app: str, entries: Sequence[Entry], url: str, now_s: float) -> bytes:
    """The feed as XML. `url`: the address of the pages."""
    page = f"{url}/apps/{app}"
    feed = ElementTree.Element("feed", xmlns=_NAMESPACE)
    updated_s = entries[0].at_s if entries else now_s
    _add(feed, "id", f"{page}/feed")
    _add(feed, "title", f"{app}: alerts and events")
    _add(feed, "updated", _time(updated_s))
    ElementTree.SubElement(_add(feed, "author"), "name").text = "Dynometer"
    _add(feed, "link", href=page)
    for entry in entries:
        at_s = int(entry.at_s)
        view = urlencode({"start": at_s - VIEW_MARGIN_S, "end": at_s + VIEW_MARGIN_S})
        element = _add(feed, "entry")
        _add(element, "id", f"{page}#{entry.id}")
        _add(element, "title", f"{app}: {entry.title}")
        _add(element, "updated", _time(entry.at_s))
        _add(element, "link", href=f"{page}?{view}")
        _add(element, "summary", entry.title)
    xml: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return xml


def _add(
    parent: ElementTree.Element, name: str, text: str = "", **more: str
) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name, more)
    if text:
        element.text = "".join(letter for letter in text if letter.isprintable())
    return element


def _time(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
