# Readers of the texts of lines. The parsers of the same lines define the meaning; a text that is
# rejected here (False, or UNDECIDED) is read again there, so a rejection costs only time.

from libc.string cimport memcmp

from app.ingest._text cimport (
    Bytes, Key, Keys, Text, ends_word, is_blank, is_digit, is_letter, memchr, memrchr,
    next_field, previous_field, read_hundredths, read_number, size_of, skip_prefix,
    skip_word,
)
from app.rollup._rollup cimport GAUGES

cdef enum:
    UNDECIDED, IGNORED, COUNTED, UNPARSED

cdef enum:
    CODE_BYTES_MAX = 16
    MISDIRECTED_STATUS = 421
    MEGABYTE_BITS = 20

cdef enum:  # the keys of a router line's tail, from its end
    SIZE, STATUS, SERVICE, CONNECT, DYNO, TAIL_KEYS

cdef enum:  # the kinds of values
    MEMORY, PAGES, LOAD, UNKNOWN

cdef struct Request:
    # A router line. An absent text has no bytes, an absent number is -1, and an absent status 0.
    Text code
    Text dyno
    long long connect_ms
    long long service_ms
    long long status
    long long size

cdef struct Readings:
    # The values of a line by gauge, and a bit for each gauge that has one.
    unsigned int gauges
    long long values[GAUGES]


cdef inline bint is_code_byte(int byte) noexcept:
    return is_letter(byte) or is_digit(byte) or byte == c"-"


# --- the router's lines: parsers.router ---------------------------------------------------------


cdef inline int read_request(
    const Text *text, const Keys *head_keys, const Keys *tail_keys, Request *request
) noexcept:
    """Read at=info method=… dyno=web.1 connect=1ms service=18ms status=200 bytes=13 …

    COUNTED, UNPARSED, or UNDECIDED for an uncommon code.
    """
    cdef Text head = text[0]
    cdef Text tail = text[0]
    if not read_code(&head, head_keys, &request.code):
        return UNDECIDED
    if request.code.end - request.code.at == 3 and not memcmp(request.code.at, <Bytes>b"H31", 3):
        request.dyno.at = request.dyno.end = text.end
        request.connect_ms = request.service_ms = request.size = -1
        request.status = MISDIRECTED_STATUS
        return COUNTED
    # Nearly every line has its fields in one order. This shortcut saves 12 % of the time of all.
    if not skip_to_last_dyno(&tail) or not read_common_tail(&tail, request):
        tail = text[0]
        if not read_tail(&tail, tail_keys, request):
            return UNPARSED
    if request.dyno.at != NULL and request.dyno.at == request.dyno.end:  # it reached no dyno
        request.connect_ms = request.service_ms = -1
    return COUNTED


cdef inline bint read_code(Text *text, const Keys *keys, Text *code) noexcept:
    """Read the error code from what comes before the first field that a client writes."""
    code.at = code.end = text.end
    if skip_prefix(text, b"at=info method=", 15):
        return True
    if skip_prefix(text, b"Error H", 7):  # the form of 2012
        return False
    if next_field(text, keys, 0) != 0:
        return True
    code.at = text.at
    while text.at < text.end and is_code_byte(text.at[0]):
        text.at += 1
    code.end = text.at
    return code.end - code.at <= CODE_BYTES_MAX and ends_word(text)


cdef inline bint skip_to_last_dyno(Text *text) noexcept:
    """Skip to the end of the last " dyno=". The search starts at the end, where a d is rare."""
    cdef Bytes letter
    cdef Bytes begin = text.at + 1  # the first possible position of the d
    cdef Bytes end = text.end - 4
    while end > begin:
        letter = <Bytes>memrchr(begin, c"d", end - begin)
        if letter == NULL:
            return False
        if not memcmp(letter - 1, <Bytes>b" dyno=", 6):
            text.at = letter + 5
            return True
        end = letter
    return False


cdef inline bint read_common_tail(Text *text, Request *request) noexcept:
    request.dyno.at = text.at
    while text.at < text.end and text.at[0] != c" " and text.at[0] != c'"':
        text.at += 1
    request.dyno.end = text.at
    return (
        skip_prefix(text, b" connect=", 9)
        and read_milliseconds(text, &request.connect_ms)
        and skip_prefix(text, b" service=", 9)
        and read_milliseconds(text, &request.service_ms)
        and skip_prefix(text, b" status=", 8)
        and read_status(text, &request.status)
        and skip_prefix(text, b" bytes=", 7)
        and read_number(text, 15, &request.size)
        and is_common_rest(text)
    )


cdef inline bint is_common_rest(const Text *text) noexcept:
    """Whether the rest is empty, or begins with a space or newline and contains no quote."""
    if text.at == text.end:
        return True
    if text.at[0] != c" " and text.at[0] != c"\n":
        return False
    return memchr(text.at, c'"', text.end - text.at) == NULL


cdef inline bint read_tail(Text *text, const Keys *keys, Request *request) noexcept:
    """Read fields in any order, among unknown ones: the last occurrence of each counts."""
    cdef Text values[TAIL_KEYS]
    cdef Text value
    cdef int key, missing = TAIL_KEYS
    for key in range(TAIL_KEYS):
        values[key].at = values[key].end = NULL
    key = -1
    while missing:
        key = previous_field(text, keys, key + 1, &value)
        if key < 0:
            break
        if values[key].at == NULL:
            values[key] = value
            missing -= 1
    request.dyno.at = request.dyno.end = NULL
    if values[STATUS].at == NULL or values[STATUS].at == values[STATUS].end and not values[SIZE].at:
        return False
    if not read_status(&values[STATUS], &request.status) or size_of(&values[STATUS]):
        return False
    request.dyno = values[DYNO]
    if values[DYNO].at != NULL and not size_of(&values[DYNO]):
        values[CONNECT].at = values[SERVICE].at = NULL
    return (
        read_whole_milliseconds(&values[CONNECT], &request.connect_ms)
        and read_whole_milliseconds(&values[SERVICE], &request.service_ms)
        and read_size(&values[SIZE], &request.size)
    )


