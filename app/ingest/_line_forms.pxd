# Lines of Heroku's as they usually are, read byte by byte. What is not exactly so is "not usual", and
# nothing is made of it. Every byte is read behind a comparison of its position with the end.

from libc.string cimport memchr, memcmp

cdef extern from *:
    """
    #ifndef __linux__  /* elsewhere libc need not have it */
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

cdef enum:  # gauges in the order of a line of runtime metrics
    TOTAL, RSS, CACHE, SWAP, PGPGIN, PGPGOUT, QUOTA, USED_RATIO, LOAD_1M, LOAD_5M, LOAD_15M

cdef struct Line:
    Bytes at  # what is not read yet
    Bytes end

cdef struct Request:
    # A line of the router; -1 for a value that it did not log, status 0 for none.
    Bytes code
    Py_ssize_t code_size
    Bytes dyno
    Py_ssize_t dyno_size
    long long connect_ms
    long long service_ms
    long long status
    long long size

cdef struct RuntimeMetrics:
    # A line of runtime metrics: `count` values.
    int count
    int names[8]
    long long values[8]


# --- frames and headers -----------------------------------------------------------------------


cdef inline Bytes usual_frame(Bytes at, Bytes end, Py_ssize_t *size) noexcept:
    """The message of a frame whose count is well formed and which ends at a newline; NULL for any
    other.
    """
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


cdef inline Bytes space_in(Bytes at, Bytes end) noexcept:
    """The first space; fields of a header are so short that asking libc takes longer."""
    while at < end:
        if at[0] == c" ":
            return at
        at += 1
    return NULL


cdef inline bint is_dyno_output(Bytes procid, Bytes end) noexcept:
    """Whether APPNAME app and this PROCID stand for what an app itself says."""
    return not (
        end - procid == 3 and not memcmp(procid, <Bytes>b"api", 3)
        or end - procid == 11 and not memcmp(procid, <Bytes>b"log-shuttle", 11)
    )


# --- pieces of a text -------------------------------------------------------------------------


cdef inline bint begins(Line *text, const char *expected, Py_ssize_t size) noexcept:
    """Step over what is expected, if it is there."""
    if text.end - text.at < size or memcmp(text.at, expected, size):
        return False
    text.at += size
    return True


cdef inline bint word(Line *text) noexcept:
    """Step over one or more bytes that are no spaces."""
    cdef Bytes begin = text.at
    while text.at < text.end and text.at[0] != c" ":
        text.at += 1
    return text.at > begin


cdef inline bint lower(Line *text) noexcept:
    """Step over [a-z]{1,32}."""
    cdef Bytes begin = text.at
    while text.at < text.end and c"a" <= text.at[0] <= c"z":
        text.at += 1
    return 0 < text.at - begin <= 32


cdef inline bint only_space(Line *text) noexcept:
    r"""Whether only \s is left."""
    while text.at < text.end:
        if text.at[0] != c" " and not 9 <= text.at[0] <= 13:
            return False
        text.at += 1
    return True


cdef inline bint in_code(int byte) noexcept:
    return (
        c"A" <= byte <= c"Z" or c"0" <= byte <= c"9" or c"a" <= byte <= c"z" or byte == c"-"
    )


cdef inline bint in_word(int byte) noexcept:
    return byte == c"_" or in_code(byte) and byte != c"-"


cdef inline bint digits_in(Line *text, int digits_max, long long *value) noexcept:
    """Up to so many digits; -1 for none."""
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


cdef inline bint milliseconds(Line *text, long long *value) noexcept:
    """[0-9]{1,10} with or without ms, or nothing."""
    if not digits_in(text, 10, value):
        return False
    if value[0] >= 0:
        begins(text, b"ms", 2)
    return True


cdef inline bint status_in(Line *text, long long *value) noexcept:
    """[1-5][0-9]{2}, or nothing, which is 0."""
    if not digits_in(text, 3, value):
        return False
    if value[0] < 0:
        value[0] = 0
        return True
    return 100 <= value[0] <= 599


cdef inline bint usual_rest(Line *text) noexcept:
    """Nothing more, or a space or newline and no quote."""
    if text.at == text.end:
        return True
    if text.at[0] != c" " and text.at[0] != c"\n":
        return False
    return memchr(text.at, c'"', text.end - text.at) == NULL


cdef inline bint to_last_dyno(Line *text) noexcept:
    """Step behind the last " dyno="; a d is rare behind it, so it is looked for from the end."""
    cdef Bytes found
    cdef Bytes begin = text.at + 1  # of where a d may be
    cdef Bytes end = text.end - 4
    while end > begin:
        found = <Bytes>memrchr(begin, c"d", end - begin)
        if found == NULL:
            return False
        if not memcmp(found - 1, <Bytes>b" dyno=", 6):
            text.at = found + 5
            return True
        end = found
    return False


cdef inline bint head(Line *text, Bytes *code, Py_ssize_t *code_size) noexcept:
    """[sock=… ]at=… and code=…, if there is one, up to the first field that a client writes; of a
    code that is not usual False.
    """
    code_size[0] = 0
    if begins(text, b"at=info method=", 15):
        return True
    if begins(text, b"sock=", 5) and not (lower(text) and begins(text, b" ", 1)):
        return False
    if not (begins(text, b"at=", 3) and lower(text)):
        return False
    if begins(text, b" method=", 8):
        return True
    if not begins(text, b" code=", 6):
        return False
    code[0] = text.at
    while text.at < text.end and in_code(text.at[0]):
        text.at += 1
    code_size[0] = text.at - code[0]
    return (
        0 < code_size[0] <= CODE_BYTES_MAX
        and text.at < text.end
        and text.at[0] == c" "
        and (code_size[0] != 3 or memcmp(code[0], <Bytes>b"H31", 3))  # which a client may end
    )


cdef inline bint read_request(Line *text, Request *request) noexcept:
    """at=info method=… dyno=web.1 connect=1ms service=18ms status=200 bytes=13 …; see
    parsers.router.
    """
    if not head(text, &request.code, &request.code_size) or not to_last_dyno(text):
        return False
    request.dyno = text.at
    while text.at < text.end and text.at[0] != c" ":
        text.at += 1
    request.dyno_size = text.at - request.dyno
    return (
        begins(text, b" connect=", 9)
        and milliseconds(text, &request.connect_ms)
        and begins(text, b" service=", 9)
        and milliseconds(text, &request.service_ms)
        and begins(text, b" status=", 8)
        and status_in(text, &request.status)
        and begins(text, b" bytes=", 7)
        and digits_in(text, 15, &request.size)
        and usual_rest(text)
    )


# --- runtime metrics --------------------------------------------------------------------------


cdef inline bint hundredths(Line *text, long long *value) noexcept:
    """[0-9]{1,9}\\.[0-9]{2} as a number of hundredths."""
    cdef Bytes at
    if not digits_in(text, 9, value) or value[0] < 0:
        return False
    at = text.at
    if text.end - at < 3 or at[0] != c"." or not (
        c"0" <= at[1] <= c"9" and c"0" <= at[2] <= c"9"
    ):
        return False
    value[0] = 100 * value[0] + 10 * (at[1] - c"0") + at[2] - c"0"
    text.at = at + 3
    return True


cdef inline bint megabytes(Line *text, long long *value) noexcept:
    return hundredths(text, value) and begins(text, b"MB", 2)


cdef inline bint pages(Line *text, long long *value) noexcept:
    return digits_in(text, 15, value) and value[0] >= 0 and begins(text, b"pages", 5)


cdef inline int memory(Line *text, long long *values) noexcept:
    """How many values the usual line of memory has: 6, 7 with the quota; 0 for another line."""
    if not (
        begins(text, b" sample#memory_total=", 21)
        and megabytes(text, &values[0])
        and begins(text, b" sample#memory_rss=", 19)
        and megabytes(text, &values[1])
        and begins(text, b" sample#memory_cache=", 21)
        and megabytes(text, &values[2])
        and begins(text, b" sample#memory_swap=", 20)
        and megabytes(text, &values[3])
        and begins(text, b" sample#memory_pgpgin=", 22)
        and pages(text, &values[4])
        and begins(text, b" sample#memory_pgpgout=", 23)
        and pages(text, &values[5])
    ):
        return 0
    if not begins(text, b" sample#memory_quota=", 21):
        return 6
    return 7 if megabytes(text, &values[6]) else 0


cdef inline bint load(Line *text, long long *values) noexcept:
    """The values of a line of load behind the name of the first."""
    return (
        hundredths(text, &values[0])
        and begins(text, b" sample#load_avg_5m=", 20)
        and hundredths(text, &values[1])
        and begins(text, b" sample#load_avg_15m=", 21)
        and hundredths(text, &values[2])
    )


cdef inline bint read_readings(Line *text, RuntimeMetrics *readings) noexcept:
    """source=web.1 dyno=… sample#…, behind its first word; see parsers.runtime_metrics, of which these are
    the usual lines.
    """
    cdef int position
    cdef long long used
    cdef long long *values = readings.values
    if not word(text) or not begins(text, b" dyno=", 6) or not word(text):
        return False
    if begins(text, b" sample#load_avg_1m=", 20):
        if not load(text, values):
            return False
        readings.count = 3
        for position in range(3):
            readings.names[position] = LOAD_1M + position
        return only_space(text)
    readings.count = memory(text, values)
    for position in range(readings.count):
        readings.names[position] = TOTAL + position
    if readings.count == 7 and values[QUOTA]:
        used = (2 * values[TOTAL] * 1_000_000 + values[QUOTA]) // (2 * values[QUOTA])
        if used <= <long long>999_999_999_999_999:  # parsers.runtime_metrics.STORED_MAX
            values[USED_RATIO] = used
            readings.names[USED_RATIO] = USED_RATIO
            readings.count = 8
    return readings.count > 0 and only_space(text)


# --- other lines of a dyno --------------------------------------------------------------------


cdef inline bint error_code(Line *text) noexcept:
    r"""Step over R[0-9]{2,3}\b."""
    cdef Bytes begin = text.at
    if not begins(text, b"R", 1):
        return False
    while text.at < text.end and c"0" <= text.at[0] <= c"9":
        text.at += 1
    return 2 < text.at - begin <= 4 and (text.at == text.end or not in_word(text.at[0]))


cdef inline bint is_of_no_use(const Line *text) noexcept:
    """Whether a line of a dyno begins with none of the words that parsers.dispatch looks for, and
    with a letter.
    """
    cdef Py_ssize_t size = text.end - text.at
    if size < 16 or not in_code(text.at[0]) or text.at[0] == c"-" or text.at[0] <= c"9":
        return False
    return bool(
        memcmp(text.at, <Bytes>b"Cycling", 7)
        and memcmp(text.at, <Bytes>b"Idling", 6)
        and memcmp(text.at, <Bytes>b"Unidling", 8)
        and memcmp(text.at, <Bytes>b"Process exited ", 15)
        and memcmp(text.at, <Bytes>b"State changed ", 14)
        and memcmp(text.at, <Bytes>b"source=", 7)
        and memcmp(text.at, <Bytes>b"Error ", 6)
    )
