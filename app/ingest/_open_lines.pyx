# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Reads lines of add-ons, and marks in an app's own output. For app.ingest._aggregator alone.

parsers.addons and parsers.custom_marks define the meaning of all lines. What is in another form than
here is UNDECIDED, and has added nothing.
"""

# Theory of operation
#
# An add-on writes the same samples in the same order, minute after minute. So the first line of an
# add-on is read by Python, and remembered as a form: the bytes around its numbers, and the key of
# each. A later line is compared with the form, and only its numbers are read.
#
# Of a mark, the bytes of its name and unit, with the dyno and the source, lead to its key. Python
# makes each key once.

cimport cython

from libc.math cimport ceil, log
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from app.ingest._lines cimport COUNTED, IGNORED, UNDECIDED
from app.ingest._text cimport Bytes, Text, is_blank, is_digit, is_letter, is_space, size_of
from app.rollup._numbers cimport NumberRows, OpenKey, key_of
from app.rollup._rollup cimport FastRollup, get_number_rows

import re

from app.rollup import number_sketch
from parsers import custom_marks
from parsers.numbers import MILLION, NUMBER_LIMIT, unit_of
from parsers.samples import QUEUE_TIME_NAMES, ParseError, labels_of

cdef extern from *:
    """
    #include <string.h>
    typedef unsigned __int128 wide;
    """
    ctypedef unsigned long long wide
    void *memmem(const void *, size_t, const void *, size_t)

cdef enum:
    DIGITS_MAX = 18
    UNIT_BYTES_MAX = 16
    NAME_BYTES_MAX = 100
    FORMS_MAX = 2_048
    MARKS_MAX = 100
    MARK_KEYS_MAX = 16_384
    MARK_BYTES_MAX = 512  # of the parts of a mark's key together
    EXACT_POWER = 22  # 10 ** 22 is the last power of ten that a float has exactly

cdef unsigned long long _powers[19]
cdef double _float_powers[EXACT_POWER + 1]
_powers[:] = [10**power for power in range(19)]
_float_powers[:] = [float(10**power) for power in range(EXACT_POWER + 1)]
cdef wide NUMBER_MAX = <wide><unsigned long long>NUMBER_LIMIT * <unsigned long long>MILLION
assert MARKS_MAX == custom_marks.MARKS_MAX


cdef struct Number:
    unsigned long long digits
    int decimals


cdef inline bint read_number(Text *text, Number *number) noexcept:
    r"""Read [0-9]+(\.[0-9]*)? of up to DIGITS_MAX digits."""
    cdef Bytes at = text.at
    cdef Bytes end = text.end
    cdef unsigned long long digits = 0
    cdef int count = 0
    number.decimals = 0
    while at < end and is_digit(at[0]):
        digits = 10 * digits + (at[0] - c"0")
        at += 1
        count += 1
        if count > DIGITS_MAX:
            return False
    if not count:
        return False
    if at < end and at[0] == c".":
        at += 1
        while at < end and is_digit(at[0]):
            digits = 10 * digits + (at[0] - c"0")
            at += 1
            count += 1
            number.decimals += 1
            if count > DIGITS_MAX:
                return False
    number.digits = digits
    text.at = at
    return True


@cython.final
cdef class Unit:
    """A written unit: parsers.numbers.Unit."""

    cdef str name
    cdef unsigned long long factor
    cdef int exponent
    cdef unsigned long long millionths  # in one of it

    def __cinit__(self, bytes text):
        self.name, self.factor, self.exponent = unit_of(text)
        self.millionths = self.factor * _powers[6 + self.exponent]


cdef inline bint in_millionths(
    const Number *number, unsigned long long unit_millionths, long long *millionths
) noexcept:
    """Convert a number, rounding half up; False beyond NUMBER_LIMIT."""
    cdef wide divisor = _powers[number.decimals]
    cdef wide value = <wide>number.digits * unit_millionths
    if number.decimals:
        value = (2 * value + divisor) // (2 * divisor)
    if value > NUMBER_MAX:
        return False
    millionths[0] = <long long>value
    return True


# --- add-ons --------------------------------------------------------------------------------------

cdef struct Field:
    Bytes prefix  # " sample#name=", in the text of the form
    Py_ssize_t prefix_size
    Bytes unit
    Py_ssize_t unit_size
    unsigned long long millionths  # in one of the unit
    void *key  # an OpenKey, owned by the form


@cython.final
cdef class Form:
    """The form of an add-on's lines."""

    cdef bytes text  # of the line that it was learnt from
    cdef list keys
    cdef Field *fields
    cdef int count

    def __dealloc__(self):
        free(self.fields)


