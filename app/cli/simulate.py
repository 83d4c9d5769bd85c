"""`dynometer simulate`: believable apps send to a service as Logplex would, and its answers are
checked.

Ends with what was sent beside what the service says, to the last request.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from app.config import ConfigError, Settings
from app.rollup.resolutions import DAY_S, HOUR_S, align, parse_step
from app.traffic.answer_check import (
    CheckRow,
    ServiceClient,
    ServiceUnreachable,
    Totals,
    compare,
    totals_of,
)
from app.traffic.batch_sender import Target, parse_target
from app.traffic.logplex_sender import Acknowledged, LogplexSender
from app.traffic.simulated_app import SimulatedApp

NAMES = ("shop", "blog", "billing", "search", "api", "admin", "chat", "reports")
APPS_MAX = 1_000
SECRET = "simulate"  # noqa: S105 - not one: in local mode any password does
FOREVER = "forever"
HISTORY_MAX_S = DAY_S - 60  # the service takes lines of the last 24 hours
QUERY_AHEAD_S = 600  # how far after the last line answers are asked for
DELIVER_WITHIN_S = 20  # what still waits in buffers at the end has so long to go out
TICK_S = 0.01  # lines are sent at most so much late
LINES_PER_TURN = 200  # a generator behind its time lets others run after so many lines
PROGRESS_S = 1.0
SETTLED_WITHIN_S = 5.0  # what the service acknowledged, it says
ASK_AGAIN_S = 0.2
PROGRESS_IN_FILE_S = 10.0
DETAILED_APPS_MAX = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--to",
        metavar="URL",
        help="the service (default: http://127.0.0.1:PORT); https://APP:SECRET@HOST with the "
        "app's drain secret, if it is not in local mode",
    )
    parser.add_argument(
        "--apps",
        nargs="+",
        metavar="N|NAME",
        default=[],
        help="how many apps, or their names (default: shop)",
    )
    parser.add_argument(
        "--dynos",
        type=_whole,
        default=4,
        metavar="N",
        help="dynos per app; every fourth a worker (4)",
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=20.0,
        metavar="LINES",
        help="log lines per second and app, on average over a day (20)",
    )
    parser.add_argument(
        "--duration", type=_duration, default=60.0, help="such as 60s, 10m, or forever (60s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed, other traffic (1)")
    parser.add_argument(
        "--history",
        type=_history,
        default=0.0,
        metavar="DURATION",
        help="first send the lines of so long a past, up to 24h, so that charts are full at once",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command: 0 when the answers are right, else 1. Lines lost to a full buffer are no fault.

    Raises:
        ConfigError: the address or an app's name is wrong, or the service wants its admin token.
    """
    start_s = time.time() - arguments.history
    streams = list(_streams(arguments, settings))
    with ServiceClient(streams[0].target.url, settings.admin_token) as service:
        try:
            for stream in streams:
                stream.before = stream.answers(service, start_s)
            asyncio.run(_send(streams, start_s, arguments.duration, live=not arguments.history))
            _ask(streams, service, start_s)
        except ServiceUnreachable as error:
            print(f"dynometer: {error}", file=sys.stderr)
            return 1
    print("\n".join(_summary(streams, start_s)))
    return 0 if all(stream.is_right for stream in streams) else 1


def _ask(streams: Sequence[Stream], service: ServiceClient, start_s: float) -> None:
    """What the service says; where a log stands before its store, it says so a moment later."""
    until_s = time.monotonic() + SETTLED_WITHIN_S
    while True:
        for stream in streams:
            stream.after = stream.answers(service, start_s)
        if all(stream.is_right for stream in streams) or time.monotonic() >= until_s:
            return
        time.sleep(ASK_AGAIN_S)


@dataclass(slots=True)
class Stream:
    """One app's traffic, and what both sides say of it."""

    app: SimulatedApp
    target: Target
    sender: LogplexSender = field(init=False)
    sent: Totals = field(default_factory=Counter)
    before: Totals = field(default_factory=Counter)
    after: Totals = field(default_factory=Counter)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target.url)
        credentials = f"{self.app.name}:{quote(self.target.secret, safe='')}"
        url = f"{parts.scheme}://{credentials}@{parts.netloc}{parts.path}/drain"
        self.sender = LogplexSender(url, self.app.drain_token, on_acknowledged=self._count)

    def answers(self, service: ServiceClient, start_s: float) -> Totals:
        """What the service says. From a full hour on, where slots of all resolutions begin."""
        start = align(int(start_s), HOUR_S)
        return service.totals(self.app.name, start, int(time.time()) + QUERY_AHEAD_S)

    @property
    def undelivered(self) -> int:
        """Lines that the service did not acknowledge."""
        return self.sender.counts.offered - self.sender.counts.acknowledged

    @property
    def rows(self) -> list[CheckRow]:
        """What was sent, and what the service says."""
        return list(compare(self.sent, self.before, self.after))

    @property
    def is_right(self) -> bool:
        """Whether every number agrees, and nothing was refused (as with a wrong drain secret)."""
        return all(row.agrees for row in self.rows) and not self.sender.counts.refused

    def _count(self, batch: Acknowledged) -> None:
        self.sent.update(totals_of(batch))


def _streams(arguments: argparse.Namespace, settings: Settings) -> Iterator[Stream]:
    to = arguments.to
    has_credentials = "@" in (to or "")
    for name in _names(arguments.apps) or ["" if has_credentials else NAMES[0]]:
        target = parse_target(to, name or None, settings.port)
        if not has_credentials:
            target = target._replace(secret=SECRET)
        app = SimulatedApp(
            target.app, dynos=arguments.dynos, lines_per_s=arguments.rate, seed=arguments.seed
        )
        yield Stream(app, target)


