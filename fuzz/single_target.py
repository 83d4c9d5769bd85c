"""`python -m fuzz.single_target TARGET …`: one target under atheris. The rest goes to libFuzzer."""

from __future__ import annotations

import sys
from importlib import import_module

import atheris

if __name__ == "__main__":
    target = sys.argv[1]
    with atheris.instrument_imports(include=["app", "parsers"]):
        targets = import_module("fuzz.targets").TARGETS
    program = f"{sys.executable} -m fuzz.single_target {target}"  # libFuzzer runs it to merge
    atheris.Setup([program, *sys.argv[2:]], targets[target])
    atheris.Fuzz()
