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
# A dyno also logs the same marks in the same order. Those of one dyno and source are remembered in a
# context, so a mark is compared with the one that came next the last time.

cimport cython

from libc.math cimport ceil, log
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from app.ingest._lines cimport COUNTED, IGNORED, UNDECIDED
from app.ingest._text cimport Bytes, Text, is_blank, is_digit, is_letter, is_space, size_of
from app.rollup._numbers cimport NumberRows, OpenKey, key_of, number_of_section
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
    FORM_BYTES_MAX = 4_096  # of a line; Heroku's have about 1,000
    FIELDS_MAX = 51_200  # of all forms; Heroku's have about 25 each
    MARKS_MAX = 100
    CONTEXTS_MAX = 4_096
    CONTEXT_MARKS_MAX = 64
    KNOWN_MARKS_MAX = 32_768  # of all contexts; with long names, one takes 800 bytes
    CONTEXT_BYTES_MAX = 256
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
cdef int _field_count = 0  # of all forms
_SAMPLE = re.compile(rb" sample#([A-Za-z0-9._-]{1,100})=[0-9.]+([A-Za-z%/]{0,16})")


cdef int add_addon_line(FastRollup rollup, parse, Text text, long long at_ms) except -1:
    """Add `source=DATABASE addon=postgresql-round-1 sample#tables=13 …`."""
    global _field_count
    cdef Bytes samples = <Bytes>memmem(text.at, size_of(&text), b" sample#", 8)
    cdef Form form
    cdef bytes head
    if samples == NULL or size_of(&text) > FORM_BYTES_MAX:
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
    if len(_forms) >= FORMS_MAX or _field_count + form.count > FIELDS_MAX:
        _forms.clear()
        _field_count = 0
    elif known is not None:
        _field_count -= (<Form>known).count
    _forms[parse, head] = form
    _field_count += form.count
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
    rows = get_number_rows(rollup, _ADDONS)
    for index in range(form.count):
        rows.add_number(<OpenKey>form.fields[index].key, values[index], at_ms)
    return True


cdef Form _learn_form(parse, bytes head, bytes line):
    """The form of a line; None if it has none: then only Python can read it."""
    cdef Form form = Form()
    cdef Bytes begin
    cdef Field *field
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
        _, factor, exponent = unit_of(match[2])
        key = key_of((sample.addon, name, quantity.unit, sample.attachment))
        form.keys.append(key)
        field = &form.fields[form.count]
        field.prefix = begin + <Py_ssize_t>match.start()
        field.prefix_size = match.end(1) + 1 - match.start()
        field.unit = begin + <Py_ssize_t>match.start(2)
        field.unit_size = match.end(2) - match.start(2)
        field.millionths = <unsigned long long>factor * _powers[6 + <int>exponent]
        field.key = <void *>key
        form.count += 1
    return form


# --- marks ----------------------------------------------------------------------------------------

cdef enum:
    COUNT, SAMPLE, MEASURE

cdef int _sections[3]
_sections[:] = [
    number_of_section(name) for name in ("custom_counts", "custom_samples", "custom_measures")
]
cdef int _SKETCHES = number_of_section("custom_sketches")
cdef int _ADDONS = number_of_section("addon_samples")
cdef bytes _hirefire = custom_marks.HIREFIRE
cdef bytes _queue_time = custom_marks.QUEUE_TIME
assert _queue_time.decode() in QUEUE_TIME_NAMES
cdef double LOG_GAMMA = number_sketch.LOG_GAMMA
cdef int ZERO_BIN = number_sketch.ZERO_BIN
cdef int STEP_MAX = number_sketch.STEP_MAX
cdef int MIDDLE_STEP = number_sketch.MIDDLE_STEP


@cython.final
cdef class MarkKey:
    """The name and unit of a mark, and its key in a context."""

    cdef int kind
    cdef bytes name, unit
    cdef OpenKey key
    cdef unsigned long long millionths  # in one of the unit
    cdef unsigned long long factor
    cdef int exponent


@cython.final
cdef class Context:
    """The marks of a dyno and a source."""

    cdef str source, process_type, origin
    cdef list marks  # in the order in which they were seen first
    cdef Py_ssize_t next  # the expected mark


cdef struct Mark:
    void *key  # a MarkKey, borrowed from the context
    long long millionths
    int bin


cdef dict _contexts = {}  # by procid and source
cdef int _known_marks = 0  # of all contexts