def _names(given: Sequence[str]) -> list[str]:
    """Names as given, or as many as asked for: shop, blog, …, shop-2, blog-2, …"""
    if len(given) != 1 or not given[0].isdigit():
        return list(dict.fromkeys(given))
    number = int(given[0])
    if not 0 < number <= APPS_MAX:
        raise ConfigError(f"--apps {given[0]}: expected names, or a number from 1 to {APPS_MAX}")
    rounds = math.ceil(number / len(NAMES))
    names = [name if not turn else f"{name}-{turn + 1}" for turn in range(rounds) for name in NAMES]
    return names[:number]


async def _send(
    streams: Sequence[Stream], start_s: float, duration_s: float, *, live: bool
) -> None:
    """Send it all. Ctrl-C ends the traffic; what waits is still delivered, unless it comes
    again.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        senders = [stream.sender for stream in streams]
        runners = [group.create_task(sender.run()) for sender in senders]
        feeders = [
            group.create_task(_feed(stream.app, sender, start_s, duration_s, live))
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


async def _feed(
    app: SimulatedApp, sender: LogplexSender, start_s: float, duration_s: float, live: bool
) -> None:
    """Give the sender its lines: those of the past as fast as it can, from now on when they
    happen.
    """
    end_s = time.time() + duration_s if live else math.inf
    try:
        for number, line in enumerate(app.lines(start_s)):
            if line.at_s >= end_s:
                return
            ahead_s = line.at_s - time.time()
            if ahead_s > 0:
                if not live:
                    live, end_s = True, line.at_s + duration_s
                await asyncio.sleep(max(ahead_s, TICK_S))
            elif number % LINES_PER_TURN == 0:
                await asyncio.sleep(0)
            if live:
                sender.offer(line)
            else:
                await sender.put(line)
    finally:
        sender.close()


async def _show_progress(senders: Sequence[LogplexSender]) -> None:
    """A line on stderr, rewritten on a terminal, added now and then elsewhere."""
    terminal = sys.stderr.isatty()
    pause_s = PROGRESS_S if terminal else PROGRESS_IN_FILE_S
    offered = 0
    try:
        while True:
            await asyncio.sleep(pause_s)
            counts = [sender.counts for sender in senders]
            now_offered = sum(each.offered for each in counts)
            text = (
                f"{(now_offered - offered) / pause_s:,.0f} lines/s"
                f", {sum(each.acknowledged for each in counts):,} acknowledged"
                f", {sum(each.lost for each in counts):,} lost{_latency(senders)}"
            )
            problems = [each.last_problem for each in counts if each.last_problem]
            if problems:
                text += f" (last problem: {problems[-1]})"
            offered = now_offered
            print(
                f"\r{text}\x1b[K" if terminal else text,
                end="" if terminal else "\n",
                file=sys.stderr,
            )
            sys.stderr.flush()
    finally:
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _latency(senders: Sequence[LogplexSender]) -> str:
    latencies = sorted(ms for sender in senders for ms in sender.counts.latencies_ms)
    if not latencies:
        return ""
    p50, p95 = (latencies[int(q * (len(latencies) - 1))] for q in (0.5, 0.95))
    return f", answered in {p50:.1f} ms (p50), {p95:.1f} ms (p95)"


def _summary(streams: Sequence[Stream], start_s: float) -> Iterator[str]:
    """What was sent, what came of it, and where to look at it."""
    for stream in streams:
        yield from _of_stream(stream, detailed=len(streams) <= DETAILED_APPS_MAX)
    url, app = streams[0].target.url, streams[0].app.name
    yield (
        f"Look at  {url}/api/v1/apps/{app}/query"
        f"?metric=service_time_ms&stat=p50&stat=p95&start={int(start_s)}"
    )
    yield f"         {url}/"


def _of_stream(stream: Stream, *, detailed: bool) -> Iterator[str]:
    counts = stream.sender.counts
    yield (
        f"{'✓' if stream.is_right else '✗'} {stream.app.name}: {counts.offered:,} lines, "
        f"{counts.acknowledged:,} acknowledged in {counts.posts:,} POSTs, "
        f"{stream.undelivered:,} lost{_latency([stream.sender])}"
    )
    if counts.lost:
        yield (
            f"  lost: {counts.overflowed:,} as the buffer was full, {counts.refused:,} refused, "
            f"{counts.given_up:,} after every try failed (last: {counts.last_problem})"
        )
    if not stream.is_right and counts.unanswered:
        yield (
            f"  {counts.unanswered:,} lines went out in tries without an answer: "
            "the service may have counted them"
        )
    rows = [row for row in stream.rows if detailed or not row.agrees]
    if rows:
        yield f"  {'':26}{'acknowledged':>14}{'the service says':>18}"
    for row in rows:
        sign = "✓" if row.agrees else f"✗ {row.answered - row.sent:+,}"
        yield f"  {row.name:26}{row.sent:>14,}{row.answered:>18,}  {sign}"


def _whole(text: str) -> int:
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
        return float(parse_step(text))
    except ValueError:
        raise argparse.ArgumentTypeError("expected 60s, 10m, 2h or forever") from None


def _history(text: str) -> float:
    try:
        history_s = float(parse_step(text))
    except ValueError:
        history_s = math.inf
    if history_s > DAY_S:
        raise argparse.ArgumentTypeError("expected 30m, 1h, up to 24h")
    return min(history_s, HISTORY_MAX_S)
