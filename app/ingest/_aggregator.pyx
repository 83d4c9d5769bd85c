# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""From log lines to sums: app.ingest.aggregator.Aggregator, for lines as Heroku usually writes them.

A line is read here only if it has exactly the usual form, byte by byte: a whole frame that ends at
a newline, a header with a time in UTC, and the text of a request that ended, of runtime metrics, or
of an app's own output, which is only counted. Every other frame is given to that Aggregator, which
defines what is meant, and the two are added up. So a form that is not known here costs time and
nothing else.
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
    add_counts,
    add_gauge,
    get_bins,
    add_requests,
    saturating_add,
    get_source,
)
from app.ingest._line_forms cimport (
    begins,
    Bytes,
    digits_in,
    error_code,
    is_dyno_output,
    is_of_no_use,
    Line,
    lower,
    only_space,
    read_readings,
    read_request,
    RuntimeMetrics,
    Request,
    space_in,
    usual_frame,
)

from app.ingest import aggregator as ingest
from app.rollup._encoder import pack_batch
from app.ingest.aggregator import MINUTE_S, NAMES_MAX, AggregatedBody, ActivityTimes, touched
from app.rollup.rollup import DEFAULT_LIMITS, CONNECT_FAILED, CONNECT_OK, NOT_YET_RUN, SERVICE_FAILED, SERVICE_OK, TERMINATED
from app.rollup.sketch import BIN_OF, TABLE_SIZE, bin_of
from app.rollup.statuses import FIRST_FAILED, SWITCHING_PROTOCOLS
from parsers import api_events as events
from parsers.framing import split
from parsers.samples import ROUTER_SOURCE, ParseError
from parsers.metrics import GAUGE_INDEX
from parsers.syslog_header import parse_timestamp_ms

cdef enum:
    BETWEEN_BYTES_MAX = 128  # 22 of those that Heroku writes
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
cdef int FRAMES_PER_TURN = 8_000  # about 4 ms
cdef int MINUTE_BYTES = 16  # 2026-11-22T10:00
cdef int SECOND_BYTES = 19
cdef int TIME_BYTES = 32  # 2026-11-22T10:00:00.123456+00:00

# The gauges of usual.pxd, in its order.
cdef int _gauges[11]
_gauges[:] = [
    GAUGE_INDEX[name]
    for name in (
        *(f"memory_{kind}_bytes" for kind in ("total", "rss", "cache", "swap")),
        *(f"memory_{kind}_pages" for kind in ("pgpgin", "pgpgout")),
        "memory_quota_bytes",
        "memory_quota_used_ratio",
        *(f"load_avg_{minutes}m" for minutes in (1, 5, 15)),
    )
]


# The minute that was read last, as it is written, and in milliseconds.
cdef unsigned char _written[16]
cdef long long _written_ms

cdef struct Time:
    long long ms
    long long minute  # since the epoch


