# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The head of a usual POST, byte by byte: the same as app.http.usual_head, which says what is meant."""

from libc.string cimport memcmp

from app.http.usual_head import BEGINNING, KEEPS, READ, UNUSUAL, Head

cdef bytes _beginning = BEGINNING
cdef dict _keeps = KEEPS

cdef enum:
    NAME_BYTES_MAX = 64  # of longer ones the pattern knows
    KNOWN_MAX = 32

ctypedef const unsigned char *Bytes

# The names that something depends on, those that are read first.
cdef tuple _names = (*sorted(READ), *sorted(UNUSUAL))
cdef int _read_names = len(READ)
cdef int _known_names = len(_names)
assert _known_names <= KNOWN_MAX
cdef Bytes _texts[KNOWN_MAX]
cdef Py_ssize_t _sizes[KNOWN_MAX]
cdef int _number
for _number in range(_known_names):
    _texts[_number] = <bytes>_names[_number]
    _sizes[_number] = len(_names[_number])


def usual_head(bytes data):
    """See app.http.usual_head."""
    cdef Bytes begin = data
    cdef Bytes end = begin + len(data)
    cdef Bytes at = begin + len(_beginning)
    cdef Bytes value
    cdef unsigned char name[NAME_BYTES_MAX]
    cdef Py_ssize_t size
    cdef int number
    cdef dict headers = {}
    if end - begin < len(_beginning) or memcmp(begin, <Bytes>_beginning, len(_beginning)):
        return None
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
        if number >= _read_names:
            return None
        if number >= 0:
            key = _names[number]
            if key in headers:
                return None
            headers[key] = value[: at - value]
        at += 2
    if end - at < 2 or at[1] != c"\n" or b"host" not in headers:
        return None
    keep_alive = _keeps.get(headers.get(b"connection", b"keep-alive"))
    if keep_alive is None:
        return None
    return Head(headers, keep_alive, at + 2 - begin)


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
