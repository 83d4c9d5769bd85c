"""Bodies of simulated log lines in fixed shares, stamped with new times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import cycle, islice
from typing import TypeVar

from app.traffic.simulated_app import SimulatedApp
from app.traffic.simulated_lines import SimulatedLine, add_octet_count, timestamp

START_S = 1_795_341_600.0  # 2026-11-22T10:00:00Z
SHARES = {"router": 0.60, "runtime": 0.10, "app": 0.25, "other": 0.05}
_GATHER_S = 1_200
_SPREAD = 7  # coprime to the 100 lines of the pattern, so the classes are mixed evenly
_T = TypeVar("_T")


def simulated_lines(
    *, dynos: int, lines_per_s: float, seconds: float, seed: int = 1
) -> Iterator[SimulatedLine]:
    """The lines of one app over some seconds."""
    app = SimulatedApp("bench", dynos=dynos, lines_per_s=lines_per_s, seed=seed)
    for line in app.lines(START_S):
        if line.at_s >= START_S + seconds:
            return
        yield line


def class_of(frame: bytes) -> str:
    """router, runtime, app, or other (further lines of Heroku)."""
    _, _, _, _, app_name, procid, _ = frame.split(b" ", 6)
    if app_name == b"app":
        return "app"
    if procid == b"router":
        return "router"
    return "runtime" if b" sample#" in frame else "other"


@cache
def lines_by_class(dynos: int = 8) -> dict[str, list[SimulatedLine]]:
    """Lines of an app, without H31: there the baseline would trust text that the client wrote."""
    lines: dict[str, list[SimulatedLine]] = {name: [] for name in SHARES}
    for line in simulated_lines(dynos=dynos, lines_per_s=40, seconds=_GATHER_S):
        if line.code != "H31":
            lines[class_of(line.frame)].append(line)
    return lines


def frames_by_class() -> dict[str, list[bytes]]:
    """Frames of 8 dynos."""
    return {name: [line.frame for line in lines] for name, lines in lines_by_class().items()}


def in_shares(sources: Mapping[str, Sequence[_T]], shares: Mapping[str, float]) -> Iterator[_T]:
    """The items of the sources, repeated without end, mixed in these shares."""
    classes = [name for name, share in shares.items() for _ in range(round(share * 100))]
    pattern = [classes[index * _SPREAD % len(classes)] for index in range(len(classes))]
    cycles = {name: cycle(sources[name]) for name in shares}
    for name in cycle(pattern):
        yield next(cycles[name])


def bodies(
    frames: dict[str, list[bytes]],
    shares: dict[str, float],
    count: int,
    lines: int,
    rate: float = 200.0,
    start_s: float = START_S,
) -> list[bytes]:
    """Bodies of `lines` frames each, mixed in these shares; frames are stamped from `start_s` on,
    `rate` a second.
    """
    stamped_frames = [
        restamp(frame, start_s + index / rate)
        for index, frame in enumerate(islice(in_shares(frames, shares), count * lines))
    ]
    return joined(stamped_frames, lines)


def joined(frames: Sequence[bytes], lines: int) -> list[bytes]:
    """Bodies of `lines` frames each."""
    return [b"".join(frames[start : start + lines]) for start in range(0, len(frames), lines)]


def restamp(frame: bytes, at_s: float) -> bytes:
    """The same message at another time."""
    _, pri, _, rest = frame.split(b" ", 3)
    return add_octet_count(b" ".join((pri, timestamp(at_s).encode(), rest)))
