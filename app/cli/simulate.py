"""`dynometer simulate`: sends realistic traffic to a service, and checks the service's answers.

Simulated apps send as Logplex would. At the end, the figures that were sent and the service's
answers must agree to the last request.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from app.cli.arguments import duration
from app.cli.main import EXIT_INTERRUPTED
from app.cli.output import ProgressLine, print_err
from app.config import ConfigError, Settings
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, align
from app.support.about import command
from app.support.durations import parse_duration
from app.traffic.answer_check import (
    CheckRow,
    ServiceClient,
    ServiceUnreachable,
    Totals,
    compare,
    expected_totals,
)
from app.traffic.batch_sender import Target, parse_target
from app.traffic.logplex_sender import AcknowledgedBatch, DeliveryCounts, LogplexSender
from app.traffic.simulated_app import SimulatedApp

NAME = "demo"  # unlike that of any real app, so that figures of real apps stay as they are
APPS_MAX = 1_000
SECRET = "simulate"  # noqa: S105 - not a secret: local mode accepts any password
FOREVER = "forever"
HISTORY_MAX_S = DAY_S - 60  # the service accepts lines of the last 24 hours
QUERY_AHEAD_S = 600  # queries end this long after the last line
DELIVER_WITHIN_S = 20  # for lines that are still buffered at the end
TICK_S = 0.01  # lines are sent this late at most
LINES_PER_TURN = 200  # a generator that lags behind yields to others after so many lines
PROGRESS_S = 1.0
SETTLED_WITHIN_S = 5.0  # for acknowledged lines to appear in the answers
RETRY_S = 0.2
DETAILED_APPS_MAX = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--to",
        metavar="URL",
        help="the service (default: http://127.0.0.1:PORT); outside local mode with the app's "
        "drain secret, as https://APP:SECRET@HOST",
    )
    parser.add_argument(
        "--apps",
        nargs="+",
        metavar="N|NAME",
        default=[],
        help="number of apps, or their names (default: demo)",
    )
    parser.add_argument(
        "--dynos",
        type=_dynos,
        default=4,
        metavar="N",
        help="dynos per app, every fourth a worker (default: 4)",
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=20.0,
        metavar="LINES",
        help="log lines per second and app, on average over a day (default: 20)",
    )
    parser.add_argument(
        "--duration",
        type=_duration,
        default=60.0,
        help="such as 60s or 10m, or forever (default: 60s)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="a different seed makes different traffic (default: 1)"
    )
    parser.add_argument(
        "--history",
        type=_history,
        default=0.0,
        metavar="DURATION",
        help="first send the lines of this much past, up to 24h, so that charts begin full",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="send also if the app has a log drain, or requests in the same past already",
    )
    parser.add_argument(
        "--alert", action="store_true", help="send alerts about the simulated apps, too"
    )
    parser.add_argument(
        "--unmarked",
        action="store_true",
        help="do not mark the lines as simulated: the service treats them as those of a drain",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Return 0 if the answers are right, 130 after Ctrl-C, else 1.

    Lines lost to a full buffer are not an error.

    Raises:
        ConfigError: the address or an app's name is wrong, or the service needs its admin token.
    """
    start_s = time.time() - arguments.history
    streams = list(_streams(arguments, settings))
    with ServiceClient(streams[0].target.url, settings.admin_token) as service:
        try:
            if not arguments.again and (conflict := _conflict(streams, service, start_s)):
                print_err(f"dynometer: {conflict}")
                return 1
            for stream, answers in _query_all(streams, service, start_s):
                stream.answers_before = answers
            is_live = not arguments.history
            is_interrupted = asyncio.run(
                _send(streams, start_s, arguments.duration, is_live=is_live)
            )
            _query_until_right(streams, service, start_s)
        except ServiceUnreachable as error:
            print_err(f"dynometer: {error}")
            return 1
    print("\n".join(_summary(streams, start_s)))
    if not arguments.unmarked:
        names = " ".join(stream.app.name for stream in streams)
        print(f"To remove the data: {command()} apps remove {names}")
    if is_interrupted:
        return EXIT_INTERRUPTED
    return 0 if all(stream.is_right for stream in streams) else 1


def _conflict(streams: Sequence[Stream], service: ServiceClient, start_s: float) -> str:
    """Why sending would spoil figures that are there already, and the fix; "" if it would not."""
    drained_apps = service.drained_apps()
    now_s = time.time()
    for app in (stream.app.name for stream in streams):
        if app in drained_apps:
            return (
                f"{app} has a log drain, and simulated lines would be added to its figures. "
                "Simulate another app (--apps NAME), or add --again."
            )
        start, end = (align(int(at_s), MINUTE_S) for at_s in (start_s, now_s))
        requests = service.requests(app, start, end) if end > start else 0
        if requests:
            return (
                f"{app} has {requests:,} requests since {_clock(start)} UTC already, and this "
                f"history would be added to them. Remove them first ({command()} apps remove "
                f"{app}), simulate another app (--apps NAME), or add --again."
            )
    return ""


