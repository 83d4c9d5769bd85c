# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.ingest.aggregator.Aggregator.

It reads frames, headers, and the lines of which there are many: those of the router and runtime
metrics, by their keys, and an app's own output, which is only counted. A short line of a dyno is
read once, and counted the same way whenever it repeats.

Every other message is read by the Python parsers, which define the meaning of all. So a form that
is unknown here costs only the time of this one message.
"""

cimport cython

from libc.string cimport memcmp

from app.ingest._frames cimport DAMAGE, FRAME, Body, next_item
from app.ingest._lines cimport (
    COUNTED, IGNORED, LOAD, MEMORY, PAGES, UNDECIDED, UNKNOWN, UNPARSED, Readings, Request,
    add_used_ratio, read_overflow, read_readings, read_request, read_running,
)
from app.ingest._message cimport Clock, Message, read_message, skip_structured_data
from app.ingest._open_lines cimport add_addon_line, add_marks
from app.ingest._text cimport KEYS_MAX, Bytes, Keys, Text, begins_with, find_key, size_of, skip_word
from app.rollup._names cimport Name, hash_of, name_at
from app.rollup._rollup cimport (
    GAUGES, RECENT_SOURCES, FastRollup, GaugeSummary, ProcessType, Source, TimingTotals,
    add_count, add_counts, add_gauge, add_requests, get_bins, get_rows, get_source, saturating_add,
)

from app.ingest import aggregator as ingest
from app.ingest.aggregator import ActivityTimes, AggregatedBody, count_entries, covering_range
from app.rollup._encoder import pack_batch
from app.rollup.rollup import DEFAULT_LIMITS, Rollup, is_created_release
from app.rollup.schema import (
    CONNECT_FAILED, CONNECT_OK, CORE_GAUGES, EVENT, SECTION, SERVICE_FAILED, SERVICE_OK,
)
from app.rollup.sketch import BIN_OF, TABLE_SIZE, bin_of
from app.rollup.statuses import FIRST_FAILED, SWITCHING_PROTOCOLS
from app.rollup.summaries import COUNT, LatestText
from app.rollup.summaries import GaugeSummary as PyGaugeSummary
from parsers import addons, dispatch, dyno, router, runtime_metrics
from parsers.samples import (
    APP_EVENTS, LOG_STREAM_SOURCE, ROUTER_SOURCE, Event, HerokuError, ParseError, RuntimeMetrics,
)
from parsers.syslog_header import parse_message

cdef enum:
    KNOWN_LINES_MAX = 2_048
    KNOWN_BYTES_MAX = 128
    TABLE = 65_536
    MINUTE_MS = 60_000
    MINUTE_S = 60

cdef unsigned short _bin_of[TABLE]
cdef int _index
assert TABLE == TABLE_SIZE
for _index in range(TABLE):
    _bin_of[_index] = BIN_OF[_index]

cdef int _SERVICE_OK = SERVICE_OK, _SERVICE_FAILED = SERVICE_FAILED
cdef int _CONNECT_OK = CONNECT_OK, _CONNECT_FAILED = CONNECT_FAILED
cdef int _FIRST_FAILED = FIRST_FAILED, _SWITCHING_PROTOCOLS = SWITCHING_PROTOCOLS
cdef int FRAMES_PER_STEP = ingest.FRAMES_PER_STEP


# --- the keys of lines, from the tables of the parsers ---------------------------------------------

cdef enum:
    PYTHON, ROUTER, LOG_STREAM, RUNTIME, RUNNING, ADDON  # which reader a line has

cdef list _prefixes = []  # owns the bytes


cdef Keys make_keys(entries) except *:
    """Make keys of (prefix, kind, number)."""
    cdef Keys keys
    cdef bytes prefix
    keys.count = 0
    assert len(entries) <= KEYS_MAX, "raise KEYS_MAX"
    for prefix, kind, number in entries:
        _prefixes.append(prefix)
        keys.keys[keys.count].prefix = prefix
        keys.keys[keys.count].size = len(prefix)
        keys.keys[keys.count].kind = kind
        keys.keys[keys.count].number = number
        keys.count += 1
    return keys


_READERS = {
    router.parse: ROUTER,
    dyno.parse_stream_error: LOG_STREAM,
    runtime_metrics.parse: RUNTIME,
    runtime_metrics.parse_running: RUNNING,
    addons.parse_postgres: ADDON,
    addons.parse_redis: ADDON,
    addons.parse_pgbouncer: ADDON,
}
_KINDS = {
    runtime_metrics.parse_memory: MEMORY,
    runtime_metrics.parse_pages: PAGES,
    runtime_metrics.parse_load: LOAD,
}
cdef list _origin_parsers = list(dispatch.BY_ORIGIN.values())
cdef Keys _origins = make_keys(
    [
        (b"%b %b " % origin, _READERS.get(parse, PYTHON), 0)
        for origin, parse in dispatch.BY_ORIGIN.items()
    ]
)
cdef Keys _beginnings = make_keys(
    [(beginning, _READERS.get(parse, PYTHON), 0) for beginning, parse in dispatch.BY_BEGINNING]
)
cdef Keys _router_head = make_keys(
    [(b"%b=" % name, 0, 0) for name in (router.CODE_FIELD, *router.CLIENT_FIELDS)]
)
cdef Keys _router_tail = make_keys([(b"%b=" % name, 0, 0) for name in router.TAIL_FIELDS[::-1]])
cdef Keys _samples = make_keys(
    [
        (b"sample#%b=" % name, _KINDS.get(parse, UNKNOWN), CORE_GAUGES[gauge])
        for name, (gauge, parse) in runtime_metrics.GAUGES.items()
    ]
)
cdef Keys _units = make_keys(
    [(unit, 0, size.bit_length() - 1) for unit, size in runtime_metrics.UNIT_BYTES.items()]
)
cdef int _TOTAL = CORE_GAUGES[runtime_metrics.TOTAL]
cdef int _QUOTA = CORE_GAUGES[runtime_metrics.QUOTA]
cdef int _USED_RATIO = CORE_GAUGES[runtime_metrics.USED_RATIO]
cdef Clock _clock


# --- known lines ----------------------------------------------------------------------------------


@cython.final
cdef class KnownLine:
    """The rows that a line of a dyno counts, whichever dyno logs it, and whenever."""

    cdef bint is_active  # whether it shows that the dyno is active
    # (section, kind, column, count) of each row. Its key is source and column; without a column the
    # source alone; with a kind it is the key of an event, which has a time, too.
    cdef list counts


cdef str _ANY_DYNO = ".1"  # in the place of the source; no dyno has this name
cdef dict _known_lines = {}  # by their text


cdef KnownLine read_known_line(parse, bytes text):
    """Let Python read the line of a dyno; None if it is not one that only counts."""
    cdef KnownLine line = KnownLine()
    try:
        sample = parse(_ANY_DYNO, text)
    except ParseError:
        return None
    if sample is None:
        return None
    rollup = Rollup()
    rollup.observe(sample, 0)
    line.counts = []
    for name, section in SECTION.items():
        for key, count in rollup.rows(section).items():
            columns = section.columns_of(key)
            if name == "active_minutes":
                line.is_active = True
            elif section.keys == EVENT:
                line.counts.append((name, columns[1], columns[3], count))
            elif section.values is COUNT and columns[0] == _ANY_DYNO and len(columns) <= 2:
                line.counts.append((name, None, columns[1] if columns[1:] else None, count))
            else:
                return None
    return line


# --- the aggregator -------------------------------------------------------------------------------


@cython.final
cdef class BodyInSteps:
    """A body, and how far it was read."""

    cdef bytes data
    cdef Body body

    def __cinit__(self, bytes data, Py_ssize_t start):
        cdef Bytes begin = data
        if not 0 <= start <= len(data):
            raise ValueError(start)
        self.data = data
        self.body.begin = self.body.at = self.body.newline = begin + start
        self.body.end = begin + len(data)
        self.body.search = NULL


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class Minute:
    """What the messages of one minute add up to."""

    cdef long long number  # since the epoch
    cdef unsigned long long bit  # of the minute in Source.active_minutes
    cdef bint is_accepted  # entirely
    cdef FastRollup rollup
    cdef dict ledger
    cdef long long counted, ignored  # not in the ledger yet

    def __cinit__(self, long long number, bint is_accepted, dict ledger):
        self.number = number
        self.bit = <unsigned long long>1 << (number % 60 + 60) % 60
        self.is_accepted = is_accepted
        self.rollup = FastRollup()
        self.ledger = ledger

    cdef dict complete_ledger(self):
        add_messages(self.ledger, "counted", self.counted)
        add_messages(self.ledger, "ignored", self.ignored)
        add_messages(self.ledger, "received", self.counted + self.ignored)
        self.counted = self.ignored = 0
        return self.ledger


cdef int add_messages(dict ledger, str name, long long messages) except -1:
    if messages:
        ledger[name] = ledger.get(name, 0) + messages
    return 0


cdef int count_unparsed(dict ledger, str reason) except -1:
    add_messages(ledger, "received", 1)
    return add_messages(ledger, f"unparsed:{reason}", 1)


@cython.final
cdef class Aggregator:
    """The compiled app.ingest.aggregator.Aggregator."""

    cdef object _limits
    cdef bint _reads_marks  # custom metrics are on
    cdef dict _minutes  # by start
    cdef dict _body_ledger
    cdef long long _arrived_s, _earliest_ms, _latest_ms
    cdef long long _first_ms, _last_ms, _runtime_metrics_ms
    cdef Minute _minute  # of the current message. Most fall into the same one.
    cdef Minute _outside  # for messages outside the acceptance window; its rollup is dropped

    def __init__(
        self, double arrived_s, acceptance, limits=DEFAULT_LIMITS, bint reads_marks=False
    ):
        cdef double past_s = acceptance.past_s
        cdef double future_s = acceptance.future_s
        self._limits = limits
        self._reads_marks = reads_marks
        self._arrived_s = <long long>arrived_s
        self._earliest_ms = <long long>((arrived_s - past_s) * 1000)
        self._latest_ms = <long long>((arrived_s + future_s) * 1000)
        self._reset()

    cdef int _reset(self) except -1:
        self._minutes = {}
        self._body_ledger = {}
        self._minute = self._outside = None
        self._first_ms = self._last_ms = self._runtime_metrics_ms = 0
        return 0

    def add_body_in_steps(self, bytes data, Py_ssize_t start=0):
        cdef BodyInSteps body = BodyInSteps(data, start)
        while self._add_step(&body.body):
            yield

    def add_body(self, bytes data, Py_ssize_t start=0, long long msg_count=0):
        cdef BodyInSteps body = BodyInSteps(data, start)
        self.add_promised(msg_count)
        while self._add_step(&body.body):
            continue

    cdef bint _add_step(self, Body *body) except -1:
        """Add up to FRAMES_PER_STEP frames; False at the end of the body."""
        cdef Text message
        cdef int item
        cdef int frames = 0
        while frames < FRAMES_PER_STEP:
            item = next_item(body, &message)
            if item == FRAME:
                self._add_message(message.at, message.end)
            elif item == DAMAGE:
                self.add_unreadable("frame")
            else:
                break
            frames += 1
        self._outside = None
        return body.at < body.end

    def add_frames(self, frames):
        cdef bytes message
        cdef Bytes begin
        for frame in frames:
            if isinstance(frame, bytes):
                message = frame
                begin = message
                self._add_message(begin, begin + len(message))
            else:
                self.add_unreadable(frame.reason)

    def add_unreadable(self, str reason):
        count_unparsed(self._body_ledger, reason)

    def add_promised(self, long long messages):
        add_messages(self._body_ledger, "promised", messages)

    def add_lost(self, long long messages):
        add_messages(self._body_ledger, "lost_upstream", messages)

    @property
    def activity(self):
        if not self._last_ms:
            return ActivityTimes(self._arrived_s, self._arrived_s, 0)
        return ActivityTimes(
            self._first_ms // 1000, self._last_ms // 1000, self._runtime_metrics_ms // 1000
        )

    @property
    def time_range(self):
        return covering_range(self._minutes, self._arrived_s)

    @property
    def entry_count(self):
        """The number of entries in all rollups, a measure of memory."""
        return count_entries(self._rollups().values())

    cdef dict _rollups(self):
        cdef Minute minute
        return {start_s: minute.rollup for start_s, minute in self._minutes.items()}

    def build_body(self):
        """Return all messages so far as one body."""
        cdef Minute minute
        ledgers = {start_s: minute.complete_ledger() for start_s, minute in self._minutes.items()}
        return AggregatedBody(
            *(self._arrived_s, self._rollups(), ledgers, self._body_ledger),
            *(self.activity, self._limits),
        )

    def take_body(self):
        """Return all messages so far as one body, and continue without them."""
        body = self.build_body()
        self._reset()
        return body

    def pack(self):
        """Pack the batch for the store."""
        cdef Minute minute
        cdef FastRollup arrival_rollup
        cdef dict rollups = self._rollups()
        cdef dict ledger = dict(self._body_ledger)
        for minute in self._minutes.values():
            add_counts(ledger, minute.complete_ledger())
        start_s = self._arrived_s // MINUTE_S * MINUTE_S
        arrival_rollup = rollups.get(start_s)
        if arrival_rollup is None:
            arrival_rollup = rollups[start_s] = FastRollup()
        dropped = arrival_rollup.ledger
        add_counts(ledger, dropped)
        arrival_rollup.ledger = ledger
        data = pack_batch(rollups, self._limits)
        arrival_rollup.ledger = dropped
        return data

    # --- messages ---------------------------------------------------------------------------------

    cdef int _add_message(self, Bytes at, Bytes end) except -1:
        cdef Message message
        cdef int outcome = UNDECIDED
        if read_message(at, end, &_clock, &message):
            self._select_minute(message.at_ms)
            outcome = self._add_text(&message)
        if outcome == UNDECIDED:
            return self._add_in_python(at[: end - at])
        return self._count(outcome, message.at_ms)

    cdef int _add_in_python(self, bytes frame) except -1:
        try:
            message = parse_message(frame)
        except ParseError as error:
            return count_unparsed(self._body_ledger, error.reason)
        self._select_minute(message.at_ms)
        try:
            sample = dispatch.parse(message, self._reads_marks)
        except ParseError as error:
            return self._count(self._reject(error.reason), message.at_ms)
        if sample is None:
            return self._count(IGNORED, message.at_ms)
        self._add_sample(sample, message.at_ms)
        return self._count(COUNTED, message.at_ms)

    cdef inline int _select_minute(self, long long at_ms) except -1:
        """Make the minute of this time the current one, or `_outside`."""
        cdef Minute minute = self._minute
        cdef long long number = at_ms // MINUTE_MS - (at_ms % MINUTE_MS < 0)
        if minute is None or minute.number != number or not minute.is_accepted:
            self._minute = self._find_minute(at_ms, number)
        return 0

    cdef Minute _find_minute(self, long long at_ms, long long number):
        cdef long long begin_ms = number * MINUTE_MS
        if not self._earliest_ms <= at_ms <= self._latest_ms:
            if self._outside is None:
                self._outside = Minute(0, False, self._body_ledger)
            return self._outside
        minute = self._minutes.get(number * MINUTE_S)
        if minute is None:
            is_accepted = self._earliest_ms <= begin_ms and begin_ms + MINUTE_MS <= self._latest_ms
            minute = self._minutes[number * MINUTE_S] = Minute(number, is_accepted, {})
        return minute

    cdef inline int _count(self, int outcome, long long at_ms) except -1:
        """Count a message that was read."""
        cdef Minute minute = self._minute
        if minute is self._outside:
            if outcome == COUNTED:
                name = "too_old" if at_ms < self._earliest_ms else "too_new"
                add_messages(self._body_ledger, name, 1)
                add_messages(self._body_ledger, "received", 1)
            elif outcome == IGNORED:
                add_messages(self._body_ledger, "ignored", 1)
                add_messages(self._body_ledger, "received", 1)
            return 0
        minute.rollup.messages += 1
        if at_ms > self._last_ms:
            self._last_ms = at_ms
        if at_ms < self._first_ms or not self._first_ms:
            self._first_ms = at_ms
        if outcome == COUNTED:
            minute.counted += 1
        elif outcome == IGNORED:
            minute.ignored += 1
        return 0

    # --- lines: what is UNDECIDED has added nothing -------------------------------------------------

    cdef int _add_text(self, Message *message) except -1:
        cdef int outcome
        cdef int origin = find_key(&_origins, &message.origin, 0)
        if origin < 0 and not begins_with(&message.origin, b"heroku ", 7):
            return self._add_output(message) if self._reads_marks else IGNORED
        if not skip_structured_data(&message.text):
            return UNDECIDED
        if origin < 0:
            return self._add_dyno_line(message)
        if _origins.keys[origin].kind == ROUTER:
            return self._add_request(&message.text)
        if _origins.keys[origin].kind == LOG_STREAM:
            return self._add_overflow(&message.text)
        if _origins.keys[origin].kind == ADDON:
            outcome = add_addon_line(
                self._minute.rollup, _origin_parsers[origin], message.text, message.at_ms
            )
            if outcome != UNDECIDED:
                return outcome
        return self._add_parsed(_origin_parsers[origin], message)

    cdef int _add_output(self, Message *message) except -1:
        """Add the marks of a line of the app's own output, if it has any."""
        if not begins_with(&message.origin, b"app ", 4):
            return IGNORED
        return add_marks(
            self._minute.rollup, &message.procid, message.text, message.at_ms
        )

    cdef int _add_dyno_line(self, Message *message) except -1:
        cdef int beginning = find_key(&_beginnings, &message.text, 0)
        cdef int reader
        cdef Source source
        if beginning < 0:
            return IGNORED
        source = self._find_source(&message.procid)
        if source is None:
            return self._reject("dyno")
        reader = _beginnings.keys[beginning].kind
        if reader == RUNTIME:
            skip_word(&message.text)  # source=…
            return self._add_readings(message, source)
        if reader == RUNNING:
            message.text.at += _beginnings.keys[beginning].size
            return self._add_running(message, source)
        return self._add_known_line(message, source, dispatch.BY_BEGINNING[beginning][1])

    cdef int _add_request(self, const Text *text) except -1:
        cdef Request request
        cdef Source source
        cdef FastRollup rollup = self._minute.rollup
        cdef int outcome = read_request(text, &_router_head, &_router_tail, &request)
        if outcome == UNDECIDED:
            return UNDECIDED
        if size_of(&request.dyno):
            source = self._find_source(&request.dyno)
            if source is None:
                return self._reject("dyno")
        else:
            source = get_source(rollup, ROUTER_SOURCE)
        if outcome == UNPARSED:
            return self._reject("router")
        if size_of(&request.code):
            add_count(rollup.errors, (source.name, bytes_of(&request.code).decode("ascii")), 1)
        observe_request(source, &request)
        self._mark_active(source)
        return COUNTED

    cdef int _reject(self, str reason) except -1:
        count_unparsed(self._minute.ledger, reason)
        return UNPARSED

    cdef int _add_overflow(self, Text *text) except -1:
        cdef long long losses
        if not read_overflow(text, &losses):
            return UNDECIDED
        add_count(self._minute.rollup.errors, (LOG_STREAM_SOURCE, "L10"), 1)
        if self._minute is not self._outside:
            add_messages(self._minute.ledger, "lost_upstream", losses)
        return COUNTED

    cdef int _add_readings(self, Message *message, Source source) except -1:
        cdef Readings readings
        cdef GaugeSummary reading
        cdef int gauge
        cdef int outcome = read_readings(&message.text, &_samples, &_units, &readings)
        if outcome != COUNTED:
            return outcome
        if not add_used_ratio(&readings, _TOTAL, _QUOTA, _USED_RATIO):
            return UNDECIDED
        reading.count = 1
        reading.last_at_ms = message.at_ms
        for gauge in range(GAUGES):
            if readings.gauges >> gauge & 1:
                reading.total = reading.smallest = reading.largest = readings.values[gauge]
                reading.last = readings.values[gauge]
                add_gauge(source, gauge, &reading)
        self._mark_active(source)
        if message.at_ms > self._runtime_metrics_ms and self._minute is not self._outside:
            self._runtime_metrics_ms = message.at_ms
        return COUNTED

    cdef int _add_running(self, Message *message, Source source) except -1:
        cdef long long memory, ratio
        if not read_running(&message.text, &_units, &memory, &ratio):
            return UNDECIDED
        self._add_named_gauge(source, "memory_running_bytes", memory, message.at_ms)
        self._add_named_gauge(source, "memory_running_ratio", ratio, message.at_ms)
        self._mark_active(source)
        return COUNTED

    cdef int _add_named_gauge(
        self, Source source, str name, long long value, long long at_ms
    ) except -1:
        cdef dict rows = get_rows(self._minute.rollup, "named_gauges")
        key = (source.name, name)
        reading = PyGaugeSummary(1, value, value, value, at_ms, value)
        if key in rows:
            rows[key].merge(reading)
        else:
            rows[key] = reading
        return 0

    cdef int _add_known_line(self, const Message *message, Source source, parse) except -1:
        """Add a line that counts as it did before. The first time, Python reads it."""
        cdef FastRollup rollup = self._minute.rollup
        cdef KnownLine line
        cdef bytes text
        if size_of(&message.text) > KNOWN_BYTES_MAX:
            return UNDECIDED
        text = bytes_of(&message.text)
        line = _known_lines.get(text)
        if line is None:
            line = read_known_line(parse, text)
            if line is None:
                return UNDECIDED
            if len(_known_lines) == KNOWN_LINES_MAX:
                _known_lines.clear()
            _known_lines[text] = line
        for section, kind, column, count in line.counts:
            rows = rollup.errors if section == "errors" else get_rows(rollup, section)
            if kind is not None:
                add_count(rows, (message.at_ms, kind, source.name, column), count)
            else:
                add_count(rows, source.name if column is None else (source.name, column), count)
        if line.is_active:
            self._mark_active(source)
        return COUNTED

    cdef int _add_parsed(self, parse, const Message *message) except -1:
        """Add a line that Python parses."""
        try:
            sample = parse(bytes_of(&message.text))
        except ParseError as error:
            return self._reject(error.reason)
        if sample is None:
            return IGNORED
        self._add_sample(sample, message.at_ms)
        return COUNTED

    cdef int _add_sample(self, sample, long long at_ms) except -1:
        """Add what Python read."""
        cdef FastRollup rollup = self._minute.rollup
        if type(sample) is Event and sample.kind in APP_EVENTS:
            add_count(get_rows(rollup, "events"), (at_ms, *sample), 1)
            if is_created_release(sample):
                release = LatestText(at_ms, sample.detail)
                SECTION["released"].merge_row(get_rows(rollup, "released"), (), release)
            return 0
        observed_rollup = Rollup()
        observed_rollup.observe(sample, at_ms)
        rollup.add(observed_rollup)
        if self._minute is not self._outside:
            if type(sample) is HerokuError:
                add_messages(self._minute.ledger, "lost_upstream", sample.lost_messages)
            elif type(sample) is RuntimeMetrics:
                self._runtime_metrics_ms = max(self._runtime_metrics_ms, at_ms)
        return 0

    cdef inline int _mark_active(self, Source source) noexcept:
        if source.is_dyno:
            source.active_minutes |= self._minute.bit
        return 0

    cdef Source _find_source(self, const Text *dyno):
        """The source of a dyno's name; None if Heroku does not use such names."""
        cdef FastRollup rollup = self._minute.rollup
        cdef Py_ssize_t size = size_of(dyno)
        cdef unsigned int place = hash_of(dyno.at, size) % RECENT_SOURCES
        cdef Source source
        cdef Name name
        if rollup.recent_sources[place] != NULL:
            source = <Source>rollup.recent_sources[place]
            name = source.cached_name
            if name.size == size and not memcmp(name.raw, dyno.at, size):
                return source
        name = name_at(dyno.at, size)
        if name is None or name.source is None:
            return None
        source = get_source(rollup, name.source)
        if source.cached_name is name:
            rollup.recent_sources[place] = <void *>source
        return source


cdef inline bytes bytes_of(const Text *text):
    return text.at[: size_of(text)]


cdef inline int observe_request(Source source, const Request *request) except -1:
    cdef ProcessType of_type = source.process_type
    cdef bint failed = request.status >= _FIRST_FAILED or not request.status
    add_requests(source, request.status, 1)
    if request.size > 0:
        of_type.response_bytes = saturating_add(of_type.response_bytes, request.size)
    if request.status != _SWITCHING_PROTOCOLS:
        if request.service_ms >= 0:
            observe_time(source, _SERVICE_FAILED if failed else _SERVICE_OK, request.service_ms)
        if request.connect_ms >= 0:
            observe_time(source, _CONNECT_FAILED if failed else _CONNECT_OK, request.connect_ms)
    return 0


cdef inline int observe_time(Source source, int which, long long value_ms) except -1:
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
