"""Runs the command `dynometer` in a process of its own that does not import its modules again.

Importing takes most of the time of a short command. So a server, one for each process of pytest,
imports the modules of all commands once, and forks a child for each command. The child has its own
streams, environment and working directory, and exits as the command does.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

from app.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
ORDER_BYTES_MAX = 200_000
COMMAND_S = 50  # a command that takes longer is killed


def run_forked(
    arguments: Sequence[str], *, stdin: bytes, environ: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run a command until it exits; a negative exit code is the signal that ended it.

    Raises:
        TimeoutExpired: the command took longer than COMMAND_S.
    """
    order = json.dumps([list(arguments), dict(environ), str(directory)]).encode()
    (stdin_end, input_end), *outputs = [os.pipe() for _ in range(4)]  # the last: the exit code
    command_ends = [stdin_end, *(writing_end for _, writing_end in outputs)]
    socket.send_fds(_server(), [order], command_ends)
    for descriptor in command_ends:
        os.close(descriptor)
    with ThreadPoolExecutor(4) as pool:
        pool.submit(_write_all, input_end, stdin)
        stdout, stderr, code = pool.map(_read_all, [reading_end for reading_end, _ in outputs])
    if int(code) == -signal.SIGALRM:
        raise subprocess.TimeoutExpired(list(arguments), COMMAND_S, stdout, stderr)
    return subprocess.CompletedProcess(list(arguments), int(code), stdout, stderr)


def _write_all(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(data)


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


@cache
def _server() -> socket.socket:
    """The connection to the server of this process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends it by ending its client
        )

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours


def _serve(orders: socket.socket) -> int:
    """Fork a child for each order. Returns the exit code of a command in its process, and 0 in the
    server once all clients are gone.
    """
    for command in COMMANDS:
        importlib.import_module(command.module)
    importlib.import_module("app.config")
    gc.collect()
    gc.freeze()  # a child would copy the memory that its collector visits
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, ORDER_BYTES_MAX, 4)
        if not order:
            return 0
        if os.fork() == 0:
            orders.close()
            return _watch(order, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(order: bytes, descriptors: list[int]) -> int:
    """Run the command in a child and report its exit code, also if a signal ends it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, report = descriptors
    child = os.fork()
    if child == 0:
        os.close(report)
        return _run(order, streams)
    for descriptor in streams:
        os.close(descriptor)
    _, status = os.waitpid(child, 0)
    os.write(report, b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _run(order: bytes, streams: list[int]) -> int:
    arguments, environ, directory = json.loads(order)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(directory)
    time.tzset()  # of the new environment
    random.seed()
    signal.alarm(COMMAND_S)
    return main(arguments)


if __name__ == "__main__":
    sys.exit(_serve(socket.socket(fileno=int(sys.argv[1]))))
