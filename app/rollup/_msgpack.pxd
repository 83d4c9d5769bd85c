# MessagePack as app.rollup.codec writes it, from `at` to before `end`. What is not as expected is a
# ValueError. Every byte is read behind a comparison of its position with the end.

ctypedef const unsigned char *Bytes

cdef enum:
    PARTS = 12  # of a rollup: version, messages, names, 8 sections, later

cdef struct Cursor:
    Bytes at
    Bytes end


cdef inline unsigned long long big(Cursor *from_, int size) except? 0xFFFFFFFFFFFFFFFF:
    """A number of so many bytes, the highest first."""
    cdef unsigned long long value = 0
    cdef int _
    if from_.end - from_.at < size:
        raise ValueError("ends early")
    for _ in range(size):
        value = value << 8 | from_.at[0]
        from_.at += 1
    return value


cdef inline long long larger(Cursor *from_, int kind) except? -1:
    """A number that does not fit into its first byte, which was read."""
    cdef unsigned long long value
    if kind == 0xCC:
        return big(from_, 1)
    if kind == 0xCD:
        return big(from_, 2)
    if kind == 0xCE:
        return big(from_, 4)
    if kind == 0xCF or kind == 0xD3:
        value = big(from_, 8)
        if kind == 0xCF and value > <unsigned long long>0x7FFFFFFFFFFFFFFF:
            raise ValueError("no such number")
        return <long long>value
    if kind == 0xD0:
        return <signed char>big(from_, 1)
    if kind == 0xD1:
        return <short>big(from_, 2)
    if kind == 0xD2:
        return <int>big(from_, 4)
    raise ValueError("no number")


cdef inline int first_byte(Cursor *from_) except -1:
    if from_.at >= from_.end:
        raise ValueError("ends early")
    from_.at += 1
    return (from_.at - 1)[0]


cdef inline long long number(Cursor *from_) except? -1:
    cdef int kind = first_byte(from_)
    if kind < 0x80:
        return kind
    if kind >= 0xE0:
        return kind - 0x100
    return larger(from_, kind)


cdef inline int step_over(Cursor *from_, int numbers) except -1:
    """Without working out what they are."""
    cdef int _, kind, size
    for _ in range(numbers):
        kind = first_byte(from_)
        if kind < 0x80 or kind >= 0xE0:
            continue
        if 0xCC <= kind <= 0xD3:
            size = 1 << (kind & 3)  # of uint 8 to 64 and of int 8 to 64
            if from_.end - from_.at < size:
                raise ValueError("ends early")
            from_.at += size
        else:
            raise ValueError("no number")
    return 0


cdef inline long long not_negative(Cursor *from_) except -1:
    cdef long long value = number(from_)
    if value < 0:
        raise ValueError("no count")
    return value


cdef inline long long below(Cursor *from_, long long size) except -1:
    """A number in [0, size)."""
    cdef long long value = number(from_)
    if value < 0 or value >= size:
        raise ValueError("out of range")
    return value


cdef inline Py_ssize_t array(Cursor *from_) except -1:
    """How many elements follow."""
    cdef int kind = first_byte(from_)
    if kind & 0xF0 == 0x90:
        return kind & 0x0F
    if kind == 0xDC:
        return big(from_, 2)
    if kind == 0xDD:
        return big(from_, 4)
    raise ValueError("no array")


cdef inline int span(Cursor *from_, unsigned long long size, Cursor *part) except -1:
    """So many bytes, which are stepped over."""
    if size > <unsigned long long>(from_.end - from_.at):
        raise ValueError("ends early")
    part.at = from_.at
    from_.at += size
    part.end = from_.at
    return 0


cdef inline int binary(Cursor *from_, Cursor *part) except -1:
    cdef int kind = first_byte(from_)
    if kind < 0xC4 or kind > 0xC6:
        raise ValueError("no binary")
    return span(from_, big(from_, 1 << (kind - 0xC4)), part)


cdef inline int text(Cursor *from_, Cursor *part) except -1:
    """Its bytes, of which it is not said that they are UTF-8."""
    cdef int kind = first_byte(from_)
    if kind & 0xE0 == 0xA0:
        return span(from_, kind & 0x1F, part)
    if kind >= 0xD9 and kind <= 0xDB:
        return span(from_, big(from_, 1 << (kind - 0xD9)), part)
    raise ValueError("no text")


cdef inline int later(Cursor *from_) except -1:
    """The sections behind the eight, which are stepped over."""
    cdef Cursor part = from_[0]
    cdef Py_ssize_t _
    for _ in range(array(from_)):
        if array(from_) != 2:
            raise ValueError("no section")
        text(from_, &part)
        part.at[: part.end - part.at].decode()
        binary(from_, &part)
    return 0
