# The frames of a complete body. parsers.framing defines and explains them; functions and constants
# of the same name do the same. Here all bytes are there, so nothing needs more of them.

from libc.string cimport memchr, memcmp

from app.ingest._text cimport Bytes, Text, is_digit, memrchr, skip_digits

cdef enum:
    COUNT_DIGITS_MAX = 7
    COUNT_MAX = 9_999_999
    START_BYTES_MAX = 15
    BLANKS_MAX = 64
    NEXT_COUNT_BYTES_MAX = 9
    REJECTED_DIGITS_MAX = 32
    SEARCH_BYTES = 32_768  # between two pauses
    HOPS = 3

cdef enum:
    END, FRAME, DAMAGE, PAUSE

cdef struct Body:
    Bytes begin
    Bytes at  # where the next frame or the damage begins
    Bytes end
    Bytes search  # where the search for the end of damage resumes; NULL outside of damage
    Bytes newline  # a newline, or how far there is none


cdef inline int next_item(Body *body, Text *message) noexcept:
    """FRAME with its message, DAMAGE, END, or PAUSE during a search, which the next call resumes."""
    cdef Bytes end
    while body.search == NULL:
        if body.at >= body.end:
            return END
        end = frame_end(body, body.at, &message.at)
        if end == NULL:
            end = skip_blanks(body.at, body.end)
            if end > body.at:
                body.at = end
                continue
            end = recover(body, body.at, &message.at)
        if end != NULL:
            message.end = body.at = end
            return FRAME
        end = skip_digits(body.at, body.end, REJECTED_DIGITS_MAX)
        body.search = end if end > body.at else body.at + 1
    end = resynchronise(body)
    if end == NULL:
        return PAUSE
    body.at = end
    body.search = NULL
    return DAMAGE


# --- patterns: the end of what matches at a position, or NULL -------------------------------------


cdef inline Bytes skip_count(Bytes at, Bytes end, Py_ssize_t *count) noexcept:
    """[1-9][0-9]{0,6} and a space"""
    cdef Bytes last = at + COUNT_DIGITS_MAX
    count[0] = 0
    if at >= end or at[0] == c"0":
        return NULL
    while at < end and is_digit(at[0]) and at < last:
        count[0] = 10 * count[0] + at[0] - c"0"
        at += 1
    return at + 1 if count[0] and at < end and at[0] == c" " else NULL


cdef inline Bytes skip_pri(Bytes at, Bytes end) noexcept:
    """<[0-9]{1,3}>1 and a space"""
    cdef Bytes digits = at + 1
    if at >= end or at[0] != c"<":
        return NULL
    at = skip_digits(digits, end, 3)
    if at == digits or end - at < 3 or memcmp(at, <Bytes>b">1 ", 3):
        return NULL
    return at + 3


cdef inline Bytes skip_start(Bytes at, Bytes end) noexcept:
    cdef Py_ssize_t count
    at = skip_count(at, end, &count)
    if at == NULL:
        return NULL
    return skip_pri(at, end)


cdef inline bint follows(Bytes at, Bytes end) noexcept:
    if at < end and (at[0] == c"+" or at[0] == c"-"):
        at += 1
    at = skip_digits(at, end, 20)
    if at < end and at[0] == c" ":
        at += 1
    return skip_pri(at, end) != NULL


cdef inline Bytes line_message(Bytes at, Bytes end) noexcept:
    """Where the message of the line at this position begins, after any number."""
    cdef Bytes digits_end = skip_digits(at, end, 20)
    if digits_end > at:
        if digits_end == end or digits_end[0] != c" ":
            return NULL
        at = digits_end + 1
    if skip_pri(at, end) == NULL:
        return NULL
    return at


cdef inline Bytes skip_blanks(Bytes at, Bytes end) noexcept:
    while at < end and (at[0] == c"\n" or at[0] == c" " or at[0] == c"\r" or at[0] == c"\t"):
        at += 1
    return at


cdef inline Bytes find_start(Bytes begin, Bytes end) noexcept:
    """The first start of a frame. The search is for the bracket behind its count."""
    cdef Bytes at = begin
    cdef Bytes bracket
    cdef Bytes start
    while at < end:
        bracket = <Bytes>memchr(at, c"<", end - at)
        if bracket == NULL:
            return NULL
        at = bracket + 1
        if bracket - begin < 2 or bracket[-1] != c" " or skip_pri(bracket, end) == NULL:
            continue
        start = bracket - 1
        while start > begin and bracket - 1 - start < COUNT_DIGITS_MAX and is_digit(start[-1]):
            start -= 1
        while start[0] == c"0":
            start += 1
        if start < bracket - 1:
            return start
    return NULL


# --- decisions ----------------------------------------------------------------------------------


cdef inline Bytes frame_end(const Body *body, Bytes at, Bytes *begin) noexcept:
    """The end of the message of the frame at this position; NULL if no whole frame begins here."""
    cdef Py_ssize_t count
    cdef Bytes end
    begin[0] = skip_count(at, body.end, &count)
    if begin[0] == NULL or count > body.end - begin[0]:
        return NULL
    end = begin[0] + count
    return end if end[-1] == c"\n" or judge_end(body, begin[0], end) else NULL


