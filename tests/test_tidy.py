"""The code's own form: small functions and files, no imports inside functions, nothing that should
not be named.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "registry" + ".npmjs", "deb" + ".debian")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


SOURCES = [path for path in tracked() if path.suffix == ".py"]
OURS = [path for path in SOURCES if path.relative_to(ROOT).parts[0] not in ("tests", "deploy")]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", OURS, ids=name)
def test_a_file_can_be_read_in_a_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_function_is_seen_at_a_glance_and_imports_nothing(path: Path) -> None:
    for function in functions(path):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < FUNCTION_LINES_MAX, function.name
        for node in ast.walk(function):
            assert not isinstance(node, ast.Import | ast.ImportFrom), function.name


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_says_what_it_is_and_a_package_holds_no_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if path.name == "__init__.py" and "tests" in path.parts:
        assert not tree.body
    else:
        assert ast.get_docstring(tree)
        assert path.name != "__init__.py" or len(tree.body) == 1


def test_every_folder_of_tests_is_a_package() -> None:
    for path in SOURCES:
        if "tests" in path.parts:
            assert (path.parent / "__init__.py").exists()


def test_tests_mirror_what_they_test() -> None:
    for path in SOURCES:
        inside = path.relative_to(ROOT).parts
        if inside[0] == "tests" and inside[1] in ("app", "parsers") and len(inside) == 3:
            tested = ROOT / inside[1] / inside[2].removeprefix("test_")
            assert tested.exists() or path.name == "__init__.py", path


def test_no_registry_and_no_machine_is_named() -> None:
    for path in tracked():
        if path.suffix in (".png", ".ico"):
            continue
        text = path.read_text(errors="replace")
        assert not any(host in text for host in REGISTRIES), path
        assert not re.search(r"(?<![\w.])/(?:work|root|home/\w+)/", text), path
