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
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import chain
from os import urandom

from app.cli.output import ProgressLine, print_err, with_progress
from app.config import ConfigError, Settings
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.marked_post import account_for
from app.query.delivery import Delivery
from app.rollup.rollup import DEFAULT_LIMITS
from app.service.ranges import build_acceptance
from app.support.process import reliable_interrupts
from app.traffic.batch_sender import BatchSender, DeliveryError, Target, parse_target
from app.traffic.line_identity import identity_of
from app.traffic.log_files import LogFiles
from app.traffic.log_line import LogLine
from app.traffic.replay_summary import KINDS, Account, addresses, hints
from app.traffic.sent_lines import SentLines, sent_lines_path
from parsers import dispatch as heroku
from parsers.samples import ParseError

BATCH_LINES_MAX = 500
BATCH_BYTES_MAX = 100_000  # Logplex aims at 102,400
LIVE_FLUSH_S = 1.0  # longest time that a line of a live input waits for further lines
_UNREADABLE_BYTES_MAX = 1_000  # sent of an unreadable line; enough for the service to count it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
        "--alert",
        action="store_true",
        help="send alerts about an app that has only replayed lines, no log drain",
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
    with BatchSender(target, alert=arguments.alert) as sender:
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
            acceptance=build_acceptance(settings).for_replay(),
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
    """Sends lines in batches, and adds up the service's account of them."""

    def __init__(
        self,
        sender: BatchSender,
        sent_lines: SentLines,
        *,
        shift_ms: int,
        again: bool,
        acceptance: AcceptanceWindow,
    ) -> None:
        """
        Args:
            shift_ms: added to every time.
            again: also send lines that were sent before; the service is to count them as new.
            acceptance: which lines count, for a service that gives no account.
        """
        self._sender = sender
        self._sent_lines = sent_lines
        self._shift_ms = shift_ms
        self._again = again
        self._salt = urandom(8) if again else b""  # for new Frame-Ids, which the service counts
        self._acceptance = acceptance
        self._earliest_ms = int((time.time() - acceptance.past_s) * 1000)
        self._begin_batch()
        self.lines_read = self.lines_sent = self.lines_skipped = 0
        self.account = Account()

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
            delivery = self._sender.send(self._frames, frame_id)
        except DeliveryError:
            self._begin_batch()
            raise
        # If Ctrl-C comes before this line, the batch is sent again under the same Frame-Id.
        self.lines_sent += len(self._frames)
        self.account.add(delivery or self._estimate(), self._samples)
        if not self._shift_ms:
            self._sent_lines.add([key for key in self._keys if key not in self._sent_lines])
        self._begin_batch()

    def _estimate(self) -> Delivery:
        """The account of the current batch, for a service that gives none."""
        self.account.is_estimate = True
        now_s = time.time()
        aggregator = Aggregator(now_s, self._acceptance, DEFAULT_LIMITS)
        aggregator.add_body(b"".join(self._frames), 0, 0)
        return account_for(aggregator.build_body(), now_s, self._acceptance)

    def _begin_batch(self) -> None:
        self._frames: list[bytes] = []
        self._samples: list[tuple[int, str]] = []
        self._keys: list[int] = []
        self._bytes = 0
        self._begun_s = time.monotonic()

    def _add_line(self, line: LogLine) -> None:
        self.lines_read += 1
        keys = self._sent_lines.next_keys(identity_of(line), line.raw)
        if not self._again and any(key in self._sent_lines for key in keys):
            self.lines_skipped += 1
            if line.message is not None and line.message.at_ms >= self._earliest_ms:
                self.account.extend(line.message.at_ms // 1000)
            return
        frame = to_frame(line, self._shift_ms)
        is_full = len(self._frames) >= BATCH_LINES_MAX or self._bytes + len(frame) > BATCH_BYTES_MAX
        if is_full:
            self.flush()
        if not self._frames:
            self._begun_s = time.monotonic()
        self._frames.append(frame)
        self._add_sample(line)
        self._keys.append(keys[0])
        self._bytes += len(frame)

    def _add_sample(self, line: LogLine) -> None:
        """Remember the kind of the line until the service tells whether it was counted."""
        if line.message is None:
            return
        try:
            sample = heroku.parse(line.message)
        except ParseError:
            return
        if sample is not None:
            self._samples.append((line.message.at_ms + self._shift_ms, KINDS[type(sample)]))

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
        if self.lines_sent:
            yield from self.account.describe(is_shifted=bool(self._shift_ms))
            yield from hints(self.account, target)
        yield from addresses(self.account, target)
