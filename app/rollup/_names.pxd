# What app/rollup/_names.pyx holds, in C: so that the modules beside it reach it without Python's help.

cimport cython

@cython.final
cdef class Name:
    cdef readonly str text
    cdef bytes encoded
    cdef const unsigned char *raw  # of encoded
    cdef Py_ssize_t size
    cdef str process_type
    cdef bint is_dyno
    cdef str source  # of a dyno that is logged so; None when Heroku gives no such name

cdef Name name_at(const unsigned char *raw, Py_ssize_t size)
cdef Name name_of(str text)
