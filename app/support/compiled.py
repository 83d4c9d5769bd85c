"""Which form of the busy paths runs: the compiled one of app.hot, or the interpreted one.

Both give the same, which app.ingest.aggregator, app.rollup.rollup and app.rollup.codec
define; the compiled one leaves to
those whatever is unusual. `COMPILED`: it was built, and DYNOMETER_PURE=1 does not forbid it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

PURE = "DYNOMETER_PURE"
_MODULES = (
    *("rollup._names", "rollup._rollup", "rollup._encoder", "rollup._decoder"),
    *("ingest._aggregator", "receivers._request_head"),
    *("query._stats", "query._table", "query._latest_gauges", "query._app_summary"),
)
COMPILED = os.environ.get(PURE) != "1" and all(find_spec(f"app.{name}") for name in _MODULES)
FORM = "compiled" if COMPILED else "interpreted"
