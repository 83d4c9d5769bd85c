"""Dynometer beside others that Debian packs, fed the same lines on the same machine in the same
rounds: CPU seconds per million lines, and whether what they counted is right. `python -m
bench.peers`.

They do less. None knows a batch that it had before, or answers when a line is safe. rsyslog and
mtail count requests by status and nothing else; to a file, rsyslog and syslog-ng count nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.environment import printed_version
from bench.measure import median_ratio, table
from bench.results import keep
from bench.rounds import Load, Taken, take
from bench.sender import sent
from bench.syslog_peers import (
    RSYSLOG_FIELD,
    RSYSLOG_FILE,
    RSYSLOG_REGEX,
    Found,
    program,
    rsyslog,
    syslog_ng,
)
from bench.target import dynometer, floor
from bench.traffic import Sent, posts
from parsers.framing import split

LINES_PER_POST = 100
_MTAIL = """
counter lines_total
counter requests by status
/$/ {
  lines_total++
}
/ heroku router - .* status=(?P<status>[0-9]*) bytes=/ {
  requests[$status]++
}
"""


class Peer(NamedTuple):
    """Another program, and how it is fed: directory, frames, number of lines."""

    name: str
    does: str
    feed: Callable[[Path, bytes, int], Found]


def mtail(directory: Path, frames: bytes, lines: int) -> Found:
    """One run over a file of the lines."""
    (directory / "log").write_bytes(b"".join(f for f in split(frames) if isinstance(f, bytes)))
    (directory / "drain.mtail").write_text(_MTAIL)
    command: list[str | Path] = [
        program("mtail", "mtail"),
        "--one_shot",
        "--progs",
        directory / "drain.mtail",
    ]
    command += ["--logs", directory / "log"]
    with (directory / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    metrics = json.loads((directory / "out").read_text())
    statuses: Counter[str] = Counter()
    for each in metrics["requests"][0]["LabelValues"]:
        statuses["".join(each["Labels"])] += each["Value"]["Value"]
    counted = metrics["lines_total"][0]["LabelValues"][0]["Value"]["Value"]
    return Found(usage.ru_utime + usage.ru_stime, counted, statuses)


PEERS = (
    Peer("rsyslog to a file", "keeps the lines", partial(rsyslog, RSYSLOG_FILE)),
    Peer("rsyslog, first field", "requests by status", partial(rsyslog, RSYSLOG_FIELD)),
    Peer("rsyslog, last by regex", "requests by status", partial(rsyslog, RSYSLOG_REGEX)),
    Peer("syslog-ng to a file", "keeps the lines", syslog_ng),
    Peer("mtail from a file", "requests by status", mtail),
)


def wrong(found: Found, truth: Sent) -> tuple[int, int | None]:
    """How many lines are missing, and how many requests are booked under a wrong status."""
    if found.statuses is None:
        return truth.lines - found.lines, None
    missing = truth.statuses - found.statuses
    return truth.lines - found.lines, sum(missing.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--posts", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="write bench/results/")
    arguments = parser.parse_args()
    rows = measure(arguments.posts, arguments.rounds)
    print("\n### Peers (CPU seconds per million lines)\n")
    print(shown(rows))
    if arguments.keep:
        versions = {
            "rsyslog": printed_version(str(program("rsyslogd", "rsyslog")), "-v"),
            "mtail": printed_version(str(program("mtail", "mtail"))),
        }
        keep("peers", rows, {"rounds": arguments.rounds, "posts": arguments.posts, **versions})


def measure(count: int, rounds: int) -> list[dict[str, object]]:
    """A row for each, in turns; the first round warms up."""
    load = Load(count, LINES_PER_POST)
    taken = {"floor": Taken(), "dynometer": Taken()}
    spent: dict[str, list[float]] = {peer.name: [] for peer in PEERS}
    errors: dict[str, tuple[int, int | None]] = {}
    with (
        TemporaryDirectory(prefix="dynometer-") as directory,
        dynometer(Path(directory)) as service,
        floor() as nothing,
    ):
        for number in range(rounds + 1):
            for target in (nothing, service):
                take(load, target, taken[target.name] if number else None)
            corpus = posts(LINES_PER_POST, load.dynos)
            truth = sent(corpus, count)
            frames = b"".join(corpus[index % len(corpus)].body for index in range(count))
            for peer in PEERS:
                with TemporaryDirectory(prefix="dynometer-") as place:
                    found = peer.feed(Path(place), frames, truth.lines)
                errors[peer.name] = wrong(found, truth)
                if number:
                    spent[peer.name].append(1e6 * found.cpu_s / truth.lines)
    ours = taken["dynometer"].totals
    rows = [
        _row("floor", "throws bodies away", taken["floor"].totals, ours, (0, None)),
        _row("dynometer", "everything, once, kept", ours, ours, (0, 0)),
    ]
    rows += [
        _row(peer.name, peer.does, spent[peer.name], ours, errors[peer.name]) for peer in PEERS
    ]
    return rows


def _row(
    name: str, does: str, spent: list[float], ours: list[float], errors: tuple[int, int | None]
) -> dict[str, object]:
    return {
        "name": name,
        "does": does,
        "cpu_s": round(median(spent), 2),
        "ratio": round(median_ratio(ours, spent), 2),
        "lines_missing": errors[0],
        "statuses_wrong": errors[1],
        "rounds": [round(each, 3) for each in spent],
    }


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """As a table."""
    head = (
        *("", "what it does", "CPU s", "Dynometer's is so many times that"),
        *("lines missing", "requests under a wrong status"),
    )
    cells = []
    for each in rows:
        statuses = each["statuses_wrong"]
        cells.append(
            (
                *(each["name"], each["does"], f"{each['cpu_s']:.2f}", f"{each['ratio']:.2f}"),
                *(f"{each['lines_missing']:,}", "" if statuses is None else f"{statuses:,}"),
            )
        )
    return table(head, cells)


if __name__ == "__main__":
    main()