cdef inline bint read_milliseconds(Text *text, long long *value) noexcept:
    """Read [0-9]{1,10} with or without ms, or nothing."""
    if not read_number(text, 10, value):
        return False
    if value[0] >= 0:
        skip_prefix(text, b"ms", 2)
    return True


cdef inline bint read_whole_milliseconds(Text *text, long long *value) noexcept:
    """The same, up to the end; an absent text is nothing."""
    value[0] = -1
    return text.at == NULL or read_milliseconds(text, value) and text.at == text.end


cdef inline bint read_status(Text *text, long long *value) noexcept:
    """Read [1-5][0-9]{2}, or nothing, which is 0."""
    if not read_number(text, 3, value):
        return False
    if value[0] < 0:
        value[0] = 0
        return True
    return 100 <= value[0] <= 599


cdef inline bint read_size(Text *text, long long *value) noexcept:
    """Read the number of bytes; it is unknown if something follows it."""
    value[0] = -1
    if text.at == NULL or text.at == text.end:
        return True
    if not is_digit(text.at[0]):
        return False
    if not read_number(text, 15, value) or text.at != text.end:
        value[0] = -1
    return True


# --- runtime metrics: parsers.runtime_metrics -----------------------------------------------------


cdef inline int read_readings(
    Text *text, const Keys *keys, const Keys *units, Readings *readings
) noexcept:
    """Read the fields sample#NAME=VALUE of known names, in any order among others.

    The first readable value of a name counts. COUNTED, IGNORED without a known name, or UNDECIDED.
    """
    cdef long long value
    cdef const Key *key
    cdef int position = -1
    cdef bint has_gauge = False
    readings.gauges = 0
    while True:
        position = next_field(text, keys, position + 1)
        if position < 0:
            break
        has_gauge = True
        key = &keys.keys[position]
        if key.kind == UNKNOWN:
            return UNDECIDED
        if read_quantity(text, key.kind, units, &value) and ends_word(text):
            if not readings.gauges >> key.number & 1:
                readings.gauges |= <unsigned int>1 << key.number
                readings.values[key.number] = value
        skip_word(text)
    if readings.gauges:
        return COUNTED
    return UNDECIDED if has_gauge else IGNORED


cdef inline bint read_quantity(Text *text, int kind, const Keys *units, long long *value) noexcept:
    """Read a whole value of this kind in its stored unit; False if it is unreadable."""
    if kind == MEMORY:
        return read_hundredths(text, value) and read_unit(text, units, value)
    if kind == LOAD:
        return read_hundredths(text, value)
    if not read_number(text, 15, value) or value[0] < 0:
        return False
    skip_prefix(text, b"pages", 5)
    return True


cdef inline bint read_unit(Text *text, const Keys *units, long long *value) noexcept:
    """Read the unit of memory, and convert hundredths of it into those of an MB."""
    cdef Bytes at = text.at
    cdef int unit, shift
    while text.at < text.end and is_letter(text.at[0]):
        text.at += 1
    for unit in range(units.count):
        if units.keys[unit].size == text.at - at and not memcmp(
            units.keys[unit].prefix, at, text.at - at
        ):
            shift = units.keys[unit].number - MEGABYTE_BITS
            if shift >= 0:
                value[0] <<= shift
            else:
                value[0] = (value[0] + (<long long>1 << (-shift - 1))) >> -shift
            return value[0] <= <long long>999_999_999_999_999
    return False


cdef inline bint add_used_ratio(Readings *readings, int total, int quota, int ratio) noexcept:
    """Add the ratio of total and quota, in millionths; False if the total is too great."""
    cdef long long quota_value
    cdef long long value
    if not readings.gauges >> total & readings.gauges >> quota & 1:
        return True
    quota_value = readings.values[quota]
    if quota_value:
        if readings.values[total] > <long long>4_000_000_000_000:  # the product would overflow
            return False
        value = (2 * readings.values[total] * 1_000_000 + quota_value) // (2 * quota_value)
        if value <= <long long>999_999_999_999_999:
            readings.gauges |= <unsigned int>1 << ratio
            readings.values[ratio] = value
    return True


cdef inline bint read_running(
    Text *text, const Keys *units, long long *memory, long long *ratio
) noexcept:
    """Read 870M(170.1%), from behind `Process running mem=`."""
    if not read_hundredths(text, memory) or not read_unit(text, units, memory):
        return False
    if not skip_prefix(text, b"(", 1) or not read_hundredths(text, ratio):
        return False
    ratio[0] *= 100  # from hundredths of a percent to millionths
    return skip_prefix(text, b"%)", 2) and is_blank(text)


# --- lost messages: parsers.dyno ------------------------------------------------------------------


cdef inline bint read_overflow(Text *text, long long *losses) noexcept:
    """Read `Error L10 (output buffer overflow): 2 messages dropped since …`, as Logplex writes it."""
    return (
        skip_prefix(text, b"Error L10 (output buffer overflow): ", 36)
        and read_number(text, 9, losses)
        and losses[0] >= 0
        and skip_prefix(text, b" messages dropped since ", 24)
    )
