# Reads MessagePack as app.rollup.codec writes it, between `at` and `end` of a cursor. Any other form is
# a ValueError. No byte is read before its position is compared with the end.

ctypedef const unsigned char *Bytes

cdef enum:
    FIELD_COUNT = 12  # of a rollup: version, messages, names, 8 sections, extensions

cdef struct Cursor:
    Bytes at
    Bytes end


cdef inline unsigned long long big_endian(Cursor *cursor, int size) except? 0xFFFFFFFFFFFFFFFF:
    """Read a number of `size` bytes, the most significant first."""
    cdef unsigned long long value = 0
    cdef int _
    if cursor.end - cursor.at < size:
        raise ValueError("the data ends early")
    for _ in range(size):
        value = value << 8 | cursor.at[0]
        cursor.at += 1
    return value


cdef inline long long long_number(Cursor *cursor, int kind) except? -1:
    """Read a number that does not fit in its first byte, `kind`, which is already read."""
    cdef unsigned long long value
    if kind == 0xCC:
        return big_endian(cursor, 1)
    if kind == 0xCD:
        return big_endian(cursor, 2)
    if kind == 0xCE:
        return big_endian(cursor, 4)
    if kind == 0xCF or kind == 0xD3:
        value = big_endian(cursor, 8)
        if kind == 0xCF and value > <unsigned long long>0x7FFFFFFFFFFFFFFF:
            raise ValueError("a number over 63 bits")
        return <long long>value
    if kind == 0xD0:
        return <signed char>big_endian(cursor, 1)
    if kind == 0xD1:
        return <short>big_endian(cursor, 2)
    if kind == 0xD2:
        return <int>big_endian(cursor, 4)
    raise ValueError("not a number")


cdef inline int first_byte(Cursor *cursor) except -1:
    if cursor.at >= cursor.end:
        raise ValueError("the data ends early")
    cursor.at += 1
    return (cursor.at - 1)[0]


cdef inline long long number(Cursor *cursor) except? -1:
    cdef int kind
    if cursor.at < cursor.end and cursor.at[0] < 0x80:  # by far the most
        kind = cursor.at[0]
        cursor.at += 1
        return kind
    kind = first_byte(cursor)
    if kind >= 0xE0:
        return kind - 0x100
    return long_number(cursor, kind)


cdef inline int step_over(Cursor *cursor, int numbers) except -1:
    """Skip numbers without decoding them."""
    cdef int _, kind, size
    for _ in range(numbers):
        if cursor.at < cursor.end and cursor.at[0] < 0x80:  # by far the most
            cursor.at += 1
            continue
        kind = first_byte(cursor)
        if kind >= 0xE0:
            continue
        if 0xCC <= kind <= 0xD3:
            size = 1 << (kind & 3)  # of uint 8 to 64 and of int 8 to 64
            if cursor.end - cursor.at < size:
                raise ValueError("the data ends early")
            cursor.at += size
        else:
            raise ValueError("not a number")
    return 0


cdef inline long long not_negative(Cursor *cursor) except -1:
    cdef long long value = number(cursor)
    if value < 0:
        raise ValueError("a negative count")
    return value


cdef inline long long positive(Cursor *cursor) except -1:
    """Read a number above 0."""
    cdef long long value = number(cursor)
    if value <= 0:
        raise ValueError("not a count")
    return value


cdef inline long long below(Cursor *cursor, long long size) except -1:
    """Read a number in [0, size)."""
    cdef long long value = number(cursor)
    if value < 0 or value >= size:
        raise ValueError("out of range")
    return value


cdef inline Py_ssize_t array(Cursor *cursor) except -1:
    """Read the head of an array; return the number of its elements."""
    cdef int kind = first_byte(cursor)
    if kind & 0xF0 == 0x90:
        return kind & 0x0F
    if kind == 0xDC:
        return big_endian(cursor, 2)
    if kind == 0xDD:
        return big_endian(cursor, 4)
    raise ValueError("not an array")


cdef inline int span(Cursor *cursor, unsigned long long size, Cursor *part) except -1:
    """Set `part` to the next `size` bytes and step over them."""
    if size > <unsigned long long>(cursor.end - cursor.at):
        raise ValueError("the data ends early")
    part.at = cursor.at
    cursor.at += size
    part.end = cursor.at
    return 0


cdef inline int binary(Cursor *cursor, Cursor *part) except -1:
    cdef int kind = first_byte(cursor)
    if kind < 0xC4 or kind > 0xC6:
        raise ValueError("not a binary")
    return span(cursor, big_endian(cursor, 1 << (kind - 0xC4)), part)


cdef inline int text(Cursor *cursor, Cursor *part) except -1:
    """Set `part` to the bytes of a text, which need not be valid UTF-8."""
    cdef int kind = first_byte(cursor)
    if kind & 0xE0 == 0xA0:
        return span(cursor, kind & 0x1F, part)
    if kind >= 0xD9 and kind <= 0xDB:
        return span(cursor, big_endian(cursor, 1 << (kind - 0xD9)), part)
    raise ValueError("not a text")


cdef inline int skip_extensions(Cursor *cursor) except -1:
    """Step over the extensions, but check their form."""
    cdef Cursor part = cursor[0]
    cdef Py_ssize_t _
    for _ in range(array(cursor)):
        if array(cursor) != 2:
            raise ValueError("not an extension")
        text(cursor, &part)
        part.at[: part.end - part.at].decode()
        binary(cursor, &part)
    return 0