def _clock(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%d %b %H:%M}"


def _query_until_right(streams: Sequence[Stream], service: ServiceClient, start_s: float) -> None:
    """Query the answers. If Kafka stands before the store, lines appear in them with a delay."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while True:
        for stream, answers in _query_all(streams, service, start_s):
            stream.answers_after = answers
        if all(stream.is_right for stream in streams) or time.monotonic() >= deadline:
            return
        time.sleep(RETRY_S)


def _query_all(
    streams: Sequence[Stream], service: ServiceClient, start_s: float
) -> Iterator[tuple[Stream, Totals]]:
    progress = ProgressLine()
    try:
        for number, stream in enumerate(streams, 1):
            progress.show(f"querying the service, app {number:,} of {len(streams):,}")
            yield stream, stream.query(service, start_s)
    finally:
        progress.clear()


@dataclass(slots=True)
class Stream:
    """One app's traffic, and the service's answers about it before and after."""

    app: SimulatedApp
    target: Target
    headers: Mapping[str, str]
    sender: LogplexSender = field(init=False)
    acknowledged_totals: Totals = field(default_factory=Counter)
    answers_before: Totals = field(default_factory=Counter)
    answers_after: Totals = field(default_factory=Counter)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target.url)
        credentials = f"{self.app.name}:{quote(self.target.secret, safe='')}"
        url = f"{parts.scheme}://{credentials}@{parts.netloc}{parts.path}/drain"
        self.sender = LogplexSender(
            url, self.app.drain_token, headers=self.headers, on_acknowledged=self._count
        )

    def query(self, service: ServiceClient, start_s: float) -> Totals:
        """The service's totals, from a full hour on: slots of every resolution begin there."""
        start = align(int(start_s), HOUR_S)
        return service.totals(self.app.name, start, int(time.time()) + QUERY_AHEAD_S)

    @property
    def undelivered(self) -> int:
        """Number of lines that the service did not acknowledge."""
        return self.sender.counts.offered_messages - self.sender.counts.acknowledged_messages

    @property
    def rows(self) -> list[CheckRow]:
        """Each figure as it was acknowledged, and as the service answers it."""
        return list(compare(self.acknowledged_totals, self.answers_before, self.answers_after))

    @property
    def is_right(self) -> bool:
        """Whether all figures agree, something was acknowledged, and nothing was rejected.

        Lines are rejected with a wrong drain secret, say.
        """
        counts = self.sender.counts
        return (
            counts.acknowledged_messages > 0
            and not counts.rejected_messages
            and all(row.agrees for row in self.rows)
        )

    def _count(self, batch: AcknowledgedBatch) -> None:
        self.acknowledged_totals.update(expected_totals(batch))


def _streams(arguments: argparse.Namespace, settings: Settings) -> Iterator[Stream]:
    to = arguments.to
    has_credentials = "@" in (to or "")
    mark = (
        {} if arguments.unmarked else {"Dynometer-Simulation": "alert" if arguments.alert else "1"}
    )
    for name in _names(arguments.apps) or ["" if has_credentials else NAME]:
        target = parse_target(to, name or None, settings.port)
        if not has_credentials:
            target = target._replace(secret=SECRET)
        app = SimulatedApp(
            target.app, dynos=arguments.dynos, lines_per_s=arguments.rate, seed=arguments.seed
        )
        yield Stream(app, target, mark)


def _names(words: Sequence[str]) -> list[str]:
    """The names given, or as many as asked for: demo, demo-2, …"""
    if len(words) != 1 or not words[0].isdigit():
        return list(dict.fromkeys(words))
    number = int(words[0])
    if not 0 < number <= APPS_MAX:
        raise ConfigError(f"--apps {words[0]}: expected names, or a number from 1 to {APPS_MAX}")
    return [NAME, *(f"{NAME}-{turn}" for turn in range(2, number + 1))]


