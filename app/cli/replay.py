"""`dynometer replay`: sends a log file, or a live tail, to a service as Heroku's Logplex would.

Overlapping inputs (`heroku logs -n 1500` every few minutes) are not counted twice: acknowledged
lines are remembered per store and app (app.traffic.sent_lines). A batch's Frame-Id is a digest
of its content. So if replay is killed after a batch is stored and before it is remembered, the
service recognizes the batch when it is sent again.
"""

from __future__ import annotations

import argparse
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import chain
from os import urandom

from app.cli.log_progress import with_progress
from app.cli.output import ProgressLine, print_err
from app.config import ConfigError, Settings
from app.ingest.aggregator import REPLAY_PAST_S
from app.support.process import reliable_interrupts
from app.traffic.batch_sender import BatchSender, DeliveryError, Target, parse_target
from app.traffic.log_files import LogFiles
from app.traffic.log_line import LogLine
from app.traffic.sent_lines import SentLines, sent_lines_path
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
LIVE_FLUSH_S = 1.0  # longest time that a line of a live input waits for further lines
_UNREADABLE_BYTES_MAX = 1_000  # sent of an unreadable line; enough for the service to count it
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
    """Add the file and the options."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="output of `heroku logs`, drain bodies, or exports of a log service, also compressed; "
        "- for stdin, also live, as in: heroku logs --tail -a APP | dynometer replay - --app APP",
    )
    parser.add_argument("--app", metavar="NAME", help="the app that the lines belong to")
    parser.add_argument(
        "--to",
        metavar="URL",
        help="the service (default: http://127.0.0.1:PORT); outside local mode with the app's "
        "drain secret, as https://APP:SECRET@HOST",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="also send lines that were sent before; the service counts them again",
    )
    parser.add_argument(
        "--shift-to-now",
        action="store_true",
        help="move all times so that the last line is current, for old samples; reads the whole "
        "input first (not for live input), sends everything, and remembers nothing",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Return 0 if everything was delivered, else 1.

    Raises:
        LogInputError: a file cannot be read, or is not a log of Heroku's.
        ConfigError: app or address are missing or wrong, or the data directory is not writable.
    """
    target = parse_target(arguments.to, arguments.app, settings.port)
    now_ms = int(time.time() * 1000)
    log = LogFiles(arguments.files)
    is_live = log.size is None
    with BatchSender(target) as sender:
        # A live input may run for days: where stderr is a file, its progress would fill it.
        progress = ProgressLine(terminal_only=is_live)
        groups: Iterable[list[LogLine]] = log.groups(LIVE_FLUSH_S)
        shift_ms = 0
        if arguments.shift_to_now:
            groups, last_ms = _read_ahead(log)
            shift_ms = now_ms - last_ms
        replay = Replay(
            sender,
            _sent_lines(settings, target, sender.store_id()),
            shift_ms=shift_ms,
            again=arguments.again or arguments.shift_to_now,
            now_ms=now_ms,
        )
        code = None
        try:
            code = _send_all(replay, log, with_progress(groups, log, progress), progress)
        finally:
            if replay.lines_read or code == 0:  # otherwise the error says it all
                forms = [f"Form            {form}" for form in log.form_lines()]
                print("\n".join([*forms, *replay.summary(target)]))
        return code


def _sent_lines(settings: Settings, target: Target, store_id: str) -> SentLines:
    directory = settings.data_dir / "replay"
    try:
        return SentLines(sent_lines_path(directory, target.app, target.url, store_id))
    except OSError as error:
        raise ConfigError(
            f"cannot record the sent lines in {directory} ({error.strerror}): "
            "set DYNOMETER_DATA_DIR to a writable directory"
        ) from error


def _send_all(
    replay: Replay, log: LogFiles, groups: Iterable[Sequence[LogLine]], progress: ProgressLine
) -> int:
    files_read = 0
    try:
        try:
            with reliable_interrupts() as check_interrupt:
                for group in groups:
                    if files_read != log.files_read:
                        files_read = log.files_read
                        replay.begin_file()
                    replay.add(group, is_live=log.size is None)
                    check_interrupt()
        finally:  # Ctrl-C is the normal end of a live tail: lines already read are delivered first
            replay.flush()
            progress.clear()
    except DeliveryError as error:
        progress.clear()
        print_err(f"dynometer: {error}")
        return 1
    return 0


def _read_ahead(log: LogFiles) -> tuple[Iterable[list[LogLine]], int]:
    """(groups still to be read, the latest time in them in Unix ms). Holds a pipe in memory."""
    progress = ProgressLine()
    groups: Iterable[list[LogLine]] = with_progress(log.groups(), log, progress)
    try:
        if log.size is None:
            groups = list(groups)
        return groups if log.size is None else log.groups(), _last_ms(groups)
    finally:
        progress.clear()


def _last_ms(groups: Iterable[list[LogLine]]) -> int:
    messages = (line.message for line in chain.from_iterable(groups))
    return max((message.at_ms for message in messages if message is not None), default=0)


def to_frame(line: LogLine, shift_ms: int = 0) -> bytes:
    """The line as an octet-counted frame: frames verbatim, text as Logplex would have framed it.

    An unreadable line becomes a message without a time, so the service counts it as unparsed too.
    """
    message = line.message
    if line.is_frame and (message is None or not shift_ms):
        frame = line.raw
    elif message is None:
        frame = b"<190>1 - host app - - %s\n" % line.raw[:_UNREADABLE_BYTES_MAX]
    elif line.is_frame:
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
    """A time as Logplex writes it. Times before 1970, which are too old anyway, become 1970."""
    moment = _EPOCH + timedelta(milliseconds=max(at_ms, 0))
    return moment.isoformat(timespec="milliseconds").encode()


