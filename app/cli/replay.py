"""`dynometer replay`: sends a log file, or a live tail, to a service as Heroku's Logplex would.

Overlapping inputs (`heroku logs -n 1500` every few minutes) count nothing twice: what was
acknowledged is remembered per service and app (app.traffic.sent_lines).
A batch's Frame-Id is a digest of what is
in it, so a batch that was stored but not remembered, because we were killed in between, is
recognised by the service.
"""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import chain
from os import urandom

from app.config import ConfigError, Settings
from app.support.process import reliable_interrupts
from app.traffic.batch_sender import BatchSender, DeliveryError, Target, parse_target
from app.traffic.log_input import STDIN, LogInput, LogLine
from app.traffic.sent_lines import SentLines
from parsers import dispatch as heroku
from parsers.error_codes import no_runtime_metrics
from parsers.samples import (
    REASONS,
    Event,
    HerokuError,
    ParseError,
    ProcessExit,
    Request,
    RuntimeMetrics,
    StateChange,
)

BATCH_LINES_MAX = 500
BATCH_BYTES_MAX = 100_000  # Logplex aims at 102,400
LIVE_FLUSH_S = 1.0  # how long a line of a live input waits for company
ACCEPTED_AGE_S = 7 * 86_400  # the service takes replayed lines up to this age
PROGRESS_EVERY_S = 0.2
_STRETCH_BYTES_MAX = 1_000  # of a damaged stretch, enough to be counted by
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


