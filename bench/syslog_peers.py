"""rsyslog and syslog-ng, as Debian packages them, fed with frames over one TCP connection.

They count requests by status, or write every line to a file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench.cpu import cpu_s, process_tree

ROOT = Path(__file__).parents[1]
UNPACKED = ROOT / ".servers" / "usr"
WITHIN_S = 300
_POLL_S = 0.2
_STATS_S = 1.5  # rsyslog writes its counters every second


class PeerResult(NamedTuple):
    """A tool's CPU time, and its counts; `statuses` is None if it does not count them."""

    cpu_s: float
    lines: int
    statuses: Counter[str] | None


RSYSLOG = """
global(workDirectory="{directory}" maxMessageSize="64k")
module(load="imptcp")
module(load="impstats" interval="1" format="json" resetCounters="off" log.syslog="off"
       log.file="{directory}/stats")
dyn_stats(name="status" resettable="off")
input(type="imptcp" address="127.0.0.1" port="{port}" ruleset="take" name="in")
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="take") {{ {rules} }}
action(type="omfile" file="{directory}/rest")  # of its own messages; it does not start without one
"""
RSYSLOG_FILE = 'action(type="omfile" file="{directory}/lines" template="raw")'
_RSYSLOG_COUNT = """
if $rawmsg contains " heroku router - " then {
    %s
    if $.status == "" then { set $.status = "none"; }
    set $.counted = dyn_inc("status", $.status);
}
"""
RSYSLOG_FIELD = _RSYSLOG_COUNT % (
    'set $.rest = field($rawmsg, " status=", 2); set $.status = field($.rest, 32, 1);'
)
RSYSLOG_REGEX = _RSYSLOG_COUNT % (
    'set $.status = re_extract($rawmsg, ".* status=([0-9]*) bytes=", 0, 1, "");'
)
SYSLOG_NG = """@version: 3.38
options {{ log-msg-size(65536); stats-freq(0); }};
source s_in {{
    syslog(transport("tcp") ip("127.0.0.1") port({port}) flags(no-parse) log-iw-size(10000));
}};
destination d_file {{ file("{directory}/lines" template("$MSG\\n")); }};
log {{ source(s_in); destination(d_file); flags(flow-control); }};
"""


def program(name: str, package: str) -> Path:
    """The path of a tool. A missing Debian package is unpacked into .servers."""
    path = shutil.which(name)
    if path:
        return Path(path)
    for place in ("sbin", "bin"):
        if (UNPACKED / place / name).exists():
            return UNPACKED / place / name
    print(f"{name} is not installed: unpacking Debian's {package} into .servers", flush=True)
    result = subprocess.run(
        [ROOT / "deploy/apt-unpack", ".servers", package], cwd=ROOT, check=False
    )
    if result.returncode:
        raise SystemExit(f"cannot unpack it. Install it: apt-get install {package}")
    return program(name, package)


def rsyslog(rules: str, directory: Path, frames: bytes, lines: int) -> PeerResult:
    """Feed a new rsyslogd with the frames."""
    port = _free_port()
    text = RSYSLOG.format(directory=directory, port=port, rules=rules)
    (directory / "conf").write_text(text.replace("{directory}", str(directory)))
    command: list[str | Path] = [program("rsyslogd", "rsyslog"), "-n", "-f", directory / "conf"]
    command += ["-i", directory / "pid"]
    to_file = "omfile" in rules
    count_lines = (
        (lambda: _file_lines(directory / "lines"))
        if to_file
        else (lambda: _submitted_lines(directory))
    )
    with _running(command, port, directory) as pid:
        spent_s = _feed(pid, port, frames, count_lines, lines)
        time.sleep(0 if to_file else _STATS_S)
    if to_file:
        return PeerResult(spent_s, count_lines(), None)
    return PeerResult(spent_s, count_lines(), _rsyslog_statuses(directory))


def syslog_ng(directory: Path, frames: bytes, lines: int) -> PeerResult:
    """Feed a new syslog-ng with the frames."""
    port = _free_port()
    (directory / "conf").write_text(SYSLOG_NG.format(directory=directory, port=port))
    path = program("syslog-ng", "syslog-ng-core")
    library = UNPACKED / "lib" / "syslog-ng"
    is_unpacked = UNPACKED in path.parents
    command: list[str | Path] = [
        path,
        "-F",
        "-f",
        directory / "conf",
        "--persist-file",
        directory / "persist",
    ]
    command += ["--control", directory / "control", "--pidfile", directory / "pid"]
    command += ["--module-path", library / "3.38"] if is_unpacked else []
    environ = {"LD_LIBRARY_PATH": str(library)} if is_unpacked else {}
    count_lines = lambda: _file_lines(directory / "lines")  # noqa: E731
    with _running(command, port, directory, environ) as pid:
        return PeerResult(_feed(pid, port, frames, count_lines, lines), count_lines(), None)


@contextmanager
def _running(
    command: list[str | Path], port: int, directory: Path, environ: Mapping[str, str] | None = None
) -> Iterator[int]:
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environ or {})},
        ) as process,
    ):
        try:
            while process.poll() is None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(_POLL_S)
            if process.poll() is not None:
                raise SystemExit((directory / "log").read_text())
            yield process.pid
        finally:
            process.terminate()


def _feed(pid: int, port: int, frames: bytes, count_lines: Callable[[], int], lines: int) -> float:
    """Send the frames; returns CPU seconds until all lines are counted or nothing changes."""
    processes = process_tree(pid)
    before_s = cpu_s(processes)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(frames)
    deadline_s = time.monotonic() + WITHIN_S
    used_s = -1.0
    while (count_lines() < lines or used_s != cpu_s(processes)) and time.monotonic() < deadline_s:
        used_s = cpu_s(processes)
        time.sleep(_POLL_S)
        if count_lines() >= lines and cpu_s(processes) - used_s < 0.01:  # its timers never stop
            break
    return cpu_s(processes) - before_s


def _file_lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(piece.count(b"\n<") for piece in iter(lambda: file.read(2**22), b"")) + 1


def _stats(directory: Path) -> str:
    path = directory / "stats"
    return path.read_text() if path.exists() else ""


def _submitted_lines(directory: Path) -> int:
    counts = re.findall(r'"name": "in\(.*?"submitted": (\d+)', _stats(directory))
    return int(counts[-1]) if counts else 0


def _rsyslog_statuses(directory: Path) -> Counter[str]:
    lines = [line for line in _stats(directory).splitlines() if '"dynstats.bucket"' in line]
    values = json.loads(lines[-1][lines[-1].index("{") :])["values"]
    return Counter({"" if name == "none" else name: count for name, count in values.items()})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
