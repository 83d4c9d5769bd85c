"""Records what a worker of an older version makes of rollups that the present version packs.

    python -m tests.stored.record_older_worker CHECKOUT

CHECKOUT is a checkout of commit 46858f9, the last version that knows no section but its own. It
writes older_worker/rollups.json, which test_older_worker.py reads.
"""

from __future__ import annotations

import json
import subprocess
import sys

from app.rollup.codec import pack
from tests.stored.test_older_worker import RECORD, newer_rollups

MERGE = """
import json, sys
from app.packing import pack, unpack

rollups = [bytes.fromhex(text) for text in json.load(sys.stdin)]

def merged(packed):
    sum = unpack(packed[0])
    for data in packed[1:]:
        sum.merge(unpack(data))
    return pack(sum)

totals = [pack(unpack(data).projection()) for data in rollups]
json.dump({"slot": merged(rollups).hex(), "total": merged(totals).hex()}, sys.stdout)
"""


def main() -> None:
    """Write the record."""
    inputs = [pack(rollup).hex() for rollup in newer_rollups()]
    result = subprocess.run(
        [sys.executable, "-c", MERGE],
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        check=True,
        cwd=sys.argv[1],
    )
    RECORD.write_text(json.dumps({"inputs": inputs, **json.loads(result.stdout)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
