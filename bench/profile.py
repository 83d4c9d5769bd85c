"""Where a busy worker's CPU time goes: `python -m bench.profile`. One worker, POSTs of 100 lines
without pause, sampled from outside by py-spy, which sees compiled code and system calls, too; it
needs the right to trace processes.
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
from bench.results import keep
from bench.rounds import Load, take
from bench.target import dynometer

SHOWN_MIN = 0.015
_WARM_UP = 500  # POSTs
_SAMPLES_PER_S = 50  # for each the worker is stopped and its stack unwound: at 500 it never runs
_MAIN_THREAD = "run_until_complete"
# Of a stack the innermost frame that one of these describes says what the time is booked to.
ENTRIES = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("system: read from sockets", r"^(read|recvmsg|recv) \(libc"),
        ("system: write to sockets", r"^(write|writev|send) \(libc"),
        ("system: wait for sockets", r"^epoll_p?wait \(libc"),
        ("lines: read and added up", r"app/ingest/_(aggregator|line_forms)"),
        ("rollups: packed", r"app/rollup/_encoder"),
        ("rollups: read and merged", r"app/rollup/_(decoder|rollup|names)"),
        ("head and answer of a POST", r"app/(receivers|web|support/asgi)"),
        ("store: asked over its connection", r"app/storage/|hiredis|redis/"),
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
    parser.add_argument("--lines-per-post", type=int, default=100)
    parser.add_argument("--keep", action="store_true", help="write bench/results/")
    arguments = parser.parse_args()
    rows = sampled(Load(arguments.posts, arguments.lines_per_post, arguments.apps))
    print("\n### Where a busy worker's time goes\n")
    print(shown(rows))
    if arguments.keep:
        name = "profile" if arguments.apps == 1 else f"profile_{arguments.apps}_apps"
        keep(name, rows, {"rounds": 1, "posts": arguments.posts, "apps": arguments.apps})


def sampled(load: Load) -> list[dict[str, object]]:
    """A row for each entry, with its share, and of it what happens while folding."""
    with TemporaryDirectory(prefix="dynometer-") as place:
        file = Path(place) / "stacks"
        with dynometer(Path(place) / "data") as target:
            take(load._replace(posts=_WARM_UP), target, None)
            with _recorded(target.workers[0], file):
                take(load, target, None)
        found, folding = _booked(file.read_text().splitlines())
    every = found.total()
    return [
        {
            "entry": name,
            "share": round(found[name] / every, 4),
            "folding": round(folding[name] / every, 4),
        }
        for name, _ in found.most_common()
    ]


@contextmanager
def _recorded(pid: int, file: Path) -> Iterator[None]:
    spy = Path(sys.executable).with_name("py-spy")
    how = ("record", "--native", "--format", "raw", "--rate", str(_SAMPLES_PER_S))
    command = [spy, *how, "--output", file, "--pid", str(pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as recorder:
        time.sleep(2)  # until it has attached
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            _, said = recorder.communicate()
    if recorder.returncode:
        raise SystemExit(f"py-spy failed: {said.decode()}")


def _booked(stacks: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """Samples of the event loop's thread by entry; and those of them that belong to folding."""
    found: Counter[str] = Counter()
    folding: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if _MAIN_THREAD not in stack:
            continue
        entry = _entry(stack.split(";"))
        found[entry] += int(count)
        if "app/folding/fold_worker.py" in stack:
            folding[entry] += int(count)
    return found, folding


def _entry(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for name, pattern in ENTRIES:
            if pattern.search(frame):
                return name
    return "other"


def shown(rows: list[dict[str, object]]) -> str:
    """What is little is left out."""
    cells = [
        (
            str(each["entry"]),
            f"{float(str(each['share'])):.1%}",
            f"{float(str(each['folding'])):.1%}",
        )
        for each in rows
        if float(str(each["share"])) >= SHOWN_MIN
    ]
    return table(("what", "of the worker's CPU time", "of it while folding"), cells)


if __name__ == "__main__":
    main()