cdef dict _forms = {}  # by parser and the text before the samples
_SAMPLE = re.compile(rb" sample#([A-Za-z0-9._-]{1,100})=[0-9.]+([A-Za-z%/]{0,16})")


cdef int add_addon_line(FastRollup rollup, parse, Text text, long long at_ms) except -1:
    """Add `source=DATABASE addon=postgresql-round-1 sample#tables=13 …`."""
    cdef Bytes samples = <Bytes>memmem(text.at, size_of(&text), b" sample#", 8)
    cdef Form form
    cdef bytes head
    if samples == NULL:
        return UNDECIDED
    head = text.at[: samples - text.at]
    known = _forms.get((parse, head))
    if known is not None:
        form = <Form>known
        if _add_in_form(rollup, form, samples, text.end, at_ms):
            return COUNTED
    form = _learn_form(parse, head, text.at[: size_of(&text)])
    if form is None:
        return UNDECIDED
    if len(_forms) >= FORMS_MAX:
        _forms.clear()
    _forms[parse, head] = form
    return COUNTED if _add_in_form(rollup, form, samples, text.end, at_ms) else UNDECIDED


cdef bint _add_in_form(
    FastRollup rollup, Form form, Bytes at, Bytes end, long long at_ms
) except -1:
    """Add a line if it has this form. `at`: its first sample."""
    cdef long long values[128]
    cdef Text text
    cdef Number number
    cdef Field *field
    cdef NumberRows rows
    cdef int index
    text.at, text.end = at, end
    for index in range(form.count):
        field = &form.fields[index]
        if text.end - text.at <= field.prefix_size or memcmp(text.at, field.prefix, field.prefix_size):
            return False
        text.at += field.prefix_size
        if not read_number(&text, &number):
            return False
        if text.end - text.at < field.unit_size or memcmp(text.at, field.unit, field.unit_size):
            return False
        text.at += field.unit_size
        if text.at < text.end and not is_space(text.at[0]):
            return False
        if not in_millionths(&number, field.millionths, &values[index]):
            return False
    if not is_blank(&text):
        return False
    rows = get_number_rows(rollup, "addon_samples")
    for index in range(form.count):
        rows.add_number(<OpenKey>form.fields[index].key, values[index], at_ms)
    return True


cdef Form _learn_form(parse, bytes head, bytes line):
    """The form of a line; None if it has none: then only Python can read it."""
    cdef Form form = Form()
    cdef Bytes begin
    cdef Field *field
    cdef Unit unit
    samples = line.rstrip()[len(head) :]
    matches = list(_SAMPLE.finditer(samples))
    if b"".join([match[0] for match in matches]) != samples or not 0 < len(matches) <= 128:
        return None
    try:
        sample = parse(line)
    except ParseError:
        return None
    if len(sample.values) != len(matches):  # a value is unreadable, or a name repeats
        return None
    form.text = samples
    begin = form.text
    form.keys = []
    form.fields = <Field *>malloc(len(matches) * sizeof(Field))
    if form.fields == NULL:
        raise MemoryError
    for match, (name, quantity) in zip(matches, sample.values, strict=True):
        unit = Unit(match[2])
        key = key_of((sample.addon, name, quantity.unit, sample.attachment))
        form.keys.append(key)
        field = &form.fields[form.count]
        field.prefix = begin + <Py_ssize_t>match.start()
        field.prefix_size = match.end(1) + 1 - match.start()
        field.unit = begin + <Py_ssize_t>match.start(2)
        field.unit_size = match.end(2) - match.start(2)
        field.millionths = unit.millionths
        field.key = <void *>key
        form.count += 1
    return form


# --- marks ----------------------------------------------------------------------------------------

cdef enum:
    COUNT, SAMPLE, MEASURE

cdef tuple _sections = ("custom_counts", "custom_samples", "custom_measures")
cdef bytes _hirefire = custom_marks.HIREFIRE
cdef bytes _queue_time = custom_marks.QUEUE_TIME
assert _queue_time.decode() in QUEUE_TIME_NAMES
cdef double LOG_GAMMA = number_sketch.LOG_GAMMA
cdef int ZERO_BIN = number_sketch.ZERO_BIN
cdef int STEP_MAX = number_sketch.STEP_MAX
cdef int MIDDLE_STEP = number_sketch.MIDDLE_STEP


@cython.final
cdef class MarkKey:
    """The key of a mark, and its unit."""

    cdef OpenKey key
    cdef Unit unit


cdef struct Mark:
    int kind
    void *key  # a MarkKey; borrowed from _mark_keys, or owned by the caller's list
    long long millionths
    int bin


cdef dict _mark_keys = {}  # by kind, procid, source, name and unit
cdef dict _dynos = {}  # the source of a procid, or None


