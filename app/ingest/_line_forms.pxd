# Readers of the common forms of Heroku's log lines, byte by byte. A line with any other form is
# rejected, and then nothing is recorded of it. Before each byte is read, its position is compared
# with the end.

from libc.string cimport memchr, memcmp

cdef extern from *:
    """
    #ifndef __linux__  /* other platforms may lack memrchr */
    static const void *memrchr(const void *begin, int byte, size_t size) {
        const unsigned char *at = (const unsigned char *)begin + size;
        while (size--)
            if (*--at == (unsigned char)byte)
                return at;
        return NULL;
    }
    #endif
    """
    const void *memrchr(const void *begin, int byte, size_t size)

ctypedef const unsigned char *Bytes

cdef enum:
    COUNT_DIGITS_MAX = 7
    CODE_BYTES_MAX = 16

cdef enum:  # the gauges, in the order of a runtime metrics line
    TOTAL, RSS, CACHE, SWAP, PGPGIN, PGPGOUT, QUOTA, USED_RATIO, LOAD_1M, LOAD_5M, LOAD_15M

cdef struct Line:
    Bytes at  # the first unread byte
    Bytes end

cdef struct Request:
    # A router line. A value that is absent is -1; an absent status is 0.
    Bytes code
    Py_ssize_t code_size
    Bytes dyno
    Py_ssize_t dyno_size
    long long connect_ms
    long long service_ms
    long long status
    long long size

cdef struct RuntimeMetrics:
    # A runtime metrics line with `count` values, and the gauge of each value.
    int count
    int names[8]
    long long values[8]


# --- frames and headers -----------------------------------------------------------------------


cdef inline Bytes common_frame(Bytes at, Bytes end, Py_ssize_t *size) noexcept:
    """The message of a frame with a well-formed count that ends at a newline; otherwise NULL."""
    cdef Py_ssize_t count = 0
    cdef int digits = 0
    if at[0] == c"0":
        return NULL
    while at < end and c"0" <= at[0] <= c"9" and digits <= COUNT_DIGITS_MAX:
        count = 10 * count + at[0] - c"0"
        at += 1
        digits += 1
    if not 0 < digits <= COUNT_DIGITS_MAX or at >= end or at[0] != c" ":
        return NULL
    at += 1
    if not 0 < count <= end - at or at[count - 1] != c"\n":
        return NULL
    size[0] = count
    return at


cdef inline Bytes find_space(Bytes at, Bytes end) noexcept:
    """The first space. Header fields are so short that a call of memchr would take longer."""
    while at < end:
        if at[0] == c" ":
            return at
        at += 1
    return NULL


# --- pieces of a text -------------------------------------------------------------------------


cdef inline bint skip_prefix(Line *text, const char *expected, Py_ssize_t size) noexcept:
    """Skip the expected bytes, if the text begins with them."""
    if text.end - text.at < size or memcmp(text.at, expected, size):
        return False
    text.at += size
    return True


cdef inline bint skip_word(Line *text) noexcept:
    """Skip one or more bytes that are not spaces."""
    cdef Bytes begin = text.at
    while text.at < text.end and text.at[0] != c" ":
        text.at += 1
    return text.at > begin


cdef inline bint skip_lowercase(Line *text) noexcept:
    """Skip [a-z]{1,32}."""
    cdef Bytes begin = text.at
    while text.at < text.end and c"a" <= text.at[0] <= c"z":
        text.at += 1
    return 0 < text.at - begin <= 32


cdef inline bint is_blank(Line *text) noexcept:
    r"""Whether the rest matches \s*."""
    while text.at < text.end:
        if text.at[0] != c" " and not 9 <= text.at[0] <= 13:
            return False
        text.at += 1
    return True


cdef inline bint is_code_byte(int byte) noexcept:
    return (
        c"A" <= byte <= c"Z" or c"0" <= byte <= c"9" or c"a" <= byte <= c"z" or byte == c"-"
    )


