"""pyproject.toml says of which files each compiled module is made, so none stays stale."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT

CIMPORT = re.compile(r"^from (app\.[\w.]+) cimport", re.MULTILINE)
MODULES = {
    module["name"]: module
    for module in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "ext-modules"
    ]
}


def declarations_of(source: Path) -> set[str]:
    """The .pxd files that a module imports, and its own."""
    names = [name.replace(".", "/") + ".pxd" for name in CIMPORT.findall(source.read_text())]
    own = source.with_suffix(".pxd")
    return {*names, *([str(own.relative_to(ROOT))] if own.exists() else [])}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_a_module_is_compiled_again_if_a_declaration_changes(module: dict[str, Any]) -> None:
    [source] = module["sources"]
    assert declarations_of(ROOT / source) <= {*module.get("depends", [])}


def test_all_compiled_modules_are_listed() -> None:
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "app").rglob("*.pyx")}
    assert {source for module in MODULES.values() for source in module["sources"]} == sources
