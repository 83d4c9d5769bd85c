# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.ingest.aggregator.Aggregator: a fast path for the common forms of lines.

A line is read here only if it has exactly a common form, byte by byte: a complete frame that ends
at a newline, a header with a time in UTC, and the text of a finished request, of runtime metrics,
of a dyno event, or of an app's own output, which is only counted.

Every other frame goes to the Python Aggregator, which defines the meaning of all lines. At the end
both results are merged. So a form that is unknown here costs only time.
"""

cimport cython

from itertools import islice

from libc.string cimport memcmp, memcpy

from app.rollup._names cimport Name, hash_of, name_at
from app.rollup._rollup cimport (
    RECENT_SOURCES,
    ProcessType,
    GaugeSummary,
    Source,
    FastRollup,
    TimingTotals,
    add_count,
    add_counts,
    add_gauge,
    get_bins,
    add_requests,
    saturating_add,
    get_rows,
    get_source,
)
from app.ingest._line_forms cimport (
    skip_prefix,
    Bytes,
    read_digits,
    skip_error_code,
    Line,
    skip_lowercase,
    is_blank,
    read_runtime_metrics,
    read_request,
    RuntimeMetrics,
    Request,
    find_space,
    common_frame,
)

from app.ingest import aggregator as ingest
from app.rollup._encoder import pack_batch
from app.ingest.aggregator import (
    MINUTE_S,
    AggregatedBody,
    ActivityTimes,
    count_entries,
    covering_range,
)
from app.rollup.rollup import (
    DEFAULT_LIMITS,
    MEASURED,
    NOT_YET_RUN,
    TERMINATED,
    is_created_release,
    measured,
)
from app.rollup.schema import (
    CONNECT_FAILED,
    CONNECT_OK,
    CORE_GAUGES,
    SECTION,
    SERVICE_FAILED,
    SERVICE_OK,
)
from app.rollup.sketch import BIN_OF, TABLE_SIZE, bin_of
from app.rollup.statuses import FIRST_FAILED, SWITCHING_PROTOCOLS
from app.rollup.summaries import LatestText
from parsers import api_events as events
from parsers import dispatch, router
from parsers.framing import split, split_in_steps
from parsers.samples import (
    KILLING_ERRORS,
    LIFECYCLE_EVENTS,
    ROUTER_SOURCE,
    Event,
    Measurements,
    ParseError,
)
from parsers.syslog_header import parse_timestamp_ms

cdef enum:
    ROUTER_HEADER_BYTES_MAX = 128  # Heroku writes 22
    TABLE = 65536

cdef unsigned short _bin_of[TABLE]
cdef int _index
assert TABLE == TABLE_SIZE
for _index in range(TABLE):
    _bin_of[_index] = BIN_OF[_index]

cdef int _SERVICE_OK = SERVICE_OK, _SERVICE_FAILED = SERVICE_FAILED
cdef int _CONNECT_OK = CONNECT_OK, _CONNECT_FAILED = CONNECT_FAILED
cdef int _FIRST_FAILED = FIRST_FAILED, _SWITCHING_PROTOCOLS = SWITCHING_PROTOCOLS
cdef long long MINUTE_MS = 60_000
cdef int FRAMES_PER_STEP = ingest.FRAMES_PER_STEP
cdef int MINUTE_BYTES = 16  # 2026-11-22T10:00
cdef int SECOND_BYTES = 19
cdef int TIME_BYTES = 32  # 2026-11-22T10:00:00.123456+00:00

# The gauges of _line_forms.pxd, in its order.
cdef int _gauges[11]
_gauges[:] = [
    CORE_GAUGES[name]
    for name in (
        *(f"memory_{kind}_bytes" for kind in ("total", "rss", "cache", "swap")),
        *(f"memory_{kind}_pages" for kind in ("pgpgin", "pgpgout")),
        "memory_quota_bytes",
        "memory_quota_used_ratio",
        *(f"load_avg_{minutes}m" for minutes in (1, 5, 15)),
    )
]


# The routes of parsers.dispatch: the origins ("app api") that have a parser, and the beginnings of
# a dyno's lines that do. All other lines are ignored.
cdef enum:
    WORDS_MAX = 64

cdef enum:
    IGNORED, ROUTER, API, PYTHON

cdef struct Word:
    Bytes at
    Py_ssize_t size
    int route

cdef list _words = []  # owns the bytes
cdef Word _origins[WORDS_MAX]
cdef Word _beginnings[WORDS_MAX]
cdef int _origin_count = 0, _beginning_count = 0
cdef bint _is_first_byte[256]  # of a beginning


cdef Word _word(bytes word, int route):
    cdef Word entry
    _words.append(word)
    entry.at = word
    entry.size = len(word)
    entry.route = route
    return entry


assert len(dispatch.BY_ORIGIN) <= WORDS_MAX, "raise WORDS_MAX"
assert len(dispatch.BY_BEGINNING) <= WORDS_MAX, "raise WORDS_MAX"
for _origin, _parse in dispatch.BY_ORIGIN.items():
    _route = {router.parse: ROUTER, events.parse: API}.get(_parse, PYTHON)
    _origins[_origin_count] = _word(b" ".join(_origin), _route)
    _origin_count += 1
for _beginning, _ in dispatch.BY_BEGINNING:
    _beginnings[_beginning_count] = _word(_beginning, PYTHON)
    _is_first_byte[_beginning[0]] = True
    _beginning_count += 1


cdef int find_route(Bytes origin, Py_ssize_t size) noexcept:
    """The route of APP-NAME PROCID."""
    cdef int index
    for index in range(_origin_count):
        if _origins[index].size == size and not memcmp(_origins[index].at, origin, size):
            return _origins[index].route
    return IGNORED


cdef bint is_irrelevant(const Line *text) noexcept:
    """Whether a dyno's line begins with a letter, and not as one that has a parser."""
    cdef Py_ssize_t size = text.end - text.at
    cdef int index
    if size < 1 or not c"A" <= text.at[0] & 0xDF <= c"Z":
        return False
    if not _is_first_byte[text.at[0]]:
        return True
    for index in range(_beginning_count):
        if _beginnings[index].size <= size and not memcmp(
            _beginnings[index].at, text.at, _beginnings[index].size
        ):
            return False
    return True


