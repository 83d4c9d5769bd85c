"""`python -m fuzz`: search for inputs that break a target, guided by the code that they reach.

All targets share the time. Inputs that reach new code are kept in fuzz/corpus, reduced to as few
and as small ones as reach the same code; `git diff` shows them. An input that breaks a target is
left in fuzz/found.

    python -m fuzz TARGET …                 only these targets
    python -m fuzz --input FILE TARGET      only this input; needs no atheris
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

FINDINGS = CORPUS.parent / "found"
CORPUS_BYTES_MAX = 20_000  # per target
INPUT_BYTES_MAX = 2_048
OUTPUT_CHARACTERS_MAX = 2_000  # printed of a failed run
LIMITS = (
    f"-max_len={INPUT_BYTES_MAX}",
    "-timeout=20",  # seconds for one input
    "-rss_limit_mb=1024",
)


def main() -> int:
    """Run the command; returns 0 when no input broke a target."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=600, help="total run time (600)")
    parser.add_argument("--input", type=Path, help="run the target on this file only")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    if unknown := sorted({*targets} - {*TARGETS}):
        parser.error(f"unknown target: {', '.join(unknown)}. Choose from {', '.join(TARGETS)}.")
    if arguments.input:
        for target in targets:
            TARGETS[target](arguments.input.read_bytes())
        return 0
    failed_targets = [
        target_name
        for target_name in targets
        if not fuzz(target_name, arguments.seconds // len(targets))
    ]
    for path in sorted(FINDINGS.glob("*")):
        target = path.name.partition("-")[0]
        print(f"found: {path}\n  reproduce: python -m fuzz --input {path} {target}")
    return 1 if failed_targets else 0


def fuzz(target: str, seconds: int) -> bool:
    """Fuzz a target and keep inputs that reach new code; False when one broke the target."""
    FINDINGS.mkdir(exist_ok=True)
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="dynometer-") as directory:
        new_inputs, merged_inputs = Path(directory, "new"), Path(directory, "small")
        new_inputs.mkdir()
        merged_inputs.mkdir()
        arguments = (
            f"-max_total_time={seconds}",
            f"-artifact_prefix={FINDINGS / target}-",
            "-print_final_stats=1",
        )
        code, output = _run_libfuzzer(target, *arguments, str(new_inputs), str(corpus))
        match = re.search(r"number_of_executed_units: ([0-9]+)", output)
        print(f"{target}: {match[1] if match else 'no'} inputs in {seconds} s", flush=True)
        if not code:
            directories = (str(merged_inputs), str(corpus), str(new_inputs))
            code, output = _run_libfuzzer(target, "-merge=1", *directories)
        if code:
            print(output[-OUTPUT_CHARACTERS_MAX:], flush=True)
            return False
        _replace_corpus(merged_inputs, corpus)
    return True


def _run_libfuzzer(target: str, *arguments: str) -> tuple[int, str]:
    """Run libFuzzer on a target; returns (exit code, output)."""
    process = subprocess.run(
        [sys.executable, "-m", "fuzz.single_target", target, *LIMITS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return process.returncode, process.stdout.decode(errors="replace")


def _replace_corpus(inputs: Path, corpus: Path) -> None:
    """Replace the corpus of a target by these inputs, smallest first, up to CORPUS_BYTES_MAX."""
    shutil.rmtree(corpus)
    corpus.mkdir()
    size = 0
    for path in sorted(inputs.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        size += path.stat().st_size
        if size > CORPUS_BYTES_MAX:
            return
        shutil.copy(path, corpus)


if __name__ == "__main__":
    raise SystemExit(main())
