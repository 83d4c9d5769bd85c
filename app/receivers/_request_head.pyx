# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.receivers.request_head, which defines the accepted heads."""

from libc.string cimport memcmp, memset

from app.receivers.request_head import (
    AUTHORIZATION,
    CONNECTION,
    DIGITS_MAX,
    DRAIN,
    FRAME_ID,
    HOST,
    KEEP_ALIVE,
    LENGTH,
    MSG_COUNT,
    REQUEST_ID,
    REQUEST_LINES,
    SLOW_PATH_HEADERS,
    USED_HEADERS,
    DrainRequestHead,
)

cdef bytes _line, _line_with_slash
_line, _line_with_slash = REQUEST_LINES
cdef dict _keep_alive = KEEP_ALIVE
cdef int _digits_max = DIGITS_MAX

cdef enum:
    NAME_BYTES_MAX = 64  # as in the pattern of app.receivers.request_head
    NAMES_MAX = 32

cdef enum:  # the used headers, in the order of _names
    HOST_AT
    CONNECTION_AT
    AUTHORIZATION_AT
    LENGTH_AT
    DRAIN_AT
    FRAME_ID_AT
    MSG_COUNT_AT
    REQUEST_ID_AT
    USED_COUNT

ctypedef const unsigned char *Bytes

cdef struct Value:
    Bytes begin  # NULL if the header is absent
    Py_ssize_t size

# The names of all headers that matter; the used ones come first.
cdef tuple _names = (
    *(HOST, CONNECTION, AUTHORIZATION, LENGTH, DRAIN, FRAME_ID, MSG_COUNT, REQUEST_ID),
    *sorted(SLOW_PATH_HEADERS),
)
cdef int _name_count = len(_names)
assert _name_count <= NAMES_MAX
assert frozenset(_names[:USED_COUNT]) == USED_HEADERS
cdef Bytes _texts[NAMES_MAX]
cdef Py_ssize_t _sizes[NAMES_MAX]
cdef int _index
for _index in range(_name_count):
    _texts[_index] = <bytes>_names[_index]
    _sizes[_index] = len(_names[_index])


def parse_common_head(bytes data):
    """The compiled app.receivers.request_head.parse_common_head."""
    cdef Bytes begin = data
    cdef Bytes end = begin + len(data)
    cdef Bytes at = skip_request_line(begin, end)
    cdef Bytes value
    cdef Value values[USED_COUNT]
    cdef unsigned char name[NAME_BYTES_MAX]
    cdef Py_ssize_t size
    cdef long body_bytes
    cdef int index
    if at == NULL:
        return None
    memset(values, 0, sizeof(values))
    while at < end and at[0] != c"\r":
        size = 0
        while at < end and size < NAME_BYTES_MAX and is_name_byte(at[0]):
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
        index = index_of(name, size)
        if index >= USED_COUNT:
            return None
        if index >= 0:
            if values[index].begin != NULL:  # the header occurs twice
                return None
            values[index] = Value(value, at - value)
        at += 2
    if end - at < 2 or at[1] != c"\n" or values[HOST_AT].begin == NULL:
        return None
    keep_alive = True
    if values[CONNECTION_AT].begin != NULL:
        keep_alive = _keep_alive.get(to_bytes(&values[CONNECTION_AT]))
    body_bytes = parse_count(&values[LENGTH_AT])
    if keep_alive is None or not body_bytes:
        return None
    return DrainRequestHead(
        to_bytes(&values[HOST_AT]),
        to_bytes(&values[AUTHORIZATION_AT]),
        to_bytes(&values[DRAIN_AT]),
        to_bytes(&values[FRAME_ID_AT]),
        parse_count(&values[MSG_COUNT_AT]),
        to_bytes(&values[REQUEST_ID_AT]),
        keep_alive,
        at + 2 - begin,
        body_bytes,
    )


cdef inline Bytes skip_request_line(Bytes begin, Bytes end) noexcept:
    """The first byte after the request line; NULL if it is another one."""
    if end - begin >= len(_line) and not memcmp(begin, <Bytes>_line, len(_line)):
        return begin + len(_line)
    if end - begin >= len(_line_with_slash) and not memcmp(
        begin, <Bytes>_line_with_slash, len(_line_with_slash)
    ):
        return begin + len(_line_with_slash)
    return NULL


cdef inline bytes to_bytes(const Value *value):
    """b"" for an absent header."""
    return value.begin[: value.size]


cdef inline long parse_count(const Value *value) noexcept:
    """The compiled app.receivers.request_head.parse_count."""
    cdef long number = 0
    cdef Py_ssize_t position
    if value.size > _digits_max:
        return 0
    for position in range(value.size):
        if not c"0" <= value.begin[position] <= c"9":
            return 0
        number = 10 * number + value.begin[position] - c"0"
    return number


cdef inline int index_of(Bytes name, Py_ssize_t size) noexcept:
    """The index of a name in _names; -1 if it is not there."""
    cdef int index
    for index in range(_name_count):
        if _sizes[index] == size and not memcmp(_texts[index], name, size):
            return index
    return -1


cdef inline bint is_name_byte(int byte) noexcept:
    return (
        c"a" <= byte <= c"z" or c"A" <= byte <= c"Z" or c"0" <= byte <= c"9" or byte == c"-"
    )
