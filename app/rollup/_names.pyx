# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Names of dyno, process type, error code or line of the ledger, which come again and again in every
batch: the last ones are kept, with what parsers.samples says about them.
"""

cimport cython

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memcmp

from app.ingest._line_forms cimport hash_of

from parsers.samples import ParseError, labels_of, source_of

cdef enum:
    KEPT = 2048
    KEPT_BYTES_MAX = 64

cdef PyObject *_kept[KEPT]  # by a hash; NULL, or a Name


@cython.final
cdef class Name:
    """A name, and what it says as that of a source or of a dyno."""

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
    """The name that is written there; None when that is no text."""
    cdef unsigned int place
    cdef Name found
    if size > KEPT_BYTES_MAX:
        return _new(raw[:size])
    place = hash_of(raw, size) % KEPT
    if _kept[place] != NULL:
        found = <Name>_kept[place]
        if found.size == size and not memcmp(found.raw, raw, size):
            return found
    found = _new(raw[:size])
    if found is not None:
        Py_INCREF(found)
        Py_XDECREF(_kept[place])
        _kept[place] = <PyObject *>found
    return found


cdef Name _new(bytes encoded):
    try:
        return Name(encoded)
    except UnicodeDecodeError:
        return None


cdef Name name_of(str text):
    """The name that reads so."""
    cdef Py_ssize_t size
    cdef const char *raw = PyUnicode_AsUTF8AndSize(text, &size)
    return name_at(<const unsigned char *>raw, size)
