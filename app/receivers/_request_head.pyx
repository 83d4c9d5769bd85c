# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The head of a usual POST, byte by byte: the same as app.receivers.request_head, which says what is meant."""

from libc.string cimport memcmp, memset

from app.receivers.request_head import (
    AUTHORIZATION,
    BEGINNING,
    CONNECTION,
    DIGITS_MAX,
    DRAIN,
    FRAME_ID,
    HOST,
    KEEPS,
    LENGTH,
    MSG_COUNT,
    READ,
    UNUSUAL,
    DrainRequestHead,
)

cdef bytes _beginning = BEGINNING
cdef dict _keeps = KEEPS
cdef int _digits_max = DIGITS_MAX

cdef enum:
    NAME_BYTES_MAX = 64  # of longer ones the pattern knows
    KNOWN_MAX = 32

cdef enum:  # those that are read, in the order of _names
    HOST_AT
    CONNECTION_AT
    AUTHORIZATION_AT
    LENGTH_AT
    DRAIN_AT
    FRAME_ID_AT
    MSG_COUNT_AT
    READ_NAMES

ctypedef const unsigned char *Bytes

cdef struct Value:
    Bytes begin  # NULL: it is not there
    Py_ssize_t size

# The names that something depends on, those that are read first.
cdef tuple _names = (
    HOST, CONNECTION, AUTHORIZATION, LENGTH, DRAIN, FRAME_ID, MSG_COUNT, *sorted(UNUSUAL)
)
cdef int _known_names = len(_names)
assert _known_names <= KNOWN_MAX
assert frozenset(_names[:READ_NAMES]) == READ
cdef Bytes _texts[KNOWN_MAX]
cdef Py_ssize_t _sizes[KNOWN_MAX]
cdef int _number
for _number in range(_known_names):
    _texts[_number] = <bytes>_names[_number]
    _sizes[_number] = len(_names[_number])


def parse_common_head(bytes data):
    """See app.receivers.request_head."""
    cdef Bytes begin = data
    cdef Bytes end = begin + len(data)
    cdef Bytes at = begin + len(_beginning)
    cdef Bytes value
    cdef Value found[READ_NAMES]
    cdef unsigned char name[NAME_BYTES_MAX]
    cdef Py_ssize_t size
    cdef long body_bytes
    cdef int number
    if end - begin < len(_beginning) or memcmp(begin, <Bytes>_beginning, len(_beginning)):
        return None
    memset(found, 0, sizeof(found))
    while at < end and at[0] != c"\r":
        size = 0
        while at < end and size < NAME_BYTES_MAX and in_name(at[0]):
            name[size] = at[0] | 0x20 if c"A" <= at[0] <= c"Z" else at[0]
            size += 1
            at += 1
        if not size or end - at < 2 or at[0] != c":" or at[1] != c" ":
            return None
        value = at + 2
        at = value
        while at < end and c" " <= at[0] <= c"~":
            at += 1
        if at == value or value[0] == c" " or (at - 1)[0] == c" ":
            return None
        if end - at < 2 or at[0] != c"\r" or at[1] != c"\n":
            return None
        number = known(name, size)
        if number >= READ_NAMES:
            return None
        if number >= 0:
            if found[number].begin != NULL:
                return None
            found[number] = Value(value, at - value)
        at += 2
    if end - at < 2 or at[1] != c"\n" or found[HOST_AT].begin == NULL:
        return None
    keep_alive = True
    if found[CONNECTION_AT].begin != NULL:
        keep_alive = _keeps.get(text(&found[CONNECTION_AT]))
    body_bytes = digits(&found[LENGTH_AT])
    if keep_alive is None or not body_bytes:
        return None
    return DrainRequestHead(
        text(&found[HOST_AT]),
        text(&found[AUTHORIZATION_AT]),
        text(&found[DRAIN_AT]),
        text(&found[FRAME_ID_AT]),
        digits(&found[MSG_COUNT_AT]),
        keep_alive,
        at + 2 - begin,
        body_bytes,
    )


cdef inline bytes text(const Value *value):
    """b"" where it is not there."""
    return value.begin[: value.size]


cdef inline long digits(const Value *value) noexcept:
    """See app.receivers.request_head.number."""
    cdef long number = 0
    cdef Py_ssize_t position
    if value.size > _digits_max:
        return 0
    for position in range(value.size):
        if not c"0" <= value.begin[position] <= c"9":
            return 0
        number = 10 * number + value.begin[position] - c"0"
    return number


cdef inline int known(Bytes name, Py_ssize_t size) noexcept:
    """The number of a name in _names; -1 for another."""
    cdef int number
    for number in range(_known_names):
        if _sizes[number] == size and not memcmp(_texts[number], name, size):
            return number
    return -1


cdef inline bint in_name(int byte) noexcept:
    return (
        c"a" <= byte <= c"z" or c"A" <= byte <= c"Z" or c"0" <= byte <= c"9" or byte == c"-"
    )