# The last minute that was parsed, as text and in milliseconds. Most lines repeat it.
cdef unsigned char _minute_text[16]
cdef long long _minute_text_ms

cdef struct Time:
    long long ms
    long long minute  # since the epoch


@cython.final
cdef class Aggregator:
    """The compiled app.ingest.aggregator.Aggregator."""

    cdef object _limits
    cdef object _arrived, _acceptance
    cdef object _fallback  # the Python Aggregator for other forms; None until there are any
    cdef object _body  # the result of build_body
    cdef dict _rollups  # by start of their minute
    cdef dict _ledgers  # by the same minutes
    cdef long long _arrived_s, _earliest_ms, _latest_ms
    cdef long long _first_ms, _last_ms, _runtime_metrics_ms
    cdef bint _out_of_sync  # the next frame does not have the common form
    # The minute of the last line. Most lines fall into the same one.
    cdef long long _minute
    cdef bint _is_minute_accepted
    cdef FastRollup _current
    cdef long long _counted, _ignored, _promised
    # The bytes between time and text of the last router line. Most router lines repeat them.
    cdef unsigned char _router_header[ROUTER_HEADER_BYTES_MAX]
    cdef Py_ssize_t _router_header_size  # 0 before the first router line

    def __init__(self, double arrived_s, acceptance, limits=DEFAULT_LIMITS):
        cdef double past_s = acceptance.past_s
        cdef double future_s = acceptance.future_s
        self._limits = limits
        self._arrived = arrived_s
        self._acceptance = acceptance
        self._arrived_s = <long long>arrived_s
        self._earliest_ms = <long long>((arrived_s - past_s) * 1000)
        self._latest_ms = <long long>((arrived_s + future_s) * 1000)
        self._reset()

    cdef int _reset(self) except -1:
        self._fallback = self._body = self._current = None
        self._rollups = {}
        self._ledgers = {}
        self._first_ms = self._last_ms = self._runtime_metrics_ms = self._promised = 0
        self._minute = -1
        return 0

    def add_body_in_steps(self, bytes data, Py_ssize_t start=0):
        cdef Py_ssize_t position
        if not 0 <= start <= len(data):
            raise ValueError(start)
        self._out_of_sync = False
        position = self._add_common_frames(data, start)
        while position < len(data):
            yield
            if not self._out_of_sync:
                position = self._add_common_frames(data, position)
                continue
            # parsers.framing handles the damage, and splits the rest of this body.
            for step in split_in_steps(data[position:], ingest.FRAMES_PER_STEP):
                yield
                self.add_frames(step)
            return

    def add_body(self, bytes data, Py_ssize_t start=0, long long msg_count=0):
        cdef Py_ssize_t position = start
        if not 0 <= start <= len(data):
            raise ValueError(start)
        self._promised += msg_count
        self._out_of_sync = False
        while position < len(data) and not self._out_of_sync:
            position = self._add_common_frames(data, position)
        if position < len(data):
            self.add_frames(split(data[position:]))

    cdef Py_ssize_t _add_common_frames(self, bytes body, Py_ssize_t position) except -1:
        """Add up to FRAMES_PER_STEP frames from `position`; returns the position of the next one.

        Sets _out_of_sync if the next one does not have the common form.
        """
        cdef Bytes begin = body
        cdef Bytes end = begin + len(body)
        cdef Bytes at = begin + position
        cdef Bytes message
        cdef Py_ssize_t size
        cdef int frames = 0
        while at < end and frames < FRAMES_PER_STEP:
            message = common_frame(at, end, &size)
            if message == NULL:
                self._out_of_sync = True
                break
            if not self._add_common(message, message + size):
                self._open_fallback().add_frames((message[:size],))
            at = message + size
            frames += 1
        self._flush_counts()
        return at - begin

    def add_frames(self, frames):
        cdef bytes frame
        cdef Bytes raw
        for item in frames:
            if type(item) is bytes:
                frame = item
                raw = frame
                if self._add_common(raw, raw + len(frame)):
                    continue
            self._open_fallback().add_frames((item,))
        self._flush_counts()

    def add_unreadable(self, reason):
        self._open_fallback().add_unreadable(reason)

    def add_promised(self, messages):
        self._promised += messages

    def add_lost(self, messages):
        self._open_fallback().add_lost(messages)

    @property
    def activity(self):
        own = self._own_activity()
        if self._fallback is None:
            return own
        fallback = self._fallback.activity
        if not self._fallback.rollups:
            return own
        if not self._last_ms:
            return fallback
        return ActivityTimes(
            min(own.first_s, fallback.first_s),
            max(own.last_s, fallback.last_s),
            max(own.runtime_metrics_s, fallback.runtime_metrics_s),
        )

    def build_body(self):
        """Return all messages so far as one body; no more may be added afterwards."""
        if self._body is None:
            self._body = self._build_body()
        return self._body

    def take_body(self):
        """Return all messages so far as one body, and continue without them."""
        body = self.build_body()
        self._reset()
        return body

    @property
    def entry_count(self):
        """The number of entries in all rollups, a measure of memory."""
        entries = count_entries(self._rollups.values())
        return entries if self._fallback is None else entries + self._fallback.entry_count

    def pack(self):
        """Pack the batch for the store; no more messages may be added afterwards."""
        cdef dict rollups = self._rollups
        cdef dict ledger = {}
        cdef FastRollup arrival_rollup
        if self._fallback is not None:
            return self.build_body().pack()
        for minute_ledger in self._ledgers.values():
            add_counts(ledger, minute_ledger)
        if self._promised:
            ledger["promised"] = self._promised
        minute = self._arrived_s // MINUTE_S * MINUTE_S
        arrival_rollup = rollups.get(minute)
        if arrival_rollup is None:
            arrival_rollup = FastRollup()
            rollups = {**rollups, minute: arrival_rollup}
        arrival_rollup.ledger = ledger
        data = pack_batch(rollups, self._limits)
        arrival_rollup.ledger = {}
        return data

    @property
    def time_range(self):
        if self._fallback is None:
            return covering_range(self._rollups, self._arrived_s)
        return covering_range({*self._rollups, *self._fallback.rollups}, self._arrived_s)

    cdef object _build_body(self):
        cdef FastRollup fast_rollup
        if self._fallback is None:
            activity = self._own_activity()
            body_ledger = {"promised": self._promised} if self._promised else {}
        else:
            activity = self.activity
            if self._promised:
                self._fallback.add_promised(self._promised)
            fallback = self._fallback.build_body()
            for minute, rollup in fallback.rollups.items():
                fast_rollup = self._rollups.get(minute)
                if fast_rollup is None:
                    fast_rollup = self._rollups[minute] = FastRollup()
                    self._ledgers[minute] = {}
                fast_rollup.add(rollup)
                add_counts(self._ledgers[minute], fallback.ledgers[minute])
            body_ledger = fallback.body_ledger
        return AggregatedBody(
            self._arrived_s, self._rollups, self._ledgers, body_ledger, activity, self._limits
        )

    def _own_activity(self):
        if not self._last_ms:
            return ActivityTimes(self._arrived_s, self._arrived_s, 0)
        return ActivityTimes(
            self._first_ms // 1000, self._last_ms // 1000, self._runtime_metrics_ms // 1000
        )

    cdef object _open_fallback(self):
        if self._fallback is None:
            self._fallback = ingest.Aggregator(self._arrived, self._acceptance, self._limits)
        return self._fallback

    cdef int _flush_counts(self) except -1:
        """Add the counts of the current minute to its ledger."""
        if self._current is None:
            return 0
        if self._counted or self._ignored:
            ledger = self._ledgers[self._minute * MINUTE_S]
            for name, messages in (
                ("counted", self._counted),
                ("ignored", self._ignored),
                ("received", self._counted + self._ignored),
            ):
                if messages:
                    ledger[name] = ledger.get(name, 0) + messages
            self._counted = self._ignored = 0
        return 0

    cdef bint _add_common(self, Bytes at, Bytes end) except -1:
        """Add a message of a common form; False if it has another form, and nothing was added."""
        cdef Time time
        cdef Line text
        cdef Bytes space = self._skip_time(at, end, &time)
        if space == NULL:
            return False
        text.end = end
        if self._repeats_router_header(space, end):
            text.at = space + self._router_header_size
            if not self._select_minute(&time) or not self._add_request(&text, &time):
                return False
        elif not self._add_with_header(space, &text, &time):
            return False
        self._current.messages = saturating_add(self._current.messages, 1)
        if time.ms > self._last_ms:
            self._last_ms = time.ms
        if time.ms < self._first_ms or not self._first_ms:
            self._first_ms = time.ms
        return True

    cdef inline bint _repeats_router_header(self, Bytes at, Bytes end) noexcept:
        """Whether the header of the last router line is repeated here."""
        cdef Py_ssize_t size = self._router_header_size
        return size and end - at > size and not memcmp(at, self._router_header, size)

    cdef Bytes _skip_time(self, Bytes at, Bytes end, Time *time) except? NULL:
        """Read <PRI>1 TIMESTAMP; returns the space after it, or NULL for an uncommon form."""
        cdef Bytes space
        cdef int digits = 0
        if at >= end or at[0] != c"<":
            return NULL
        at += 1
        while at < end and c"0" <= at[0] <= c"9":
            at += 1
            digits += 1
        if digits < 1 or digits > 3 or end - at < 3 or memcmp(at, <Bytes>b">1 ", 3):
            return NULL
        at += 3
        space = at + TIME_BYTES  # the common length; a timestamp contains no space
        if end - at <= TIME_BYTES or space[0] != c" " or not self._parse_time(at, space, time):
            space = find_space(at, end)
            if space == NULL or not self._parse_time(at, space, time):
                return NULL
        return space

    cdef bint _add_with_header(self, Bytes header, Line *text, const Time *time) except -1:
        """Add HOSTNAME APP-NAME PROCID MSGID and the text; `header` is the space before them."""
        cdef Bytes end = text.end
        cdef Bytes space = find_space(header + 1, end)  # HOSTNAME
        cdef Bytes app
        cdef Bytes procid
        cdef Bytes procid_end
        cdef int route
        if space == NULL:
            return False
        app = space + 1
        space = find_space(app, end)
        if space == NULL:
            return False
        procid = space + 1
        procid_end = find_space(procid, end)
        if procid_end == NULL or find_space(procid_end + 1, end) == NULL:  # MSGID
            return False
        text.at = find_space(procid_end + 1, end) + 1
        if not self._select_minute(time):
            return False
        route = find_route(app, procid_end - app)
        if route == ROUTER:
            if text.at - header <= ROUTER_HEADER_BYTES_MAX:
                self._router_header_size = text.at - header
                memcpy(self._router_header, header, self._router_header_size)
            return self._add_request(text, time)
        if route == API:
            return self._add_api_line(text, time)
        if route == PYTHON:
            return False
        if space - app != 6 or memcmp(app, <Bytes>b"heroku", 6) or is_irrelevant(text):
            self._ignored += 1
        elif self._add_dyno_line(text, time, procid, procid_end - procid):
            self._counted += 1
        else:
            return False
        return True

    cdef bint _parse_time(self, Bytes at, Bytes end, Time *time) except -1:
        """Parse 2026-11-22T10:00:00.123456+00:00, with no fraction or one to nine digits."""
        cdef Py_ssize_t size = end - at
        cdef int digits = size - SECOND_BYTES - 7
        cdef int position
        cdef long long ms = 0
        if digits != -1 and (digits < 1 or digits > 9 or at[SECOND_BYTES] != c"."):
            return False
        if memcmp(end - 6, <Bytes>b"+00:00", 6):
            return False
        if memcmp(at, _minute_text, MINUTE_BYTES) and not _remember_minute(at):
            return False
        if at[16] != c":" or not c"0" <= at[17] <= c"5" or not c"0" <= at[18] <= c"9":
            return False
        for position in range(20, 20 + digits):
            if not c"0" <= at[position] <= c"9":
                return False
        if digits > 0:
            ms = (at[20] - c"0") * 100
        if digits > 1:
            ms += (at[21] - c"0") * 10
        if digits > 2:
            ms += at[22] - c"0"
        time.ms = _minute_text_ms + ((at[17] - c"0") * 10 + at[18] - c"0") * 1000 + ms
        time.minute = _minute_text_ms // MINUTE_MS
        return True

    cdef bint _select_minute(self, const Time *time) except -1:
        """Make this minute the current one; False outside the acceptance window."""
        cdef long long begin_ms
        if time.minute == self._minute and self._current is not None:
            return self._is_minute_accepted or self._earliest_ms <= time.ms <= self._latest_ms
        if not self._earliest_ms <= time.ms <= self._latest_ms:
            return False
        self._flush_counts()
        self._minute = time.minute
        begin_ms = time.minute * MINUTE_MS
        self._is_minute_accepted = (
            self._earliest_ms <= begin_ms and begin_ms + MINUTE_MS <= self._latest_ms
        )
        start_s = time.minute * MINUTE_S
        rollup = self._rollups.get(start_s)
        if rollup is None:
            rollup = self._rollups[start_s] = FastRollup()
            self._ledgers[start_s] = {}
        self._current = rollup
        return True

    cdef bint _add_request(self, Line *text, const Time *time) except -1:
        """Add `at=info method=… dyno=web.1 connect=1ms service=18ms status=200 bytes=13 …`."""
        cdef Request request
        cdef Source source
        if not read_request(text, &request):
            return False
        if request.dyno_size:
            source = self._find_source(request.dyno, request.dyno_size)
        else:
            source = get_source(self._current, ROUTER_SOURCE)
            request.connect_ms = request.service_ms = -1  # it reached no dyno
        if source is None:
            return False
        if request.code_size:
            self._count_error(source, request.code, request.code_size)
        _observe_request(source, &request)
        _mark_active(source, time)
        self._counted += 1
        return True

    cdef bint _add_runtime_metrics(self, Line *text, const Time *time, Source source) except -1:
        """Add `source=web.1 dyno=… sample#…`, the common forms of parsers.runtime_metrics."""
        cdef RuntimeMetrics readings
        cdef GaugeSummary reading
        cdef int position
        if not read_runtime_metrics(text, &readings):
            return False
        for position in range(readings.count):
            reading.count = 1
            reading.total = reading.smallest = reading.largest = readings.values[position]
            reading.last = readings.values[position]
            reading.last_at_ms = time.ms
            add_gauge(source, _gauges[readings.names[position]], &reading)
        _mark_active(source, time)
        if time.ms > self._runtime_metrics_ms:
            self._runtime_metrics_ms = time.ms
        return True

    cdef bint _add_dyno_line(
        self, Line *text, const Time *time, Bytes procid, Py_ssize_t procid_size
    ) except -1:
        """Add a dyno line; parsers.dyno defines the meaning."""
        cdef Source source = self._find_source(procid, procid_size)
        if source is None:
            return False
        if skip_prefix(text, b"source=", 7):
            return self._add_runtime_metrics(text, time, source)
        if skip_prefix(text, b"Error ", 6):
            return self._add_error(text, time, source)
        if skip_prefix(text, b"State changed from ", 19):
            return self._add_state_change(text, time, source)
        if skip_prefix(text, b"Process exited with status ", 27):
            return self._add_exit(text, time, source)
        return self._add_rare_line(text, time, source)

    cdef bint _add_rare_line(self, const Line *text, const Time *time, Source source) except -1:
        """Add a line that Python parses into an event, or into measurements of tagged sections."""
        cdef bytes line = text.at[: text.end - text.at]
        for beginning, parse in dispatch.BY_BEGINNING:
            if line.startswith(beginning):
                break
        else:
            return False
        try:
            sample = parse(source.name, line)
        except ParseError:
            return False
        if type(sample) is Event:
            return self._add_event(sample.kind, sample.source, sample.detail, time)
        if type(sample) is not Measurements or any(
            [MEASURED[name][0].is_core for name, _ in sample.values]
        ):
            return False
        for name, value in sample.values:
            section, column = MEASURED[name]
            rows = get_rows(self._current, section.name)
            section.merge_row(rows, (source.name, column), measured(name, value, time.ms))
        _mark_active(source, time)
        return True

    cdef bint _add_error(self, Line *text, const Time *time, Source source) except -1:
        """Add `Error R14 (Memory quota exceeded)`."""
        cdef Bytes code = text.at
        if not skip_error_code(text):
            return False
        self._count_error(source, code, text.at - code)
        name = code[: text.at - code].decode("ascii")
        if name in KILLING_ERRORS:
            self._add_event("stop", source.name, name, time)
        _mark_active(source, time)
        return True

    cdef bint _add_state_change(self, Line *text, const Time *time, Source source) except -1:
        """Add `State changed from starting to up`."""
        cdef Bytes old = text.at
        cdef Bytes new
        cdef Py_ssize_t old_size
        if not skip_lowercase(text):
            return False
        old_size = text.at - old
        if not skip_prefix(text, b" to ", 4):
            return False
        new = text.at
        if not skip_lowercase(text):
            return False
        new_state = new[: text.at - new]
        if not is_blank(text):
            return False
        _mark_active(source, time)
        if new_state == b"crashed":
            self._add_event("crash", source.name, "", time)
        elif new_state == b"up" or new_state == b"down":
            self._add_event(new_state.decode("ascii"), source.name, "", time)
        elif new_state == b"starting":
            old_state = old[:old_size].decode("ascii")
            if old_state not in NOT_YET_RUN:
                add_count(get_rows(self._current, "restarts"), source.name, 1)
                self._add_event("restart", source.name, f"was {old_state}", time)
        return True

    cdef bint _add_exit(self, Line *text, const Time *time, Source source) except -1:
        """Add `Process exited with status 137`."""
        cdef long long status
        if not read_digits(text, 3, &status) or not 0 <= status <= 255 or not is_blank(text):
            return False
        add_count(get_rows(self._current, "exits"), (source.name, status), 1)
        if status != 0 and status != TERMINATED:
            self._add_event("exit", source.name, str(status), time)
        return True

    cdef bint _add_api_line(self, const Line *text, const Time *time) except -1:
        """Add an app[api] line that begins with a letter. These are rare, so Python parses them."""
        if text.at == text.end or not c"A" <= text.at[0] & 0xDF <= c"Z":
            return False
        is_event = text.at[0] <= c"Z"  # `source=…` of a database is none
        event = events.parse(text.at[: text.end - text.at]) if is_event else None
        if event is None:
            self._ignored += 1
            return True
        self._counted += 1
        self._add_event(event.kind, event.source, event.detail, time)
        if is_created_release(event):
            release = LatestText(time.ms, event.detail)
            SECTION["released"].merge_row(get_rows(self._current, "released"), (), release)
        return True

    cdef bint _add_event(self, str kind, str source, str detail, const Time *time) except -1:
        # By plain tuples: an EventKey takes three times as long to make.
        section = "lifecycle" if kind in LIFECYCLE_EVENTS else "events"
        add_count(get_rows(self._current, section), (time.ms, kind, source, detail), 1)
        return True

    cdef int _count_error(self, Source source, Bytes code, Py_ssize_t size) except -1:
        add_count(self._current.errors, (source.name, code[:size].decode("ascii")), 1)
        return 0

    cdef Source _find_source(self, Bytes dyno, Py_ssize_t size):
        """The source of a dyno's name; None if Heroku does not use such names."""
        cdef unsigned int place = hash_of(dyno, size) % RECENT_SOURCES
        cdef Source known
        cdef Name name
        if self._current.recent_sources[place] != NULL:
            known = <Source>self._current.recent_sources[place]
            if known.cached_name.size == size and not memcmp(known.cached_name.raw, dyno, size):
                return known
        name = name_at(dyno, size)
        if name is None or name.source is None:
            return None
        known = get_source(self._current, name.source)
        if known.cached_name is name:
            self._current.recent_sources[place] = <void *>known
        return known


