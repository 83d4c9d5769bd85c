"""Which form of the busy paths runs: the compiled one of app.hot, or the interpreted one.

Both give the same, which app.ingest, app.rollup and app.packing define; the compiled one leaves to
those whatever is unusual. `COMPILED`: it was built, and DYNOMETER_PURE=1 does not forbid it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

PURE = "DYNOMETER_PURE"
_MODULES = (
    *("names", "sums", "writing", "reading", "lines", "heads"),
    *("cells", "tables", "latest", "glance"),
)
COMPILED = os.environ.get(PURE) != "1" and all(find_spec(f"app.hot.{name}") for name in _MODULES)
FORM = "compiled" if COMPILED else "interpreted"
