"""The code of an earlier release, to run beside the present one.

It is an archive in tests/stored, because a checkout does not always have the history. It was made
by `git archive 46858f9 app parsers ':!*.pyx' ':!*.pxd' ':!app/web/vendor' | xz -9e`. Without its
compiled modules it runs interpreted.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.support.stored import STORED

OLDER_RELEASE = STORED / "older_worker" / "46858f9.tar.xz"


def unpack_release(archive: Path, directory: Path) -> Path:
    """Unpack the code of a release below a directory; returns the PYTHONPATH that runs it."""
    code = directory / archive.name.partition(".")[0]
    with tarfile.open(archive) as files:
        files.extractall(code, filter="data")
    return code