KINDS = {
    Request: "router lines",
    RuntimeMetrics: "runtime metrics",
    HerokuError: "errors",
    StateChange: "state changes",
    ProcessExit: "exits",
    Event: "events",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "file",
        help="what `heroku logs` prints, or drain bodies; gzip is fine; - for stdin, also live, "
        "as in: heroku logs --tail -a APP | dynometer replay - --app APP",
    )
    parser.add_argument("--app", metavar="NAME", help="the app the lines are of")
    parser.add_argument(
        "--to",
        metavar="URL",
        help="the service (default: http://127.0.0.1:PORT); https://APP:SECRET@HOST with its "
        "drain secret, if it is not in local mode",
    )
    parser.add_argument(
        "--again", action="store_true", help="send also what was sent before: it counts again"
    )
    parser.add_argument(
        "--shift-to-now",
        action="store_true",
        help="move all times so that the last line is of now, for old samples; reads the whole "
        "input first, so not with a live one; sends everything, and remembers nothing",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command: 0 when everything was delivered, else 1.

    Raises:
        CannotRead: the file cannot be read.
        ConfigError: app or address are missing or wrong, or the data directory cannot be written.
    """
    target = parse_target(arguments.to, arguments.app, settings.port)
    now_ms = int(time.time() * 1000)
    with LogInput(arguments.file) as log, BatchSender(target) as sender:
        groups: Iterable[list[LogLine]] = log.groups(LIVE_FLUSH_S)
        shift_ms = 0
        if arguments.shift_to_now:
            groups, last_ms = _last_of(arguments.file, groups)
            shift_ms = now_ms - last_ms
        replay = Replay(
            sender,
            _memory(settings, target),
            shift_ms=shift_ms,
            again=arguments.again or arguments.shift_to_now,
            now_ms=now_ms,
        )
        try:
            return _send_all(replay, groups, log)
        finally:
            print("\n".join(replay.summary(target)))


def _memory(settings: Settings, target: Target) -> SentLines:
    path = settings.data_dir / "replay" / target.memory_name
    try:
        return SentLines(path)
    except OSError as error:
        raise ConfigError(
            f"cannot keep what was sent in {path} ({error.strerror}): "
            "set DYNOMETER_DATA_DIR to a directory that can be written"
        ) from error


def _send_all(replay: Replay, groups: Iterable[Sequence[LogLine]], log: LogInput) -> int:
    progress = Progress(log)
    try:
        try:
            with reliable_interrupts() as look:
                for group in groups:
                    replay.take(group, live=log.size is None)
                    progress.show(replay.lines)
                    look()
        finally:  # Ctrl-C is how a live tail ends: what was read is delivered first
            replay.flush()
            progress.clear()
    except DeliveryError as error:
        progress.clear()
        print(f"dynometer: {error}", file=sys.stderr)
        return 1
    return 0


def _last_of(path: str, groups: Iterable[list[LogLine]]) -> tuple[Iterable[list[LogLine]], int]:
    """The groups, still to be read, and their latest time (Unix ms). Holds stdin in memory."""
    if path == STDIN:
        groups = list(groups)
        return groups, _last_ms(groups)
    with LogInput(path) as log:
        return groups, _last_ms(log.groups())


def _last_ms(groups: Iterable[list[LogLine]]) -> int:
    messages = (line.message for line in chain.from_iterable(groups))
    return max((message.at_ms for message in messages if message is not None), default=0)


def as_frame(line: LogLine, shift_ms: int = 0) -> bytes:
    """The line as an octet-counted frame: frames verbatim, text as Logplex would have framed it.

    What cannot be read goes as a message without a time, so that it stays unreadable and the
    service counts it.
    """
    message = line.message
    if line.framed and (message is None or not shift_ms):
        frame = line.raw
    elif message is None:
        frame = b"<190>1 - host app - - %s\n" % line.raw[:_STRETCH_BYTES_MAX]
    elif line.framed:
        version, _, rest = line.raw.split(b" ", 2)
        frame = b" ".join((version, _timestamp(message.at_ms + shift_ms), rest))
    else:
        priority = 134 if message.app_name == b"heroku" else 190
        at = _timestamp(message.at_ms + shift_ms)
        frame = b"<%d>1 %s host %s %s - %s\n" % (
            priority,
            at,
            message.app_name,
            message.procid,
            message.text,
        )
    return b"%d %s" % (len(frame), frame)


def _timestamp(at_ms: int) -> bytes:
    """As Logplex writes it. Before 1970 becomes 1970: too old anyway, and a datetime holds it."""
    moment = _EPOCH + timedelta(milliseconds=max(at_ms, 0))
    return moment.isoformat(timespec="milliseconds").encode()


class Replay:
    """Sends lines in batches, and counts what became of them and what they are."""

    def __init__(
        self, sender: BatchSender, sent: SentLines, *, shift_ms: int, again: bool, now_ms: int
    ) -> None:
        """
        Args:
            shift_ms: is added to every time.
            again: send what was sent before as well; the service is to count it as new.
        """
        self._sender = sender
        self._sent = sent
        self._shift_ms = shift_ms
        self._again = again
        self._salt = urandom(8) if again else b""
        self._oldest_ms = now_ms - ACCEPTED_AGE_S * 1000
        self._begin_batch()
        self._first_ms = self._last_ms = 0
        self.lines = self.delivered = self.skipped = self.ignored = self.too_old = 0
        self.kinds: Counter[str] = Counter()
        self.unparsed: Counter[str] = Counter()

    def take(self, group: Sequence[LogLine], *, live: bool) -> None:
        """Take lines; of a live input an empty group means that nothing more came for a while."""
        for line in group:
            self._take_line(line)
        waited_s = time.monotonic() - self._since_s
        if live and self._frames and (not group or waited_s >= LIVE_FLUSH_S):
            self.flush()

    def flush(self) -> None:
        """Deliver what is waiting.

        Raises:
            CannotDeliver: see Sender.send; what was waiting is given up.
        """
        if not self._frames:
            return
        keys = array("Q", self._keys).tobytes()
        frame_id = blake2b(keys, digest_size=16, key=self._salt).hexdigest().upper()
        try:
            self._sender.send(self._frames, frame_id)
        except DeliveryError:
            self._begin_batch()
            raise
        # Interrupted before here, the batch is still waiting, and goes out under the same Frame-Id.
        self.delivered += len(self._frames)
        if not self._shift_ms:
            self._sent.remember([key for key in self._keys if key not in self._sent])
        self._begin_batch()

    def _begin_batch(self) -> None:
        self._frames: list[bytes] = []
        self._keys: list[int] = []
        self._bytes = 0
        self._since_s = time.monotonic()

    def _take_line(self, line: LogLine) -> None:
        self.lines += 1
        self._describe(line)
        key = self._sent.key(line.raw)
        if key in self._sent and not self._again:
            self.skipped += 1
            return
        frame = as_frame(line, self._shift_ms)
        full = len(self._frames) >= BATCH_LINES_MAX or self._bytes + len(frame) > BATCH_BYTES_MAX
        if full:
            self.flush()
        if not self._frames:
            self._since_s = time.monotonic()
        self._frames.append(frame)
        self._keys.append(key)
        self._bytes += len(frame)

    def _describe(self, line: LogLine) -> None:
        """Count what the line is, as the service will."""
        if line.message is None:
            self.unparsed[line.reason] += 1
            return
        at_ms = line.message.at_ms + self._shift_ms
        try:
            sample = heroku.parse(line.message)
        except ParseError as error:
            self.unparsed[error.reason] += 1
            return
        if at_ms >= self._oldest_ms:
            self._first_ms = min(at_ms, self._first_ms or at_ms)
            self._last_ms = max(at_ms, self._last_ms)
        elif sample is not None:
            self.too_old += 1
            return
        if sample is None:
            self.ignored += 1
        else:
            self.kinds[KINDS[type(sample)]] += 1

    def summary(self, target: Target) -> Iterator[str]:
        """What was done, and where to look at it."""
        if not self.lines:
            yield "The input is empty: there was no line to send."
            return
        lost = self.lines - self.delivered - self.skipped
        yield (
            f"Lines           {self.lines:,} read, {self.delivered:,} sent"
            f", {self.skipped:,} skipped"
            + (" as sent before (--again sends them)" if self.skipped else "")
            + (f", {lost:,} NOT DELIVERED" if lost else "")
        )
        kinds = ", ".join(f"{self.kinds[kind]:,} {kind}" for kind in KINDS.values())
        yield f"Understood      {kinds}"
        yield f"Ignored         {self.ignored:,} (application output and lines without a metric)"
        yield f"Not understood  {sum(self.unparsed.values()):,}"
        for reason, lines in sorted(self.unparsed.items()):
            yield f"                {lines:,} {reason}: {REASONS.get(reason, reason)}"
        if self.too_old:
            yield f"Too old         {self.too_old:,} (over 7 days; --shift-to-now moves them)"
        if self.kinds[KINDS[Request]] and not self.kinds[KINDS[RuntimeMetrics]]:
            yield no_runtime_metrics(target.app)
        if self._last_ms and lost < self.lines:
            start, end = self._first_ms // 1000, self._last_ms // 1000 + 1
            yield (
                f"Look at         {target.url}/api/v1/apps/{target.app}/query"
                f"?metric=service_time_ms&stat=p50&stat=p95&start={_second(start)}&end={_second(end)}"
            )
            yield f"                {target.url}/"


def _second(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


class Progress:
    """One line on stderr, rewritten as lines go by; nothing when stderr is not a terminal."""

    def __init__(self, log: LogInput) -> None:
        self._log = log
        self._shown = sys.stderr.isatty()
        self._started_s = self._last_s = time.monotonic()

    def show(self, lines: int) -> None:
        """Say how far we are, a few times a second at the most."""
        now_s = time.monotonic()
        if not self._shown or now_s - self._last_s < PROGRESS_EVERY_S:
            return
        self._last_s = now_s
        size = self._log.size
        share = f", {min(self._log.position / size, 1):.0%}" if size else ""
        rate = lines / (now_s - self._started_s)
        print(
            f"\r{lines:,} lines, {rate:,.0f} lines/s{share}\x1b[K",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
