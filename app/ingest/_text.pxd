# Readers of pieces of text: words, numbers, and `key=value` fields. Each compares its position with
# the end before it reads a byte.

from libc.string cimport memchr, memcmp

cdef extern from *:
    """
    #ifndef __linux__  /* other platforms may lack memrchr */
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
    KEYS_MAX = 64

cdef struct Text:
    Bytes at  # the first unread byte
    Bytes end

cdef struct Key:
    Bytes prefix  # the key with its "="
    Py_ssize_t size
    int kind  # of the value
    int number  # of what it measures

cdef struct Keys:
    # The keys of a kind of line, in their usual order.
    int count
    Key keys[KEYS_MAX]


cdef inline Py_ssize_t size_of(const Text *text) noexcept:
    return text.end - text.at


# --- words --------------------------------------------------------------------------------------


cdef inline bint is_digit(int byte) noexcept:
    return c"0" <= byte <= c"9"


cdef inline bint is_letter(int byte) noexcept:
    return c"A" <= (byte & 0xDF) <= c"Z"


cdef inline bint is_space(int byte) noexcept:
    r"""\s"""
    return byte == c" " or 9 <= byte <= 13


cdef inline Bytes skip_digits(Bytes at, Bytes end, int digits_max) noexcept:
    if end - at > digits_max:
        end = at + digits_max
    while at < end and is_digit(at[0]):
        at += 1
    return at


cdef inline Bytes find_space(Bytes at, Bytes end) noexcept:
    """The first space, or the end. For short words; memchr would take longer."""
    while at < end and at[0] != c" ":
        at += 1
    return at


cdef inline Bytes next_word(Bytes at, Bytes end) noexcept:
    """The byte after the first space, or the end."""
    at = find_space(at, end)
    return at + 1 if at < end else end


cdef inline int skip_word(Text *text) noexcept:
    """Skip to the beginning of the next word, or to the end. The present word may be long."""
    if text.at < text.end and text.at[0] != c" ":
        text.at = <Bytes>memchr(text.at, c" ", text.end - text.at)
    text.at = text.end if text.at == NULL or text.at == text.end else text.at + 1
    return 0


cdef inline bint begins_with(const Text *text, const char *prefix, Py_ssize_t size) noexcept:
    return text.end - text.at >= size and not memcmp(text.at, prefix, size)


cdef inline bint skip_prefix(Text *text, const char *prefix, Py_ssize_t size) noexcept:
    """Skip the prefix, if the text begins with it."""
    if not begins_with(text, prefix, size):
        return False
    text.at += size
    return True


cdef inline bint ends_word(const Text *text) noexcept:
    r"""Whether the end, or a \s, is here."""
    return text.at == text.end or is_space(text.at[0])


cdef inline bint is_blank(const Text *text) noexcept:
    r"""Whether the rest matches \s*."""
    cdef Bytes at = text.at
    while at < text.end and is_space(at[0]):
        at += 1
    return at == text.end


# --- numbers ------------------------------------------------------------------------------------


cdef inline bint read_number(Text *text, int digits_max, long long *value) noexcept:
    """Read up to `digits_max` digits; the value is -1 if there are none. False for more digits."""
    cdef Bytes at = text.at
    value[0] = 0
    while text.at < text.end and is_digit(text.at[0]):
        value[0] = 10 * value[0] + text.at[0] - c"0"
        text.at += 1
        if text.at - at > digits_max:
            return False
    if text.at == at:
        value[0] = -1
    return True


cdef inline bint read_hundredths(Text *text, long long *value) noexcept:
    r"""Read [0-9]{1,13}(?:\.[0-9]{1,9})? as hundredths; further decimals round half up."""
    cdef Bytes decimals
    if not read_number(text, 13, value) or value[0] < 0:
        return False
    value[0] *= 100
    if text.at == text.end or text.at[0] != c".":
        return True
    decimals = text.at + 1
    text.at = skip_digits(decimals, text.end, 9)
    if text.at == decimals:
        return False
    value[0] += 10 * (decimals[0] - c"0")
    if text.at - decimals > 1:
        value[0] += decimals[1] - c"0"
    if text.at - decimals > 2 and decimals[2] >= c"5":
        value[0] += 1
    return True


# --- fields -------------------------------------------------------------------------------------


cdef inline int find_key(const Keys *keys, const Text *word, int guess) noexcept:
    """The number of the key that the word begins with, or -1. The guess is tried first."""
    cdef Py_ssize_t size = word.end - word.at
    cdef int number = guess
    cdef int tries
    cdef const Key *key
    for tries in range(keys.count):
        if number >= keys.count:
            number = 0
        key = &keys.keys[number]
        if (
            key.size <= size
            and key.prefix[0] == word.at[0]
            and not memcmp(key.prefix, word.at, key.size)
        ):
            return number
        number += 1
    return -1


cdef inline int next_field(Text *text, const Keys *keys, int guess) noexcept:
    """Skip to the value of the next field with a known key, from the beginning of a word.

    Returns the number of the key, or -1 if there is none.
    """
    cdef int number
    while text.at < text.end:
        number = find_key(keys, text, guess)
        if number >= 0:
            text.at += keys.keys[number].size
            return number
        skip_word(text)
    return -1


cdef inline int previous_field(Text *text, const Keys *keys, int guess, Text *value) noexcept:
    """Read the last field with a known key, and end the text before it.

    Returns the number of the key, or -1 if there is none. The value ends at a blank or quote. A
    quote before it is skipped.
    """
    cdef Text word
    cdef Bytes space
    cdef int number
    while text.at < text.end:
        word.end = text.end
        space = <Bytes>memrchr(text.at, c" ", text.end - text.at)
        text.end = text.at if space == NULL else space
        word.at = text.at if space == NULL else space + 1
        number = find_key(keys, &word, guess)
        if number >= 0:
            word.at += keys.keys[number].size
            skip_prefix(&word, b'"', 1)
            value[0] = word
            value.end = word.at
            while value.end < word.end and not is_space(value.end[0]) and value.end[0] != c'"':
                value.end += 1
            return number
    return -1
