"""rsyslog and syslog-ng as Debian packs them, fed the same frames over one TCP connection: they
keep counters by status, or write every line to a file.
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

from bench.cpu import cpu_s, family

ROOT = Path(__file__).parents[1]
UNPACKED = ROOT / ".servers" / "usr"
WITHIN_S = 300
_POLL_S = 0.2
_STATS_S = 1.5  # rsyslog writes its counters every second


class Found(NamedTuple):
    """What a peer spent on the lines, and what it says of them; no statuses where it keeps none."""

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
    """Where a peer is. What Debian has and this machine has not is unpacked beside the code."""
    installed = shutil.which(name)
    if installed:
        return Path(installed)
    for place in ("sbin", "bin"):
        if (UNPACKED / place / name).exists():
            return UNPACKED / place / name
    print(f"{name} is not installed: unpacking Debian's {package} into .servers", flush=True)
    done = subprocess.run([ROOT / "deploy/apt-unpack", ".servers", package], cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"please install it: apt-get install {package}")
    return program(name, package)


def rsyslog(rules: str, directory: Path, frames: bytes, lines: int) -> Found:
    """Feed a new rsyslogd."""
    port = _free_port()
    text = RSYSLOG.format(directory=directory, port=port, rules=rules)
    (directory / "conf").write_text(text.replace("{directory}", str(directory)))
    command: list[str | Path] = [program("rsyslogd", "rsyslog"), "-n", "-f", directory / "conf"]
    command += ["-i", directory / "pid"]
    to_file = "omfile" in rules
    kept = (lambda: _file_lines(directory / "lines")) if to_file else (lambda: _taken(directory))
    with _running(command, port, directory) as pid:
        spent_s = _feed(pid, port, frames, kept, lines)
        time.sleep(0 if to_file else _STATS_S)
    if to_file:
        return Found(spent_s, kept(), None)
    return Found(spent_s, kept(), _rsyslog_statuses(directory))


def syslog_ng(directory: Path, frames: bytes, lines: int) -> Found:
    """Feed a new syslog-ng."""
    port = _free_port()
    (directory / "conf").write_text(SYSLOG_NG.format(directory=directory, port=port))
    path = program("syslog-ng", "syslog-ng-core")
    library = UNPACKED / "lib" / "syslog-ng"
    unpacked = UNPACKED in path.parents
    command: list[str | Path] = [
        path,
        "-F",
        "-f",
        directory / "conf",
        "--persist-file",
        directory / "persist",
    ]
    command += ["--control", directory / "control", "--pidfile", directory / "pid"]
    command += ["--module-path", library / "3.38"] if unpacked else []
    environ = {"LD_LIBRARY_PATH": str(library)} if unpacked else {}
    kept = lambda: _file_lines(directory / "lines")  # noqa: E731
    with _running(command, port, directory, environ) as pid:
        return Found(_feed(pid, port, frames, kept, lines), kept(), None)


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


def _feed(pid: int, port: int, frames: bytes, kept: Callable[[], int], lines: int) -> float:
    """CPU seconds until it has kept them all, or nothing more comes."""
    processes = family(pid)
    before_s = cpu_s(processes)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(frames)
    deadline_s = time.monotonic() + WITHIN_S
    used_s = -1.0
    while (kept() < lines or used_s != cpu_s(processes)) and time.monotonic() < deadline_s:
        used_s = cpu_s(processes)
        time.sleep(_POLL_S)
        if kept() >= lines and cpu_s(processes) - used_s < 0.01:  # its own clockwork goes on
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


def _taken(directory: Path) -> int:
    found = re.findall(r'"name": "in\(.*?"submitted": (\d+)', _stats(directory))
    return int(found[-1]) if found else 0


def _rsyslog_statuses(directory: Path) -> Counter[str]:
    lines = [line for line in _stats(directory).splitlines() if '"dynstats.bucket"' in line]
    values = json.loads(lines[-1][lines[-1].index("{") :])["values"]
    return Counter({"" if name == "none" else name: count for name, count in values.items()})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
