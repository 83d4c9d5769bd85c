"""Where a busy worker's time goes: `python -m bench.profile`.

One worker receives POSTs of 100 lines without pause. py-spy samples it from outside, including
compiled code and system calls. It needs the right to trace processes.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import table
from bench.results import save
from bench.rounds import Load, run_round
from bench.target import dynometer

SHOWN_MIN = 0.015
_WARM_UP = 500  # POSTs
_SAMPLES_PER_S = 50  # each sample stops the worker to unwind its stack; at 500 it never runs
_MAIN_THREAD = "run_until_complete"
# A sample is attributed to the innermost frame that matches one of these.
ENTRIES = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("sockets: reading", r"^(read|recvmsg|recv) \(libc"),
        ("sockets: writing", r"^(write|writev|send) \(libc"),
        ("sockets: waiting", r"^epoll_p?wait \(libc"),
        ("lines: parsing and aggregation", r"app/ingest/_(aggregator|line_forms)"),
        ("rollups: packing", r"app/rollup/_encoder"),
        ("rollups: unpacking and merging", r"app/rollup/_(decoder|rollup|names)"),
        ("head and answer of a POST", r"app/(receivers|web|support/asgi)"),
        ("store: client and connection", r"app/storage/|hiredis|redis/"),
        ("group commit", r"app/(ingest|access)/|app/rollup/batch_codec"),
        ("folding", r"app/folding/"),
        ("other work of the service", r"app/|uvicorn/"),
        ("event loop", r"uvloop|asyncio|loop\.c|linux\.c|stream\.c|core\.c"),
    )
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--posts", type=int, default=200_000)
    parser.add_argument("--apps", type=int, default=1)
    parser.add_argument("--connections", type=int, help="one per app by default")
    parser.add_argument("--lines-per-post", type=int, default=100)
    parser.add_argument("--keep", action="store_true", help="save to bench/results/")
    arguments = parser.parse_args()
    connections = arguments.connections or arguments.apps
    lines = arguments.lines_per_post
    rows = measure(Load(arguments.posts, lines, arguments.apps, connections=connections))
    print("\n### Where a busy worker's time goes\n")
    print(format_table(rows))
    if arguments.keep:
        name = "profile" if arguments.apps == 1 else f"profile_{arguments.apps}_apps"
        save(name, rows, {"rounds": 1, "posts": arguments.posts, "apps": arguments.apps})


def measure(load: Load) -> list[dict[str, object]]:
    """A row for each entry: its share of the samples, and the part of it while folding."""
    with TemporaryDirectory(prefix="dynometer-") as directory:
        file = Path(directory) / "stacks"
        with dynometer(Path(directory) / "data") as target:
            run_round(load._replace(posts=_WARM_UP), target, None)
            with _recording(target.workers[0], file):
                run_round(load, target, None)
        samples, folding = _attribute(file.read_text().splitlines())
    total = samples.total()
    return [
        {
            "entry": name,
            "share": round(samples[name] / total, 4),
            "folding": round(folding[name] / total, 4),
        }
        for name, _ in samples.most_common()
    ]


@contextmanager
def _recording(pid: int, file: Path) -> Iterator[None]:
    spy = Path(sys.executable).with_name("py-spy")
    how = ("record", "--native", "--format", "raw", "--rate", str(_SAMPLES_PER_S))
    command = [spy, *how, "--output", file, "--pid", str(pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as recorder:
        time.sleep(2)  # until it has attached
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            _, stderr = recorder.communicate()
    if recorder.returncode:
        raise SystemExit(f"py-spy failed: {stderr.decode()}")


def _attribute(stacks: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """Samples of the event loop's thread by entry, and those of them while folding."""
    samples: Counter[str] = Counter()
    folding: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if _MAIN_THREAD not in stack:
            continue
        entry = _entry(stack.split(";"))
        samples[entry] += int(count)
        if "app/folding/fold_worker.py" in stack:
            folding[entry] += int(count)
    return samples, folding


def _entry(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for name, pattern in ENTRIES:
            if pattern.search(frame):
                return name
    return "other"


def format_table(rows: list[dict[str, object]]) -> str:
    """The rows as a table, without small shares."""
    cells = [
        (
            str(row["entry"]),
            f"{float(str(row['share'])):.1%}",
            f"{float(str(row['folding'])):.1%}",
        )
        for row in rows
        if float(str(row["share"])) >= SHOWN_MIN
    ]
    return table(("work", "share of the worker's CPU time", "of that while folding"), cells)


if __name__ == "__main__":
    main()
