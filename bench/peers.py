"""Comparison with other tools, as Debian packages them: `python -m bench.peers`.

All get the same lines on the same machine in the same rounds. Measures CPU seconds per million
lines and counting errors.

The others do less. None recognizes a batch that it already received, or reports when a line is
safe. rsyslog and mtail count requests by status and nothing else; when they write to a file,
rsyslog and syslog-ng count nothing.
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
from bench.results import save
from bench.rounds import BUSY_CONNECTIONS, Costs, Load, run_round
from bench.sender import sent_totals
from bench.syslog_peers import (
    RSYSLOG_FIELD,
    RSYSLOG_FILE,
    RSYSLOG_REGEX,
    PeerResult,
    program,
    rsyslog,
    syslog_ng,
)
from bench.target import dynometer, floor
from bench.traffic import Totals, posts
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
    """Another tool. `feed` takes a directory, frames, and the number of lines."""

    name: str
    does: str
    feed: Callable[[Path, bytes, int], PeerResult]


def mtail(directory: Path, frames: bytes, lines: int) -> PeerResult:
    """Run mtail once over a file of the lines."""
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
    for label_value in metrics["requests"][0]["LabelValues"]:
        statuses["".join(label_value["Labels"])] += label_value["Value"]["Value"]
    lines_counted = metrics["lines_total"][0]["LabelValues"][0]["Value"]["Value"]
    return PeerResult(usage.ru_utime + usage.ru_stime, lines_counted, statuses)


PEERS = (
    Peer("rsyslog to a file", "writes the lines", partial(rsyslog, RSYSLOG_FILE)),
    Peer("rsyslog, first field", "requests by status", partial(rsyslog, RSYSLOG_FIELD)),
    Peer("rsyslog, last by regex", "requests by status", partial(rsyslog, RSYSLOG_REGEX)),
    Peer("syslog-ng to a file", "writes the lines", syslog_ng),
    Peer("mtail from a file", "requests by status", mtail),
)


def count_errors(result: PeerResult, truth: Totals) -> tuple[int, int | None]:
    """(lines missing, requests counted under a wrong status or None)."""
    if result.statuses is None:
        return truth.lines - result.lines, None
    missing_statuses = truth.statuses - result.statuses
    return truth.lines - result.lines, sum(missing_statuses.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--posts", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="save to bench/results/")
    arguments = parser.parse_args()
    rows = measure(arguments.posts, arguments.rounds)
    print("\n### Comparison with other tools (CPU seconds per million lines)\n")
    print(format_table(rows))
    if arguments.keep:
        versions = {
            "rsyslog": printed_version(str(program("rsyslogd", "rsyslog")), "-v"),
            "mtail": printed_version(str(program("mtail", "mtail"))),
        }
        save("peers", rows, {"rounds": arguments.rounds, "posts": arguments.posts, **versions})


def measure(count: int, rounds: int) -> list[dict[str, object]]:
    """A row for each tool, in alternating rounds; the first one warms up."""
    load = Load(count, LINES_PER_POST, connections=BUSY_CONNECTIONS)
    costs = {"floor": Costs(), "dynometer": Costs()}
    peer_cpu_s: dict[str, list[float]] = {peer.name: [] for peer in PEERS}
    errors: dict[str, tuple[int, int | None]] = {}
    with (
        TemporaryDirectory(prefix="dynometer-") as directory,
        dynometer(Path(directory)) as service,
        floor() as floor_target,
    ):
        for number in range(rounds + 1):
            for target in (floor_target, service):
                run_round(load, target, costs[target.name] if number else None)
            corpus = posts(LINES_PER_POST, load.dynos)
            truth = sent_totals(corpus, count)
            frames = b"".join(corpus[index % len(corpus)].body for index in range(count))
            for peer in PEERS:
                with TemporaryDirectory(prefix="dynometer-") as peer_directory:
                    result = peer.feed(Path(peer_directory), frames, truth.lines)
                errors[peer.name] = count_errors(result, truth)
                if number:
                    peer_cpu_s[peer.name].append(1e6 * result.cpu_s / truth.lines)
    own_cpu_s = costs["dynometer"].totals
    rows = [
        _row("floor", "discards bodies", costs["floor"].totals, own_cpu_s, (0, None)),
        _row("dynometer", "counts everything once, and stores it", own_cpu_s, own_cpu_s, (0, 0)),
    ]
    rows += [
        _row(peer.name, peer.does, peer_cpu_s[peer.name], own_cpu_s, errors[peer.name])
        for peer in PEERS
    ]
    return rows


def _row(
    name: str, does: str, cpu_s: list[float], own_cpu_s: list[float], errors: tuple[int, int | None]
) -> dict[str, object]:
    return {
        "name": name,
        "does": does,
        "cpu_s": round(median(cpu_s), 2),
        "ratio": round(median_ratio(own_cpu_s, cpu_s), 2),
        "lines_missing": errors[0],
        "statuses_wrong": errors[1],
        "rounds": [round(seconds, 3) for seconds in cpu_s],
    }


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table."""
    head = (
        *("tool", "work", "CPU s", "Dynometer's CPU relative to it"),
        *("lines missing", "requests under a wrong status"),
    )
    cells = []
    for row in rows:
        statuses = row["statuses_wrong"]
        cells.append(
            (
                *(row["name"], row["does"], f"{row['cpu_s']:.2f}", f"{row['ratio']:.2f}"),
                *(f"{row['lines_missing']:,}", "" if statuses is None else f"{statuses:,}"),
            )
        )
    return table(head, cells)


if __name__ == "__main__":
    main()