cdef inline bint judge_end(const Body *body, Bytes begin, Bytes end) noexcept:
    """Whether a message without a newline may end here."""
    cdef Bytes start
    cdef Bytes start_end
    cdef Bytes digits_end
    if end == body.end or judge_start(body, end):
        return True
    if not follows(end, body.end) or ends_with_count(begin, end):
        return False
    start = end - COUNT_DIGITS_MAX - 1 if end - begin > COUNT_DIGITS_MAX else begin
    digits_end = skip_digits(end, body.end, REJECTED_DIGITS_MAX)
    while start < digits_end:
        start_end = skip_start(start, body.end)
        if start != end and start_end > end and (
            judge_start(body, start) or start == end - 1 and judge_lost_newline(body, start)
        ):
            return False
        start += 1
    return True


cdef inline bint ends_with_count(Bytes begin, Bytes end) noexcept:
    r"""Whether the message ends with \n[0-9]{1,7} ?"""
    cdef Bytes digits_end
    if end - begin > NEXT_COUNT_BYTES_MAX:
        begin = end - NEXT_COUNT_BYTES_MAX
    if end > begin and end[-1] == c" ":
        end -= 1
    digits_end = end
    while end > begin and is_digit(end[-1]):
        end -= 1
    return 0 < digits_end - end <= COUNT_DIGITS_MAX and end > begin and end[-1] == c"\n"


cdef inline bint judge_start(const Body *body, Bytes at) noexcept:
    """Whether a frame begins here: its count leads to a newline, or to further counts."""
    cdef Py_ssize_t count
    cdef Bytes begin
    cdef Bytes end
    cdef int hop
    for hop in range(HOPS):
        begin = skip_count(at, body.end, &count)
        if begin == NULL or count > body.end - begin:
            return False
        end = begin + count
        if skip_pri(begin, end) != NULL and (end[-1] == c"\n" or follows(end, body.end)):
            return True
        if end == body.end:
            return True
        at = end
    return True


cdef inline bint judge_lost_newline(const Body *body, Bytes end) noexcept:
    """Whether a message ends here, one byte early. The frames after it may lack newlines too."""
    cdef Py_ssize_t count
    cdef Bytes begin
    cdef int hop
    for hop in range(HOPS):
        if end >= body.end:
            return end == body.end
        begin = skip_count(end, body.end, &count)
        if begin == NULL or skip_pri(begin, body.end) == NULL:
            return False
        if judge_start(body, end):
            return True
        end = early_end(body, begin, count)
    return True


cdef inline Bytes early_end(const Body *body, Bytes begin, Py_ssize_t count) noexcept:
    """One byte before the count says; the byte behind the body stands for all that are beyond."""
    return begin + count - 1 if count - 1 <= body.end - begin else body.end + 1


# --- recovery and search ------------------------------------------------------------------------


cdef inline Bytes recover(Body *body, Bytes at, Bytes *begin) noexcept:
    """The end of the message here, where no whole frame begins; NULL if it cannot be recovered."""
    cdef Py_ssize_t count = 0
    cdef Bytes end
    begin[0] = line_message(at, body.end)
    if begin[0] == NULL:
        return NULL
    end = line_end(body, begin[0])
    if end != NULL:
        return end
    if ends_with_input(body, at, begin[0]):
        return body.end
    if skip_count(at, body.end, &count) == NULL:
        return NULL
    end = early_end(body, begin[0], count)
    return end if judge_lost_newline(body, end) else NULL


cdef inline Bytes line_end(Body *body, Bytes begin) noexcept:
    """The end of the line, if the next message begins after it, and none in it; otherwise NULL."""
    cdef Bytes end = begin if begin > body.newline else body.newline
    cdef Bytes next_start
    end = <Bytes>memchr(end, c"\n", body.end - end)
    body.newline = body.end if end == NULL else end
    if end == NULL or end + 1 - begin > COUNT_MAX or find_start(begin, end + 1) != NULL:
        return NULL
    end += 1
    next_start = skip_blanks(end, body.end if body.end - end < BLANKS_MAX else end + BLANKS_MAX)
    if (
        next_start - end == BLANKS_MAX
        or next_start == body.end
        or line_message(next_start, body.end) != NULL
    ):
        return end
    return NULL


cdef inline bint ends_with_input(const Body *body, Bytes at, Bytes begin) noexcept:
    """Whether the message is the last line, and has as many bytes as the number before it says."""
    cdef Py_ssize_t size = body.end - begin
    cdef Py_ssize_t count = 0
    if body.newline != body.end or size > COUNT_MAX:
        return False
    while at < begin - 1 and count <= size:
        count = 10 * count + at[0] - c"0"
        at += 1
    return count <= size and find_start(begin, body.end) == NULL


cdef inline bint begins_line(const Body *body, Bytes at) noexcept:
    """Whether there is only indentation before this position in its line."""
    cdef Bytes begin = body.begin
    if at - begin > BLANKS_MAX + 1:
        begin = at - BLANKS_MAX - 1
    while at > begin and (at[-1] == c" " or at[-1] == c"\t"):
        at -= 1
    return at > begin and at[-1] == c"\n"


cdef inline Bytes resynchronise(Body *body) noexcept:
    """The start of the next message, or the end of the body; NULL for a pause in the search."""
    cdef Bytes end = body.end
    cdef Bytes start
    cdef Bytes begin
    if end - body.search > SEARCH_BYTES:
        end = body.search + SEARCH_BYTES
    start = find_start(body.search, end)
    while start != NULL:
        body.search = start
        if frame_end(body, start, &begin) != NULL or (
            begins_line(body, start) and recover(body, start, &begin) != NULL
        ):
            return start
        body.search += 1
        start = find_start(body.search, end)
    if end == body.end:
        return end
    if body.search < end - START_BYTES_MAX + 1:
        body.search = end - START_BYTES_MAX + 1
    return NULL