cdef int add_marks(FastRollup rollup, const Text *procid, Text text, long long at_ms) except -1:
    """Add the marks of a line of an app's own output; IGNORED if it has none."""
    cdef Mark marks[MARKS_MAX + 1]
    cdef Text origin
    cdef Bytes hash_sign = text.at
    cdef Bytes queue_time
    cdef Py_ssize_t size = size_of(&text)
    cdef int count = 0
    cdef int kind
    cdef list keys = []
    queue_time = <Bytes>memmem(text.at, size, <Bytes>_hirefire, len(_hirefire))
    if memchr(text.at, c"#", size) == NULL and queue_time == NULL:
        return IGNORED
    source = _source_of(procid)
    if source is None:
        return IGNORED
    origin.at = NULL
    while True:
        hash_sign = <Bytes>memchr(hash_sign, c"#", text.end - hash_sign)
        if hash_sign == NULL:
            break
        kind = _kind_before(hash_sign, text.at)
        hash_sign += 1
        if kind < 0 or hash_sign == text.end or is_space(hash_sign[0]) or hash_sign[0] == c"=":
            continue
        if count == MARKS_MAX:
            return UNDECIDED
        if origin.at == NULL and not _find_origin(&text, &origin):
            return UNDECIDED
        if not _read_mark(kind, procid, &origin, &hash_sign, text.end, keys, &marks[count]):
            return UNDECIDED
        count += 1
    if queue_time != NULL:
        if origin.at == NULL and not _find_origin(&text, &origin):
            return UNDECIDED
        queue_time += len(_hirefire)
        if not _read_queue_time(procid, &origin, queue_time, text.end, keys, &marks[count]):
            return UNDECIDED
        count += 1
    if count:
        _add_all(rollup, marks, count, at_ms)
    return COUNTED if count else IGNORED


cdef inline int _kind_before(Bytes at, Bytes begin) noexcept:
    """The kind of mark that is written before a #, as a word of its own; -1 for none."""
    if at - begin >= 5 and not memcmp(at - 5, b"count", 5) and (
        at - begin == 5 or is_space((at - 6)[0])
    ):
        return COUNT
    if at - begin >= 6 and not memcmp(at - 6, b"sample", 6) and (
        at - begin == 6 or is_space((at - 7)[0])
    ):
        return SAMPLE
    if at - begin >= 7 and not memcmp(at - 7, b"measure", 7) and (
        at - begin == 7 or is_space((at - 8)[0])
    ):
        return MEASURE
    return -1


cdef inline Bytes _skip_name(Bytes at, Bytes end) noexcept:
    while at < end and (
        is_letter(at[0]) or is_digit(at[0]) or at[0] == c"." or at[0] == c"_" or at[0] == c"-"
    ):
        at += 1
    return at


cdef bint _find_origin(const Text *text, Text *origin) noexcept:
    """Find the name after `source=`, or an empty one; False if it is quoted."""
    cdef Bytes at = text.at
    origin.at = origin.end = text.end
    while True:
        at = <Bytes>memmem(at, text.end - at, b"source=", 7)
        if at == NULL:
            return True
        at += 7
        if at - 7 > text.at and not is_space((at - 8)[0]):
            continue
        if at < text.end and at[0] == c'"':
            return False
        origin.at, origin.end = at, _skip_name(at, text.end)
        if 0 < size_of(origin) <= NAME_BYTES_MAX and (
            origin.end == text.end or is_space(origin.end[0])
        ):
            return True
        origin.at = origin.end = text.end


cdef bint _read_mark(
    int kind, const Text *procid, const Text *origin, Bytes *at, Bytes end, list keys, Mark *mark
) except -1:
    """Read a mark from its name on, and move `at` behind it; False for an uncommon form."""
    cdef Text name, text
    cdef Number number
    name.at = at[0]
    name.end = _skip_name(at[0], end)
    if not 0 < size_of(&name) <= NAME_BYTES_MAX:
        return False
    text.at, text.end = name.end, end
    if text.at < end and text.at[0] == c"=":
        text.at += 1
        if not read_number(&text, &number):
            return False
    elif kind == COUNT:
        number.digits, number.decimals = 1, 0
    else:
        return False
    return _finish_mark(kind, procid, origin, &name, &number, &text, at, keys, mark)


cdef bint _read_queue_time(
    const Text *procid, const Text *origin, Bytes at, Bytes end, list keys, Mark *mark
) except -1:
    """Read `12ms` of HireFire's line."""
    cdef Text name, text
    cdef Number number
    name.at = _queue_time
    name.end = name.at + len(_queue_time)
    text.at, text.end = at, end
    if not read_number(&text, &number) or end - text.at < 2 or memcmp(text.at, b"ms", 2):
        return False
    if end - text.at > 2 and not is_space(text.at[2]):
        return False
    return _finish_mark(MEASURE, procid, origin, &name, &number, &text, &at, keys, mark)


