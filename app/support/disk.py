"""Detects whether a directory survives a restart of the machine or container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_FIELD_MOUNT_POINT = 4
_EPHEMERAL_TYPES = {"overlay": "in the container's own layer", "tmpfs": "in memory"}


def why_ephemeral(directory: Path, environ: Mapping[str, str], mounts: Path = MOUNTS) -> str:
    """The reason why data in a directory is lost at a restart, to complete "It is …"; "" if none
    is known.

    The evidence is DYNO in the environment, which Heroku sets, and the type of the file system:
    proc(5), /proc/pid/mountinfo.
    """
    if "DYNO" in environ:
        return "on a dyno's disk, which is new after each restart (Heroku restarts daily)"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:  # not Linux
        return ""
    return _EPHEMERAL_TYPES.get(_file_system_type(directory.resolve(), lines), "")


def _file_system_type(path: Path, lines: list[str]) -> str:
    """The type of the file system with the longest mount point above `path`."""
    longest, kind = Path(), ""
    for line in lines:
        mount_fields, _, type_fields = line.partition(" - ")
        point = Path(mount_fields.split()[_FIELD_MOUNT_POINT].replace("\\040", " "))
        # >=: a later mount at the same point hides an earlier one
        if path.is_relative_to(point) and len(point.parts) >= len(longest.parts):
            longest, kind = point, type_fields.split()[0]
    return kind