cdef inline bint is_word_byte(int byte) noexcept:
    return byte == c"_" or is_code_byte(byte) and byte != c"-"


cdef inline bint read_digits(Line *text, int digits_max, long long *value) noexcept:
    """Read up to `digits_max` digits; the value is -1 if there are none."""
    cdef int digits = 0
    value[0] = 0
    while text.at < text.end and c"0" <= text.at[0] <= c"9":
        value[0] = 10 * value[0] + text.at[0] - c"0"
        text.at += 1
        digits += 1
        if digits > digits_max:
            return False
    if not digits:
        value[0] = -1
    return True


# --- the router's lines -----------------------------------------------------------------------


cdef inline bint read_milliseconds(Line *text, long long *value) noexcept:
    """Read [0-9]{1,10} with or without ms, or nothing."""
    if not read_digits(text, 10, value):
        return False
    if value[0] >= 0:
        skip_prefix(text, b"ms", 2)
    return True


cdef inline bint read_status(Line *text, long long *value) noexcept:
    """Read [1-5][0-9]{2}, or nothing, which is 0."""
    if not read_digits(text, 3, value):
        return False
    if value[0] < 0:
        value[0] = 0
        return True
    return 100 <= value[0] <= 599


cdef inline bint is_common_rest(Line *text) noexcept:
    """Whether the rest is empty, or begins with a space or newline and contains no quote."""
    if text.at == text.end:
        return True
    if text.at[0] != c" " and text.at[0] != c"\n":
        return False
    return memchr(text.at, c'"', text.end - text.at) == NULL


cdef inline bint skip_to_last_dyno(Line *text) noexcept:
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


cdef inline bint read_head(Line *text, Bytes *code, Py_ssize_t *code_size) noexcept:
    """Read [sock=… ]at=…[ code=…], up to the first field that a client writes.

    Returns False for an uncommon code.
    """
    code_size[0] = 0
    if skip_prefix(text, b"at=info method=", 15):
        return True
    if skip_prefix(text, b"sock=", 5) and not (skip_lowercase(text) and skip_prefix(text, b" ", 1)):
        return False
    if not (skip_prefix(text, b"at=", 3) and skip_lowercase(text)):
        return False
    if skip_prefix(text, b" method=", 8):
        return True
    if not skip_prefix(text, b" code=", 6):
        return False
    code[0] = text.at
    while text.at < text.end and is_code_byte(text.at[0]):
        text.at += 1
    code_size[0] = text.at - code[0]
    return (
        0 < code_size[0] <= CODE_BYTES_MAX
        and text.at < text.end
        and text.at[0] == c" "
        and (code_size[0] != 3 or memcmp(code[0], <Bytes>b"H31", 3))  # ends with text of the client
    )


cdef inline bint read_request(Line *text, Request *request) noexcept:
    """Read at=info method=… dyno=web.1 connect=1ms service=18ms status=200 bytes=13 …

    parsers.router defines the meaning.
    """
    if not read_head(text, &request.code, &request.code_size) or not skip_to_last_dyno(text):
        return False
    request.dyno = text.at
    while text.at < text.end and text.at[0] != c" ":
        text.at += 1
    request.dyno_size = text.at - request.dyno
    return (
        skip_prefix(text, b" connect=", 9)
        and read_milliseconds(text, &request.connect_ms)
        and skip_prefix(text, b" service=", 9)
        and read_milliseconds(text, &request.service_ms)
        and skip_prefix(text, b" status=", 8)
        and read_status(text, &request.status)
        and skip_prefix(text, b" bytes=", 7)
        and read_digits(text, 15, &request.size)
        and is_common_rest(text)
    )


# --- runtime metrics --------------------------------------------------------------------------