class Replay:
    """Sends lines in batches, and counts them by result and by kind."""

    def __init__(
        self, sender: BatchSender, sent_lines: SentLines, *, shift_ms: int, again: bool, now_ms: int
    ) -> None:
        """
        Args:
            shift_ms: added to every time.
            again: also send lines that were sent before; the service is to count them as new.
        """
        self._sender = sender
        self._sent_lines = sent_lines
        self._shift_ms = shift_ms
        self._again = again
        self._salt = urandom(8) if again else b""  # for new Frame-Ids, which the service counts
        self._oldest_ms = now_ms - REPLAY_PAST_S * 1000
        self._begin_batch()
        self._first_ms = self._last_ms = 0
        self.lines_read = self.lines_sent = self.lines_skipped = 0
        self.lines_ignored = self.lines_too_old = 0
        self.kinds: Counter[str] = Counter()
        self.unparsed_reasons: Counter[str] = Counter()

    def add(self, group: Sequence[LogLine], *, is_live: bool) -> None:
        """Add lines. In a live input, an empty group means that no line arrived for a while."""
        for line in group:
            self._add_line(line)
        age_s = time.monotonic() - self._begun_s
        if is_live and self._frames and (not group or age_s >= LIVE_FLUSH_S):
            self.flush()

    def begin_file(self) -> None:
        """Begin a file, which may repeat lines of the one before: they are not sent again."""
        self.flush()
        self._sent_lines.begin_file()

    def flush(self) -> None:
        """Deliver the current batch.

        Raises:
            DeliveryError: it was not acknowledged; its lines are given up.
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
        # If Ctrl-C comes before this line, the batch is sent again under the same Frame-Id.
        self.lines_sent += len(self._frames)
        if not self._shift_ms:
            self._sent_lines.add([key for key in self._keys if key not in self._sent_lines])
        self._begin_batch()

    def _begin_batch(self) -> None:
        self._frames: list[bytes] = []
        self._keys: list[int] = []
        self._bytes = 0
        self._begun_s = time.monotonic()

    def _add_line(self, line: LogLine) -> None:
        self.lines_read += 1
        self._classify(line)
        key = self._sent_lines.key(line.raw)
        if key in self._sent_lines and not self._again:
            self.lines_skipped += 1
            return
        frame = to_frame(line, self._shift_ms)
        is_full = len(self._frames) >= BATCH_LINES_MAX or self._bytes + len(frame) > BATCH_BYTES_MAX
        if is_full:
            self.flush()
        if not self._frames:
            self._begun_s = time.monotonic()
        self._frames.append(frame)
        self._keys.append(key)
        self._bytes += len(frame)

    def _classify(self, line: LogLine) -> None:
        """Count the line by kind, as the service will."""
        if line.message is None:
            self.unparsed_reasons[line.reason] += 1
            return
        at_ms = line.message.at_ms + self._shift_ms
        try:
            sample = heroku.parse(line.message)
        except ParseError as error:
            self.unparsed_reasons[error.reason] += 1
            return
        if at_ms >= self._oldest_ms:
            self._first_ms = min(at_ms, self._first_ms or at_ms)
            self._last_ms = max(at_ms, self._last_ms)
        elif sample is not None:
            self.lines_too_old += 1
            return
        if sample is None:
            self.lines_ignored += 1
        else:
            self.kinds[KINDS[type(sample)]] += 1

    def summary(self, target: Target) -> Iterator[str]:
        """The result, and the addresses that show it."""
        if not self.lines_read:
            yield "The input is empty: there was no line to send."
            return
        undelivered_lines = self.lines_read - self.lines_sent - self.lines_skipped
        yield (
            f"Lines           {self.lines_read:,} read, {self.lines_sent:,} sent"
            f", {self.lines_skipped:,} skipped"
            + (" (already sent; --again sends them)" if self.lines_skipped else "")
            + (f", {undelivered_lines:,} NOT DELIVERED" if undelivered_lines else "")
        )
        kinds = ", ".join(f"{self.kinds[kind]:,} {kind}" for kind in KINDS.values())
        yield f"Understood      {kinds}"
        yield f"Ignored         {self.lines_ignored:,} (application output, lines without a metric)"
        yield f"Not understood  {sum(self.unparsed_reasons.values()):,}"
        for reason, lines in sorted(self.unparsed_reasons.items()):
            yield f"                {lines:,} {reason}: {REASONS.get(reason, reason)}"
        if self.lines_too_old:
            yield f"Too old         {self.lines_too_old:,} (over 7 days; --shift-to-now moves them)"
        if self.kinds[KINDS[Request]] and not self.kinds[KINDS[RuntimeMetrics]]:
            yield no_runtime_metrics(target.app)
        if self._last_ms and undelivered_lines < self.lines_read:
            start, end = self._first_ms // 1000, self._last_ms // 1000 + 1
            yield (
                f"See             {target.url}/api/v1/apps/{target.app}/query"
                f"?metric=service_time_ms&stat=p50&stat=p95&start={_second(start)}&end={_second(end)}"
            )
            yield f"                {target.url}/"


def _second(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
