"""Selects the implementation of the hot paths: compiled extension modules or Python modules.

Both give the same results. app.ingest.aggregator, app.receivers.request_head, app.rollup and
app.query define the results in Python; the compiled modules leave uncommon input to them.
COMPILED is true if all extension modules are built and DYNOMETER_PURE is not 1.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

PURE = "DYNOMETER_PURE"
_MODULES = (
    *("rollup._names", "rollup._rollup", "rollup._encoder", "rollup._decoder"),
    *("ingest._aggregator", "receivers._request_head"),
    *("query._cells", "query._stats", "query._table"),
)
COMPILED = os.environ.get(PURE) != "1" and all(find_spec(f"app.{name}") for name in _MODULES)
FORM = "compiled" if COMPILED else "interpreted"
