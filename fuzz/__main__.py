"""`python -m fuzz`: look for inputs that break a target, guided by the code they reach.

The time is shared by all targets. What reaches something new is kept in fuzz/corpus, as few and
small inputs as reach it all; `git diff` shows them. An input that breaks a target stays in
fuzz/found.

    python -m fuzz TARGET …                 only these
    python -m fuzz --input FILE TARGET      this input alone; needs no atheris
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.targets import CORPUS, TARGETS

FOUND = CORPUS.parent / "found"
KEPT_BYTES_MAX = 20_000  # of one target
INPUT_BYTES_MAX = 2_048
SAID_MAX = 2_000  # of the output of a run that failed, characters
LIMITS = (
    f"-max_len={INPUT_BYTES_MAX}",
    "-timeout=20",  # seconds for one input
    "-rss_limit_mb=1024",
)


def main() -> int:
    """The command: 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=600, help="in total (600)")
    parser.add_argument("--input", type=Path, help="give the target this file, nothing else")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    if unknown := sorted({*targets} - {*TARGETS}):
        parser.error(f"{', '.join(unknown)}: no target; there are {', '.join(TARGETS)}")
    if arguments.input:
        for target in targets:
            TARGETS[target](arguments.input.read_bytes())
        return 0
    broken = [each for each in targets if not fuzz(each, arguments.seconds // len(targets))]
    for path in sorted(FOUND.glob("*")):
        target = path.name.partition("-")[0]
        print(f"found: {path}\n  again: python -m fuzz --input {path} {target}")
    return 1 if broken else 0


def fuzz(target: str, seconds: int) -> bool:
    """Look for inputs for so long, and keep what is new; False when one broke the target."""
    FOUND.mkdir(exist_ok=True)
    kept = CORPUS / target
    kept.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="dynometer-") as directory:
        new, small = Path(directory, "new"), Path(directory, "small")
        new.mkdir()
        small.mkdir()
        arguments = (
            f"-max_total_time={seconds}",
            f"-artifact_prefix={FOUND / target}-",
            "-print_final_stats=1",
        )
        code, said = _run(target, *arguments, str(new), str(kept))
        executed = re.search(r"number_of_executed_units: ([0-9]+)", said)
        print(f"{target}: {executed[1] if executed else 'no'} inputs in {seconds} s", flush=True)
        if not code:
            code, said = _run(target, "-merge=1", str(small), str(kept), str(new))
        if code:
            print(said[-SAID_MAX:], flush=True)
            return False
        _keep(small, kept)
    return True


def _run(target: str, *arguments: str) -> tuple[int, str]:
    """(exit code, output) of libFuzzer."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.one", target, *LIMITS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def _keep(found: Path, kept: Path) -> None:
    """Replace what is kept by what was found, the smallest first."""
    shutil.rmtree(kept)
    kept.mkdir()
    size = 0
    for path in sorted(found.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        size += path.stat().st_size
        if size > KEPT_BYTES_MAX:
            return
        shutil.copy(path, kept)


if __name__ == "__main__":
    raise SystemExit(main())