cdef int add_marks(FastRollup rollup, const Text *procid, Text text, long long at_ms) except -1:
    """Add the marks of a line of an app's own output; IGNORED if it has none."""
    cdef Mark marks[MARKS_MAX + 1]
    cdef Bytes hash_sign = text.at
    cdef Bytes queue_time
    cdef Context context = None
    cdef Py_ssize_t size = size_of(&text)
    cdef int count = 0
    cdef int kind
    queue_time = <Bytes>memmem(text.at, size, <Bytes>_hirefire, len(_hirefire))
    while True:
        hash_sign = <Bytes>memchr(hash_sign, c"#", text.end - hash_sign)
        if hash_sign == NULL:
            break
        kind = _kind_before(hash_sign, text.at)
        hash_sign += 1
        if kind < 0 or hash_sign == text.end or is_space(hash_sign[0]) or hash_sign[0] == c"=":
            continue
        if context is None:
            context = _find_context(procid, &text)
            if context is None:
                return UNDECIDED
        if count == MARKS_MAX or not _read_mark(
            context, kind, &hash_sign, text.end, &marks[count]
        ):
            return UNDECIDED
        count += 1
    if queue_time != NULL:
        if context is None:
            context = _find_context(procid, &text)
            if context is None:
                return UNDECIDED
        queue_time += len(_hirefire)
        if not _read_queue_time(context, queue_time, text.end, &marks[count]):
            return UNDECIDED
        count += 1
    if not count:
        return IGNORED
    _add_all(rollup, marks, count, at_ms)
    return COUNTED


cdef Context _find_context(const Text *procid, const Text *text):
    """The context of a line; None if only Python can tell."""
    global _known_marks
    cdef unsigned char parts[CONTEXT_BYTES_MAX]
    cdef Text origin
    cdef Py_ssize_t size
    cdef bytes joined
    cdef Context context
    if not _find_origin(text, &origin) or (
        size_of(procid) + size_of(&origin) + 1 > CONTEXT_BYTES_MAX
    ):
        return None
    size = size_of(procid)
    memcpy(parts, procid.at, size)
    parts[size] = 0  # no part has a 0
    memcpy(parts + size + 1, origin.at, size_of(&origin))
    joined = parts[: size + 1 + size_of(&origin)]
    # Marks are forgotten between two lines, because those of a line are borrowed.
    if len(_contexts) > CONTEXTS_MAX or _known_marks >= KNOWN_MARKS_MAX:
        _contexts.clear()
        _known_marks = 0
    known = _contexts.get(joined)
    if known is not None:
        context = <Context>known
        if len(context.marks) >= CONTEXT_MARKS_MAX:  # names that do not repeat
            _known_marks -= len(context.marks)
            context.marks = []
        return context
    source = custom_marks.dyno_source(procid.at[:size])
    if source is None:
        return None
    context = Context()
    context.source, context.process_type = source, labels_of(source)[0]
    context.origin = origin.at[: size_of(&origin)].decode()
    context.marks = []
    _contexts[joined] = context
    return context


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


cdef bint _read_mark(Context context, int kind, Bytes *at, Bytes end, Mark *mark) except -1:
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
    return _finish_mark(context, kind, &name, &number, &text, at, mark)


cdef bint _read_queue_time(Context context, Bytes at, Bytes end, Mark *mark) except -1:
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
    return _finish_mark(context, MEASURE, &name, &number, &text, &at, mark)


cdef bint _finish_mark(
    Context context,
    int kind,
    const Text *name,
    const Number *number,
    Text *text,
    Bytes *at,
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
    key = _find_key(context, kind, name, &unit)
    if not in_millionths(number, key.millionths, &mark.millionths):
        return False
    if kind == MEASURE and not _find_bin(number, key, &mark.bin):
        return False
    mark.key = <void *>key
    at[0] = text.at
    return True


cdef MarkKey _find_key(Context context, int kind, const Text *name, const Text *unit):
    """The key of a mark in a context."""
    global _known_marks
    cdef Py_ssize_t position = context.next
    cdef Py_ssize_t count = len(context.marks)
    cdef MarkKey key
    cdef Py_ssize_t _
    for _ in range(count):
        if position >= count:
            position = 0
        key = <MarkKey>context.marks[position]
        position += 1
        if key.kind == kind and _is_text(key.name, name) and _is_text(key.unit, unit):
            context.next = position
            return key
    key = MarkKey()
    key.kind, key.name, key.unit = kind, name.at[: size_of(name)], unit.at[: size_of(unit)]
    unit_name, key.factor, key.exponent = unit_of(key.unit)
    key.millionths = key.factor * _powers[6 + key.exponent]
    first = context.process_type if kind == MEASURE else context.source
    key.key = key_of((first, key.name.decode(), unit_name, context.origin))
    context.marks.append(key)
    _known_marks += 1
    context.next = len(context.marks)
    return key


cdef inline bint _is_text(bytes known, const Text *text) noexcept:
    return len(known) == size_of(text) and not memcmp(<Bytes>known, text.at, size_of(text))


cdef inline bint _find_bin(const Number *number, MarkKey key, int *index) noexcept:
    """The bin of app.rollup.number_sketch; False if the number is no exact float."""
    cdef wide digits = <wide>number.digits * key.factor
    cdef int exponent = key.exponent - number.decimals
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
    cdef MarkKey key
    cdef int index
    for index in range(count):
        key = <MarkKey>marks[index].key
        get_number_rows(rollup, _sections[key.kind]).add_number(
            key.key, marks[index].millionths, at_ms
        )
        if key.kind == MEASURE:
            get_number_rows(rollup, _SKETCHES).add_to_bin(key.key, marks[index].bin)
    return 0
