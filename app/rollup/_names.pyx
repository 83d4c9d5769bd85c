# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A cache of parsed names. parsers.samples defines their process type and source.

The same dynos, process types, error codes and ledger names come in every batch.
"""

cimport cython

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memcmp

from parsers.samples import ParseError, labels_of, source_of

cdef enum:
    CACHE_SIZE = 2048
    CACHED_BYTES_MAX = 64

# Direct-mapped, by hash: NULL or a Name. A name evicts the one that had its place.
cdef PyObject *_cache[CACHE_SIZE]


@cython.final
cdef class Name:
    """A name, parsed both as that of a source and as that of a dyno."""

    def __cinit__(self, bytes encoded):
        cdef str dyno
        self.text = encoded.decode()
        self.encoded = encoded
        self.raw = encoded
        self.size = len(encoded)
        self.process_type, dyno = labels_of(self.text)
        self.is_dyno = dyno != ""
        try:
            self.source = source_of(encoded)
        except ParseError:
            self.source = None


cdef Name name_at(const unsigned char *raw, Py_ssize_t size):
    """Return the name that these bytes spell; None if they are not UTF-8."""
    cdef unsigned int place
    cdef Name name
    if size > CACHED_BYTES_MAX:
        return _new_name(raw[:size])
    place = hash_of(raw, size) % CACHE_SIZE
    if _cache[place] != NULL:
        name = <Name>_cache[place]
        if name.size == size and not memcmp(name.raw, raw, size):
            return name
    name = _new_name(raw[:size])
    if name is not None:
        Py_INCREF(name)
        Py_XDECREF(_cache[place])
        _cache[place] = <PyObject *>name
    return name


cdef Name _new_name(bytes encoded):
    try:
        return Name(encoded)
    except UnicodeDecodeError:
        return None


cdef Name name_of(str text):
    """Return the name with this text."""
    cdef Py_ssize_t size
    cdef const char *raw = PyUnicode_AsUTF8AndSize(text, &size)
    return name_at(<const unsigned char *>raw, size)
