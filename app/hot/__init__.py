"""The busy paths once more, compiled: from lines to sums, and sums to bytes and back.

They give what app.ingest, app.rollup and app.packing give, which define it, and leave to those
whatever is unusual. `COMPILED`: they were built, and DYNOMETER_PURE=1 does not forbid them.
"""

import os
from importlib.util import find_spec

PURE = "DYNOMETER_PURE"
COMPILED = os.environ.get(PURE) != "1" and all(
    find_spec(f"app.hot.{name}") for name in ("sums", "writing", "reading", "lines")
)
FORM = "compiled" if COMPILED else "interpreted"
