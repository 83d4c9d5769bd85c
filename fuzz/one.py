"""`python -m fuzz.one TARGET …`: one target under atheris; what follows is for libFuzzer."""

from __future__ import annotations

import sys
from importlib import import_module

import atheris

if __name__ == "__main__":
    target = sys.argv[1]
    with atheris.instrument_imports(include=["app", "parsers"]):
        targets = import_module("fuzz.targets").TARGETS
    again = f"{sys.executable} -m fuzz.one {target}"  # libFuzzer starts itself by it to merge
    atheris.Setup([again, *sys.argv[2:]], targets[target])
    atheris.Fuzz()