async def _send(
    streams: Sequence[Stream], start_s: float, duration_s: float, *, is_live: bool
) -> bool:
    """Send all traffic; returns whether Ctrl-C ended it.

    Buffered lines are delivered even then. A second Ctrl-C ends that too.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        senders = [stream.sender for stream in streams]
        runners = [group.create_task(sender.run()) for sender in senders]
        feeders = [
            group.create_task(_feed(stream.app, sender, start_s, duration_s, is_live=is_live))
            for stream, sender in zip(streams, senders, strict=True)
        ]
        progress = group.create_task(_show_progress(senders))

        def stop() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            for feeder in feeders:
                feeder.cancel()

        loop.add_signal_handler(signal.SIGINT, stop)
        await asyncio.wait(feeders)
        await asyncio.wait(runners, timeout=DELIVER_WITHIN_S)
        for task in (*runners, progress):
            task.cancel()
    return any(feeder.cancelled() for feeder in feeders)


async def _feed(
    app: SimulatedApp, sender: LogplexSender, start_s: float, duration_s: float, *, is_live: bool
) -> None:
    """Pass lines to the sender: past lines as fast as it accepts them, later ones in real time."""
    end_s = time.time() + duration_s if is_live else math.inf
    try:
        for number, line in enumerate(app.lines(start_s)):
            if line.at_s >= end_s:
                return
            ahead_s = line.at_s - time.time()
            if ahead_s > 0:
                if not is_live:  # the past has caught up with the present
                    is_live, end_s = True, line.at_s + duration_s
                await asyncio.sleep(max(ahead_s, TICK_S))
            elif number % LINES_PER_TURN == 0:
                await asyncio.sleep(0)
            if is_live:
                sender.offer(line)
            else:
                await sender.offer_when_free(line)
    finally:
        sender.close()


async def _show_progress(senders: Sequence[LogplexSender]) -> None:
    progress = ProgressLine()
    lines_before, before_s = 0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(PROGRESS_S)
            if not progress.is_due():
                continue
            counts = [sender.counts for sender in senders]
            lines, now_s = sum(count.offered_messages for count in counts), time.monotonic()
            text = (
                f"{(lines - lines_before) / (now_s - before_s):,.0f} lines/s"
                f", {sum(count.acknowledged_messages for count in counts):,} acknowledged"
                f", {sum(count.lost_messages for count in counts):,} lost{_latency(senders)}"
            )
            problems = [count.last_problem for count in counts if count.last_problem]
            if problems:
                text += f" (last problem: {problems[-1]})"
            lines_before, before_s = lines, now_s
            progress.show(text)
    finally:
        progress.clear()


def _latency(senders: Sequence[LogplexSender]) -> str:
    latencies = sorted(ms for sender in senders for ms in sender.counts.latencies_ms)
    if not latencies:
        return ""
    p50, p95 = (latencies[int(q * (len(latencies) - 1))] for q in (0.5, 0.95))
    return f", answered in {p50:.1f} ms (p50), {p95:.1f} ms (p95)"


def _summary(streams: Sequence[Stream], start_s: float) -> Iterator[str]:
    """The result for each app, and the addresses that show it."""
    for stream in streams:
        yield from _stream_summary(stream, has_details=len(streams) <= DETAILED_APPS_MAX)
    url, app = streams[0].target.url, streams[0].app.name
    yield (
        f"See  {url}/api/v1/apps/{app}/query"
        f"?metric=service_time_ms&stat=p50&stat=p95&start={int(start_s)}"
    )
    yield f"     {url}/apps/{app}" if len(streams) == 1 else f"     {url}/"


def _stream_summary(stream: Stream, *, has_details: bool) -> Iterator[str]:
    counts = stream.sender.counts
    yield (
        f"{'✓' if stream.is_right else '✗'} {stream.app.name}: {counts.offered_messages:,} lines, "
        f"{counts.acknowledged_messages:,} acknowledged in {counts.posts:,} POSTs, "
        f"{stream.undelivered:,} lost{_latency([stream.sender])}"
    )
    if counts.lost_messages:
        yield (
            f"  lost: {counts.overflowed_messages:,} to a full buffer, "
            f"{counts.rejected_messages:,} rejected, {counts.abandoned_messages:,} after the last "
            f"retry (last problem: {counts.last_problem})"
        )
    if not counts.acknowledged_messages:
        yield f"  nothing was acknowledged: {_reason(counts)}"
    if not stream.is_right and counts.unanswered_messages:
        yield (
            f"  {counts.unanswered_messages:,} lines were sent without getting an answer; "
            "the service may have counted them"
        )
    rows = [row for row in stream.rows if has_details or not row.agrees]
    if rows:
        yield f"  {'':26}{'acknowledged':>14}{'service answers':>18}"
    for row in rows:
        sign = "✓" if row.agrees else f"✗ {row.answer_count - row.sent_count:+,}"
        yield f"  {row.name:26}{row.sent_count:>14,}{row.answer_count:>18,}  {sign}"


def _reason(counts: DeliveryCounts) -> str:
    """Why no line was acknowledged, and the fix."""
    if not counts.offered_messages:
        return "nothing was sent. Raise --duration or --rate."
    problem = counts.last_problem or "no answer came in time"
    return f"{problem}. Check that {command()} serve runs at this address and is reachable."


def _dynos(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= APPS_MAX:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {APPS_MAX}")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1_000_000:
        raise argparse.ArgumentTypeError("expected lines per second, such as 20 or 0.5")
    return rate


def _duration(text: str) -> float:
    if text == FOREVER:
        return math.inf
    try:
        return float(parse_duration(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {error}; or forever") from None


def _history(text: str) -> float:
    history_s = duration(text)
    if history_s > DAY_S:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a duration up to 24h")
    return min(float(history_s), HISTORY_MAX_S)