@cython.final
cdef class Aggregator:
    """See app.ingest.aggregator.Aggregator."""

    cdef object _limits
    cdef object _arrived, _acceptance
    cdef object _unusual  # what takes lines of other forms; None until there are any
    cdef object _parts  # once they were asked for
    cdef dict _sums  # by the start of their minute
    cdef dict _books
    cdef long long _arrived_s, _earliest_ms, _latest_ms
    cdef long long _first_ms, _last_ms, _runtime_metrics_ms
    # Where the last line fell: most are in the same minute.
    cdef bint _lost
    cdef long long _minute
    cdef bint _all_inside
    cdef FastRollup _current
    cdef long long _counted, _ignored, _promised
    # What stood between time and text of the router's last line.
    cdef unsigned char _between[BETWEEN_BYTES_MAX]
    cdef Py_ssize_t _between_size  # 0: there was none

    def __init__(self, double arrived_s, acceptance, limits=DEFAULT_LIMITS):
        cdef double past_s = acceptance.past_s
        cdef double future_s = acceptance.future_s
        self._limits = limits
        self._arrived = arrived_s
        self._acceptance = acceptance
        self._sums = {}
        self._books = {}
        self._arrived_s = <long long>arrived_s
        self._earliest_ms = <long long>((arrived_s - past_s) * 1000)
        self._latest_ms = <long long>((arrived_s + future_s) * 1000)
        self._minute = -1

    def turns(self, bytes data, Py_ssize_t start=0):
        """See app.ingest.aggregator."""
        cdef Py_ssize_t position
        if not 0 <= start <= len(data):
            raise ValueError(start)
        self._lost = False
        position = self._usual_frames(data, start)
        while position < len(data):
            yield
            if not self._lost:
                position = self._usual_frames(data, position)
                continue
            # What is damaged, and how to go on, the framing knows; for the rest of this body.
            frames = split(data[position:])
            while turn := list(islice(frames, ingest.FRAMES_PER_TURN)):
                yield
                self.add_frames(turn)
            return

    def add_body(self, bytes data, Py_ssize_t start=0, long long promised=0):
        """See app.ingest.aggregator."""
        cdef Py_ssize_t position = start
        if not 0 <= start <= len(data):
            raise ValueError(start)
        self._promised += promised
        self._lost = False
        while position < len(data) and not self._lost:
            position = self._usual_frames(data, position)
        if position < len(data):
            self.add_frames(split(data[position:]))

    cdef Py_ssize_t _usual_frames(self, bytes body, Py_ssize_t position) except -1:
        """Take frames from `position`, as many as one turn may have; returns where the next one
        begins. _lost: it has no usual one there.
        """
        cdef Bytes begin = body
        cdef Bytes end = begin + len(body)
        cdef Bytes at = begin + position
        cdef Bytes message
        cdef Py_ssize_t size
        cdef int frames = 0
        while at < end and frames < FRAMES_PER_TURN:
            message = usual_frame(at, end, &size)
            if message == NULL:
                self._lost = True
                break
            if not self._usual(message, message + size):
                self._plain().add_frames((message[:size],))
            at = message + size
            frames += 1
        self._settle()
        return at - begin

    def add_frames(self, frames):
        """See app.ingest.aggregator."""
        cdef bytes frame
        cdef Bytes raw
        for item in frames:
            if type(item) is bytes:
                frame = item
                raw = frame
                if self._usual(raw, raw + len(frame)):
                    continue
            self._plain().add_frames((item,))
        self._settle()

    def add_unreadable(self, reason):
        """See app.ingest.aggregator."""
        self._plain().add_unreadable(reason)

    def add_promised(self, messages):
        """See app.ingest.aggregator."""
        self._promised += messages

    @property
    def activity(self):
        """See app.ingest.aggregator."""
        ours = self._seen()
        if self._unusual is None:
            return ours
        theirs = self._unusual.activity
        if not self._unusual.rollups:
            return ours
        if not self._last_ms:
            return theirs
        return ActivityTimes(
            min(ours.first_s, theirs.first_s),
            max(ours.last_s, theirs.last_s),
            max(ours.runtime_metrics_s, theirs.runtime_metrics_s),
        )

    def build_body(self):
        """What the messages taken so far come to; no more may be added."""
        if self._parts is None:
            self._parts = self._parts_now()
        return self._parts

    def packed(self):
        """The whole batch, as the store keeps it: see app.ingest.aggregator.AggregatedBody.packed. No more may be
        added.
        """
        cdef dict inside = self._sums
        cdef dict books = {}
        cdef FastRollup arrival
        if self._unusual is not None:
            return self.build_body().packed()
        for ledger in self._books.values():
            add_counts(books, ledger)
        if self._promised:
            books["promised"] = self._promised
        minute = self._arrived_s // MINUTE_S * MINUTE_S
        arrival = inside.get(minute)
        if arrival is None:
            arrival = FastRollup()
            inside = {**inside, minute: arrival}
        arrival.ledger = books
        packed = pack_batch(inside, self._limits)
        arrival.ledger = {}
        return packed

    @property
    def lines(self):
        """See app.ingest.aggregator."""
        if self._unusual is None:
            return touched(self._sums, self._arrived_s)
        return touched({*self._sums, *self._unusual.rollups}, self._arrived_s)

    cdef object _parts_now(self):
        cdef FastRollup sums
        if self._unusual is None:
            loose = {"promised": self._promised} if self._promised else {}
            return AggregatedBody(self._arrived_s, self._sums, self._books, loose, self._seen(), self._limits)
        seen = self.activity
        if self._promised:
            self._unusual.add_promised(self._promised)
        plain = self._unusual.build_body()
        for minute, rollup in plain.rollups.items():
            sums = self._sums.get(minute)
            if sums is None:
                sums = self._sums[minute] = FastRollup()
                self._books[minute] = {}
            sums.add(rollup)
            books = self._books[minute]
            for name, messages in plain.ledgers[minute].items():
                books[name] = books.get(name, 0) + messages
        return AggregatedBody(self._arrived_s, self._sums, self._books, plain.loose, seen, self._limits)

    def _seen(self):
        if not self._last_ms:
            return ActivityTimes(self._arrived_s, self._arrived_s, 0)
        return ActivityTimes(
            self._first_ms // 1000, self._last_ms // 1000, self._runtime_metrics_ms // 1000
        )

    cdef object _plain(self):
        if self._unusual is None:
            self._unusual = ingest.Aggregator(self._arrived, self._acceptance, self._limits)
        return self._unusual

    cdef int _settle(self) except -1:
        """Book what was counted of the present minute; bound what a hostile body fills."""
        if self._current is None:
            return 0
        if self._counted or self._ignored:
            books = self._books[self._minute * MINUTE_S]
            for name, messages in (
                ("counted", self._counted),
                ("ignored", self._ignored),
                ("received", self._counted + self._ignored),
            ):
                if messages:
                    books[name] = books.get(name, 0) + messages
            self._counted = self._ignored = 0
        if len(self._current.sources) > NAMES_MAX:
            rollup = self._current.to_rollup()
            rollup.apply_limits(self._limits)
            bounded = FastRollup()
            bounded.add(rollup)
            self._sums[self._minute * MINUTE_S] = self._current = bounded
        return 0

    cdef bint _usual(self, Bytes at, Bytes end) except -1:
        """Take a message of a usual form; False when it has another, and nothing was done."""
        cdef Time time
        cdef Line text
        cdef Bytes space = self._space_behind_time(at, end, &time)
        if space == NULL:
            return False
        text.end = end
        if self._is_routers(space, end):
            text.at = space + self._between_size
            if not self._turn_to(&time) or not self._router(&text, &time):
                return False
        elif not self._of_anybody(space, &text, &time):
            return False
        self._current.messages = saturating_add(self._current.messages, 1)
        if time.ms > self._last_ms:
            self._last_ms = time.ms
        if time.ms < self._first_ms or not self._first_ms:
            self._first_ms = time.ms
        return True

    cdef inline bint _is_routers(self, Bytes between, Bytes end) noexcept:
        """Whether the same stands here as in the router's last line, as mostly."""
        cdef Py_ssize_t size = self._between_size
        return size and end - between > size and not memcmp(between, self._between, size)

    cdef Bytes _space_behind_time(self, Bytes at, Bytes end, Time *time) except? NULL:
        """<PRI>1 TIMESTAMP; NULL where they are not usual."""
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
        space = at + TIME_BYTES  # as most are: what is in between then is no space
        if end - at <= TIME_BYTES or space[0] != c" " or not self._time(at, space, time):
            space = space_in(at, end)
            if space == NULL or not self._time(at, space, time):
                return NULL
        return space

    cdef bint _of_anybody(self, Bytes between, Line *text, const Time *time) except -1:
        """HOSTNAME APP-NAME PROCID MSGID and the text, behind the space at `between`."""
        cdef Bytes end = text.end
        cdef Bytes space = space_in(between + 1, end)  # HOSTNAME
        cdef Bytes app
        cdef Bytes procid
        cdef Bytes procid_end
        if space == NULL:
            return False
        app = space + 1
        space = space_in(app, end)
        if space == NULL:
            return False
        procid = space + 1
        procid_end = space_in(procid, end)
        if procid_end == NULL or space_in(procid_end + 1, end) == NULL:  # MSGID
            return False
        text.at = space_in(procid_end + 1, end) + 1
        if not self._turn_to(time):
            return False
        if space - app != 6 or memcmp(app, <Bytes>b"heroku", 6):
            if (
                space - app != 3
                or memcmp(app, <Bytes>b"app", 3)
                or is_dyno_output(procid, procid_end)
            ):
                self._ignored += 1
            elif not self._of_api(text, time, procid, procid_end - procid):
                return False
        elif procid_end - procid == 6 and not memcmp(procid, <Bytes>b"router", 6):
            if text.at - between <= BETWEEN_BYTES_MAX:
                self._between_size = text.at - between
                memcpy(self._between, between, self._between_size)
            return self._router(text, time)
        elif procid_end - procid == 7 and not memcmp(procid, <Bytes>b"logplex", 7):
            return False
        elif is_of_no_use(text):
            self._ignored += 1
        elif self._of_dyno(text, time, procid, procid_end - procid):
            self._counted += 1
        else:
            return False
        return True

    cdef bint _time(self, Bytes at, Bytes end, Time *time) except -1:
        """2026-11-22T10:00:00.123456+00:00, of nothing or one to nine digits after the point."""
        cdef Py_ssize_t size = end - at
        cdef int digits = size - SECOND_BYTES - 7
        cdef int position
        cdef long long ms = 0
        if digits != -1 and (digits < 1 or digits > 9 or at[SECOND_BYTES] != c"."):
            return False
        if memcmp(end - 6, <Bytes>b"+00:00", 6):
            return False
        if memcmp(at, _written, MINUTE_BYTES) and not _remember_minute(at):
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
        time.ms = _written_ms + ((at[17] - c"0") * 10 + at[18] - c"0") * 1000 + ms
        time.minute = _written_ms // MINUTE_MS
        return True

    cdef bint _turn_to(self, const Time *time) except -1:
        """Make the sums of this minute the current ones; False outside the acceptance."""
        cdef long long begin_ms
        if time.minute == self._minute and self._current is not None:
            return self._all_inside or self._earliest_ms <= time.ms <= self._latest_ms
        if not self._earliest_ms <= time.ms <= self._latest_ms:
            return False
        self._settle()
        self._minute = time.minute
        begin_ms = time.minute * MINUTE_MS
        self._all_inside = (
            self._earliest_ms <= begin_ms and begin_ms + MINUTE_MS <= self._latest_ms
        )
        start_s = time.minute * MINUTE_S
        found = self._sums.get(start_s)
        if found is None:
            found = self._sums[start_s] = FastRollup()
            self._books[start_s] = {}
        self._current = found
        return True

    cdef bint _router(self, Line *text, const Time *time) except -1:
        """at=info method=… dyno=web.1 connect=1ms service=18ms status=200 bytes=13 …; see
        parsers.router.
        """
        cdef Request request
        cdef Source source
        if not read_request(text, &request):
            return False
        if request.dyno_size:
            source = self._source(request.dyno, request.dyno_size)
        else:
            source = get_source(self._current, ROUTER_SOURCE)
        if source is None:
            return False
        if request.code_size:
            self._count_error(source, request.code, request.code_size)
        _observe(source, &request)
        _heard_from(source, time)
        self._counted += 1
        return True

    cdef bint _runtime(self, Line *text, const Time *time, Source source) except -1:
        """source=web.1 dyno=… sample#…; see parsers.runtime_metrics, of which these are the usual lines."""
        cdef RuntimeMetrics readings
        cdef GaugeSummary reading
        cdef int position
        if not read_readings(text, &readings):
            return False
        for position in range(readings.count):
            reading.count = 1
            reading.total = reading.smallest = reading.largest = readings.values[position]
            reading.last = readings.values[position]
            reading.last_at_ms = time.ms
            add_gauge(source, _gauges[readings.names[position]], &reading)
        _heard_from(source, time)
        if time.ms > self._runtime_metrics_ms:
            self._runtime_metrics_ms = time.ms
        return True

    cdef bint _of_dyno(
        self, Line *text, const Time *time, Bytes procid, Py_ssize_t procid_size
    ) except -1:
        """A line of a dyno; see parsers.dyno."""
        cdef Source source = self._source(procid, procid_size)
        if source is None:
            return False
        if begins(text, b"source=", 7):
            return self._runtime(text, time, source)
        if begins(text, b"Error ", 6):
            return self._error(text, time, source)
        if begins(text, b"State changed from ", 19):
            return self._change(text, time, source)
        if begins(text, b"Process exited with status ", 27):
            return self._exit(text, time, source)
        if begins(text, b"Cycling", 7) and only_space(text):
            return self._note("cycle", source.name, "", time)
        return False

    cdef bint _error(self, Line *text, const Time *time, Source source) except -1:
        """Error R14 (Memory quota exceeded)."""
        cdef Bytes code = text.at
        if not error_code(text):
            return False
        self._count_error(source, code, text.at - code)
        _heard_from(source, time)
        return True

    cdef bint _change(self, Line *text, const Time *time, Source source) except -1:
        """State changed from starting to up."""
        cdef Bytes before = text.at
        cdef Bytes after
        cdef Py_ssize_t before_size
        if not lower(text):
            return False
        before_size = text.at - before
        if not begins(text, b" to ", 4):
            return False
        after = text.at
        if not lower(text):
            return False
        to = after[: text.at - after]
        if not only_space(text):
            return False
        _heard_from(source, time)
        if to == b"crashed":
            self._note("crash", source.name, "", time)
        elif to == b"starting":
            was = before[:before_size].decode("ascii")
            if was not in NOT_YET_RUN:
                restarts = self._current.restarts
                restarts[source.name] = restarts.get(source.name, 0) + 1
                self._note("restart", source.name, f"was {was}", time)
        return True

    cdef bint _exit(self, Line *text, const Time *time, Source source) except -1:
        """Process exited with status 137."""
        cdef long long status
        if not digits_in(text, 3, &status) or not 0 <= status <= 255 or not only_space(text):
            return False
        key = (source.name, status)
        exits = self._current.exits
        exits[key] = exits.get(key, 0) + 1
        if status != 0 and status != TERMINATED:
            self._note("exit", source.name, str(status), time)
        return True

    cdef bint _of_api(
        self, const Line *text, const Time *time, Bytes procid, Py_ssize_t size
    ) except -1:
        """Take a line of app[api] that begins with a letter; they are few."""
        cdef tuple released
        if size != 3 or memcmp(procid, <Bytes>b"api", 3) or text.at == text.end:
            return False
        if not c"A" <= text.at[0] & 0xDF <= c"Z":
            return False
        event = events.parse(text.at[: text.end - text.at])
        if event is None:
            self._ignored += 1
            return True
        self._counted += 1
        self._note(event.kind, event.source, event.detail, time)
        if event.kind == "release":
            released = (time.ms, event.detail)
            self._current.released = max(self._current.released, released)
        return True

    cdef bint _note(self, str kind, str source, str detail, const Time *time) except -1:
        cdef tuple key = (time.ms, kind, source, detail)
        events = self._current.events
        events[key] = events.get(key, 0) + 1
        return True

    cdef int _count_error(self, Source source, Bytes code, Py_ssize_t size) except -1:
        key = (source.name, code[:size].decode("ascii"))
        errors = self._current.errors
        errors[key] = errors.get(key, 0) + 1
        return 0

    cdef Source _source(self, Bytes dyno, Py_ssize_t size):
        """The source of a dyno's name; None when Heroku gives no such name."""
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
    global _written_ms
    cdef long long ms
    cdef int position
    try:
        ms = parse_timestamp_ms(at[:MINUTE_BYTES] + b":00Z")
    except ParseError:
        return False
    if ms < 0:  # division would round the other way
        return False
    for position in range(MINUTE_BYTES):
        _written[position] = at[position]
    _written_ms = ms
    return True


cdef int _observe(Source source, const Request *request) except -1:
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


cdef inline int _heard_from(Source source, const Time *time) noexcept:
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
    tally.total += value_ms  # of ten digits at the most, in a body of some millions
    if value_ms > tally.largest:
        tally.largest = value_ms
    index = _bin_of[value_ms] if value_ms < TABLE else bin_of(value_ms)
    bins[index] += 1
    if index < of_type.low[which]:
        of_type.low[which] = index
    if index >= of_type.high[which]:
        of_type.high[which] = index + 1
    return 0
