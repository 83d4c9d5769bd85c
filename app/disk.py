"""Whether what is written to a directory is there after the next start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_FIELD_MOUNT_POINT = 4
_LOSES_DATA = {"overlay": "in the container's own layer", "tmpfs": "in memory"}


def why_ephemeral(directory: Path, environ: Mapping[str, str], mounts: Path = MOUNTS) -> str:
    """Why data in `directory` is gone after a restart of the machine or container, in words that
    complete "It lies …"; "" when nothing says so.

    Known by DYNO in the environment, which Heroku sets, and by the kind of file system: see
    proc(5), /proc/pid/mountinfo.
    """
    if "DYNO" in environ:
        return "on a dyno's disk, which is new after each restart (Heroku restarts daily)"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:  # no Linux
        return ""
    return _LOSES_DATA.get(_file_system(directory.resolve(), lines), "")


def _file_system(path: Path, lines: list[str]) -> str:
    """The kind of the file system that holds `path`: that of the longest mount point over it."""
    found, kind = Path(), ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[_FIELD_MOUNT_POINT].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, after.split()[0]
    return kind
