# The header of a message, `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID`; parsers.syslog_header
# defines it. A header that is rejected here is read again there.

from libc.string cimport memcmp, memcpy

from app.ingest._frames cimport skip_pri
from app.ingest._text cimport Bytes, Text, is_letter, next_word, skip_digits, skip_prefix

cdef enum:
    TIME_BYTES_MIN = 20  # 2026-11-22T10:00:00Z
    FRACTION_DIGITS_MAX = 9
    YEAR_MIN = 1971  # with any zone, a time of these years is positive and allowed
    YEAR_MAX = 9998
    LEAP_SECOND = 60
    MINUTE_MS = 60_000

cdef struct Message:
    long long at_ms
    Text origin  # APP-NAME, PROCID, and the spaces after them
    Text procid
    Text text


cdef struct Clock:
    # The minute that was read last. Most lines repeat it.
    unsigned char text[16]
    long long minute


cdef inline bint read_message(Bytes at, Bytes end, Clock *clock, Message *message) noexcept:
    cdef Text *text = &message.text
    text.at = skip_pri(at, end)
    text.end = end
    if text.at == NULL or not read_time(text, clock, &message.at_ms):
        return False
    at = next_word(text.at + 1, end)  # after HOSTNAME
    message.origin.at = at
    message.procid.at = next_word(at, end)
    at = next_word(message.procid.at, end)
    message.origin.end = at
    message.procid.end = at - 1
    text.at = next_word(at, end)  # after MSGID
    return at < end  # otherwise a word may be missing


cdef inline bint skip_structured_data(Text *text) noexcept:
    """Skip what precedes the words of a platform's line. False for elements, which are rare."""
    if text.at == text.end or is_letter(text.at[0]):
        return True
    if text.at[0] == c"[":
        return False
    if text.at[0] == c"-" and (text.end - text.at == 1 or text.at[1] == c" "):
        text.at += 1
    while text.at < text.end and text.at[0] == c" ":
        text.at += 1
    if skip_prefix(text, b"\xef\xbb\xbf", 3):
        while text.at < text.end and text.at[0] == c" ":
            text.at += 1
    return True


# --- time ---------------------------------------------------------------------------------------


cdef inline int two_digits(Bytes at) noexcept:
    """The number that two digits are, or one above 99."""
    cdef unsigned int tens = at[0] - c"0"
    cdef unsigned int ones = at[1] - c"0"
    return 10 * tens + ones if tens <= 9 and ones <= 9 else 100


cdef inline bint read_time(Text *text, Clock *clock, long long *at_ms) noexcept:
    r"""Read an RFC 3339 time in Unix milliseconds, up to the space after it."""
    cdef Bytes at = text.at
    cdef Bytes fraction
    cdef long long day
    cdef int hour, minute, second, offset = 0
    cdef int milliseconds = 0
    if text.end - at <= TIME_BYTES_MIN or at[16] != c":":
        return False
    if memcmp(at, clock.text, 16):
        day = read_day(at)
        hour, minute = two_digits(at + 11), two_digits(at + 14)
        if day < 0 or at[10] != c"T" or at[13] != c":" or hour > 23 or minute > 59:
            return False
        memcpy(clock.text, at, 16)
        clock.minute = 1440 * day + 60 * hour + minute
    second = two_digits(at + 17)
    if second > LEAP_SECOND:
        return False
    at += 19
    if at[0] == c".":
        fraction = at + 1
        at = skip_digits(fraction, text.end, FRACTION_DIGITS_MAX)
        if at == fraction:
            return False
        milliseconds = 100 * (fraction[0] - c"0")
        if at - fraction > 1:
            milliseconds += 10 * (fraction[1] - c"0")
        if at - fraction > 2:
            milliseconds += fraction[2] - c"0"
    if not read_zone(&at, text.end, &offset):
        return False
    text.at = at
    at_ms[0] = ((clock.minute - offset) * 60 + second) * 1000 + milliseconds
    return True


cdef inline bint read_zone(Bytes *at, Bytes end, int *offset) noexcept:
    """Read Z, or +01:00 in minutes, and require a space after it."""
    cdef Bytes zone = at[0]
    cdef int hours, minutes
    if end - zone >= 2 and zone[0] == c"Z":
        at[0] = zone + 1
        return zone[1] == c" "
    if end - zone < 7 or zone[3] != c":" or zone[6] != c" ":
        return False
    hours, minutes = two_digits(zone + 1), two_digits(zone + 4)
    if hours > 23 or minutes > 59 or zone[0] != c"+" and zone[0] != c"-":
        return False
    offset[0] = 60 * hours + minutes if zone[0] == c"+" else -60 * hours - minutes
    at[0] = zone + 6
    return True


cdef inline long long read_day(Bytes at) noexcept:
    """The days from 1970 to the date 2026-11-22; -1 if there is no such day.

    The count is that of Howard Hinnant's days_from_civil: years begin in March, so that the leap
    day is their last.
    """
    cdef int year = 100 * two_digits(at) + two_digits(at + 2)
    cdef int month = two_digits(at + 5)
    cdef int day = two_digits(at + 8)
    cdef int day_max
    if at[4] != c"-" or at[7] != c"-" or not YEAR_MIN <= year <= YEAR_MAX:
        return -1
    if two_digits(at) > 99 or two_digits(at + 2) > 99 or not 1 <= month <= 12:
        return -1
    if month == 2:
        day_max = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    else:
        day_max = 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31
    if not 1 <= day <= day_max:
        return -1
    if month < 3:
        year -= 1
        month += 12
    return (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719_469
    )