cdef bint _finish_mark(
    int kind,
    const Text *procid,
    const Text *origin,
    const Text *name,
    const Number *number,
    Text *text,
    Bytes *at,
    list keys,
    Mark *mark,
) except -1:
    """Read the unit of a mark, and find its key."""
    cdef Text unit
    cdef MarkKey key
    unit.at = text.at
    while text.at < text.end and (
        is_letter(text.at[0]) or text.at[0] == c"%" or text.at[0] == c"/"
    ):
        text.at += 1
    unit.end = text.at
    if size_of(&unit) > UNIT_BYTES_MAX or text.at < text.end and not is_space(text.at[0]):
        return False
    key = _find_key(kind, procid, origin, name, &unit)
    if key is None or not in_millionths(number, key.unit.millionths, &mark.millionths):
        return False
    if kind == MEASURE and not _find_bin(number, key.unit, &mark.bin):
        return False
    keys.append(key)
    mark.kind, mark.key = kind, <void *>key
    at[0] = text.at
    return True


cdef inline bint _find_bin(const Number *number, Unit unit, int *index) noexcept:
    """The bin of app.rollup.number_sketch; False if the number is no exact float."""
    cdef wide digits = <wide>number.digits * unit.factor
    cdef int exponent = unit.exponent - number.decimals
    cdef double value
    cdef double step
    if digits >> 53 or exponent < -EXACT_POWER or exponent > EXACT_POWER:
        return False
    # Both operands are exact, so the result is the float that is nearest to the decimal number.
    value = <double><unsigned long long>digits
    value = value * _float_powers[exponent] if exponent >= 0 else value / _float_powers[-exponent]
    if value == 0:
        index[0] = ZERO_BIN
        return True
    step = ceil(log(value) / LOG_GAMMA)
    index[0] = ZERO_BIN + MIDDLE_STEP + <int>min(max(step, <double>-STEP_MAX), <double>STEP_MAX)
    return True


cdef int _add_all(FastRollup rollup, const Mark *marks, int count, long long at_ms) except -1:
    cdef NumberRows rows
    cdef OpenKey key
    cdef int index
    for index in range(count):
        key = (<MarkKey>marks[index].key).key
        rows = get_number_rows(rollup, <str>_sections[marks[index].kind])
        rows.add_number(key, marks[index].millionths, at_ms)
        if marks[index].kind == MEASURE:
            rows = get_number_rows(rollup, "custom_sketches")
            rows.add_to_bin(key, marks[index].bin)
    return 0


cdef MarkKey _find_key(
    int kind, const Text *procid, const Text *origin, const Text *name, const Text *unit
):
    """The key of a mark; None if its parts are too long."""
    cdef unsigned char parts[MARK_BYTES_MAX]
    cdef Py_ssize_t size = 1
    cdef bytes joined
    cdef MarkKey key
    if size_of(procid) + size_of(origin) + size_of(name) + size_of(unit) + 8 > MARK_BYTES_MAX:
        return None
    parts[0] = kind
    size = _append(parts, size, procid)
    size = _append(parts, size, origin)
    size = _append(parts, size, name)
    size = _append(parts, size, unit)
    joined = parts[:size]
    known = _mark_keys.get(joined)
    if known is not None:
        return <MarkKey>known
    key = MarkKey()
    key.unit = Unit(unit.at[: size_of(unit)])
    source = _source_of(procid)
    first = labels_of(source)[0] if kind == MEASURE else source
    key.key = key_of(
        (
            first,
            name.at[: size_of(name)].decode(),
            key.unit.name,
            origin.at[: size_of(origin)].decode(),
        )
    )
    if len(_mark_keys) >= MARK_KEYS_MAX:
        _mark_keys.clear()
    _mark_keys[joined] = key
    return key


cdef inline Py_ssize_t _append(unsigned char *parts, Py_ssize_t size, const Text *text) noexcept:
    memcpy(parts + size, text.at, size_of(text))
    size += size_of(text)
    parts[size] = 0  # no part has a 0
    return size + 1


cdef _source_of(const Text *procid):
    """The source of the dyno that logs a line; None if marks are not read there."""
    cdef bytes name = procid.at[: size_of(procid)]
    if name in _dynos:
        return _dynos[name]
    source = custom_marks.dyno_source(name)
    if len(_dynos) >= MARK_KEYS_MAX:
        _dynos.clear()
    _dynos[name] = source
    return source
