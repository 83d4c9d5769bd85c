# The C interface of app/rollup/_names.pyx, so that other extension modules call it without Python.

cimport cython

@cython.final
cdef class Name:
    cdef readonly str text
    cdef bytes encoded
    cdef const unsigned char *raw  # of encoded
    cdef Py_ssize_t size
    cdef str process_type
    cdef bint is_dyno
    cdef str source  # of a dyno that the log names so; None if Heroku names no dyno so

cdef inline unsigned int hash_of(const unsigned char *at, Py_ssize_t size) noexcept:
    """FNV-1a, 32 bits."""
    cdef unsigned int value = 2166136261
    cdef Py_ssize_t position
    for position in range(size):
        value = (value ^ at[position]) * 16777619
    return value

cdef Name name_at(const unsigned char *raw, Py_ssize_t size)
cdef Name name_of(str text)