cdef bint _remember_minute(Bytes at) except -1:
    """Parse and cache the minute at `at`; False if it is not a valid one after 1970."""
    global _minute_text_ms
    cdef long long ms
    cdef int position
    try:
        ms = parse_timestamp_ms(at[:MINUTE_BYTES] + b":00Z")
    except ParseError:
        return False
    if ms < 0:  # C division would round in the other direction
        return False
    for position in range(MINUTE_BYTES):
        _minute_text[position] = at[position]
    _minute_text_ms = ms
    return True


cdef int _observe_request(Source source, const Request *request) except -1:
    cdef ProcessType of_type = source.process_type
    cdef bint failed = request.status >= _FIRST_FAILED or not request.status
    add_requests(source, request.status, 1)
    if request.size > 0:
        of_type.response_bytes = saturating_add(of_type.response_bytes, request.size)
    if request.status != _SWITCHING_PROTOCOLS:
        if request.service_ms >= 0:
            _observe_time(source, _SERVICE_FAILED if failed else _SERVICE_OK, request.service_ms)
        if request.connect_ms >= 0:
            _observe_time(source, _CONNECT_FAILED if failed else _CONNECT_OK, request.connect_ms)
    return 0


cdef inline int _mark_active(Source source, const Time *time) noexcept:
    if source.is_dyno:
        source.active_minutes |= <unsigned long long>1 << (time.minute % 60)
    return 0


cdef int _observe_time(Source source, int which, long long value_ms) except -1:
    cdef TimingTotals *tally = &source.tallies[which]
    cdef ProcessType of_type = source.process_type
    cdef long long *bins = of_type.bins[which]
    cdef int index
    if bins == NULL:
        bins = get_bins(of_type, which)
    tally.count += 1
    tally.total += value_ms  # no overflow: at most ten digits, and some millions of lines a body
    if value_ms > tally.largest:
        tally.largest = value_ms
    index = _bin_of[value_ms] if value_ms < TABLE else bin_of(value_ms)
    bins[index] += 1
    if index < of_type.low[which]:
        of_type.low[which] = index
    if index >= of_type.high[which]:
        of_type.high[which] = index + 1
    return 0