cdef inline bint read_hundredths(Line *text, long long *value) noexcept:
    """Read [0-9]{1,9}\\.[0-9]{2} as a number of hundredths."""
    cdef Bytes at
    if not read_digits(text, 9, value) or value[0] < 0:
        return False
    at = text.at
    if text.end - at < 3 or at[0] != c"." or not (
        c"0" <= at[1] <= c"9" and c"0" <= at[2] <= c"9"
    ):
        return False
    value[0] = 100 * value[0] + 10 * (at[1] - c"0") + at[2] - c"0"
    text.at = at + 3
    return True


cdef inline bint read_megabytes(Line *text, long long *value) noexcept:
    return read_hundredths(text, value) and skip_prefix(text, b"MB", 2)


cdef inline bint read_pages(Line *text, long long *value) noexcept:
    return read_digits(text, 15, value) and value[0] >= 0 and skip_prefix(text, b"pages", 5)


cdef inline int read_memory(Line *text, long long *values) noexcept:
    """Read a memory line; returns its number of values: 6, or 7 with the quota, or 0 if invalid."""
    if not (
        skip_prefix(text, b" sample#memory_total=", 21)
        and read_megabytes(text, &values[0])
        and skip_prefix(text, b" sample#memory_rss=", 19)
        and read_megabytes(text, &values[1])
        and skip_prefix(text, b" sample#memory_cache=", 21)
        and read_megabytes(text, &values[2])
        and skip_prefix(text, b" sample#memory_swap=", 20)
        and read_megabytes(text, &values[3])
        and skip_prefix(text, b" sample#memory_pgpgin=", 22)
        and read_pages(text, &values[4])
        and skip_prefix(text, b" sample#memory_pgpgout=", 23)
        and read_pages(text, &values[5])
    ):
        return 0
    if not skip_prefix(text, b" sample#memory_quota=", 21):
        return 6
    return 7 if read_megabytes(text, &values[6]) else 0


cdef inline bint read_load(Line *text, long long *values) noexcept:
    """Read the values of a load line, from behind the name of the first."""
    return (
        read_hundredths(text, &values[0])
        and skip_prefix(text, b" sample#load_avg_5m=", 20)
        and read_hundredths(text, &values[1])
        and skip_prefix(text, b" sample#load_avg_15m=", 21)
        and read_hundredths(text, &values[2])
    )


cdef inline bint read_runtime_metrics(Line *text, RuntimeMetrics *readings) noexcept:
    """Read source=web.1 dyno=… sample#…, from behind `source=`.

    These are the common forms; parsers.runtime_metrics defines the meaning of all.
    """
    cdef int position
    cdef long long used
    cdef long long *values = readings.values
    if not skip_word(text) or not skip_prefix(text, b" dyno=", 6) or not skip_word(text):
        return False
    if skip_prefix(text, b" sample#load_avg_1m=", 20):
        if not read_load(text, values):
            return False
        readings.count = 3
        for position in range(3):
            readings.names[position] = LOAD_1M + position
        return is_blank(text)
    readings.count = read_memory(text, values)
    for position in range(readings.count):
        readings.names[position] = TOTAL + position
    if readings.count == 7 and values[QUOTA]:
        used = (2 * values[TOTAL] * 1_000_000 + values[QUOTA]) // (2 * values[QUOTA])
        if used <= <long long>999_999_999_999_999:  # parsers.runtime_metrics._VALUE_MAX
            values[USED_RATIO] = used
            readings.names[USED_RATIO] = USED_RATIO
            readings.count = 8
    return readings.count > 0 and is_blank(text)


# --- other dyno lines -------------------------------------------------------------------------


cdef inline bint skip_error_code(Line *text) noexcept:
    r"""Skip R[0-9]{2,3}\b."""
    cdef Bytes begin = text.at
    if not skip_prefix(text, b"R", 1):
        return False
    while text.at < text.end and c"0" <= text.at[0] <= c"9":
        text.at += 1
    return 2 < text.at - begin <= 4 and (text.at == text.end or not is_word_byte(text.at[0]))
