"""The code's own form: sizes, names, English, and nothing that should not be named."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.readability import (
    ROOT,
    classes,
    docstrings,
    functions,
    is_no_noun,
    layers,
    long_sentences,
    modules_per_folder,
    pages,
    persons,
    sentences,
    sources,
    tracked,
    variables,
)

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
FOLDER_MODULES_MAX = 25
LAYERS_MAX = 14
SUBJECT_LENGTH_MAX = 72
REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "registry" + ".npmjs", "deb" + ".debian")

FILES = tracked("*.py")
OURS = [path for path in FILES if path.relative_to(ROOT).parts[0] not in ("tests", "deploy")]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", OURS, ids=name)
def test_a_file_can_be_read_in_a_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


def test_no_folder_holds_more_modules_than_one_takes_in() -> None:
    folder, modules = modules_per_folder().most_common(1)[0]
    assert modules <= FOLDER_MODULES_MAX, folder
    assert len(layers()) <= LAYERS_MAX


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_function_is_seen_at_a_glance_and_imports_nothing(path: Path) -> None:
    for function in functions(path):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < FUNCTION_LINES_MAX, function.name
        for node in ast.walk(function):
            assert not isinstance(node, ast.Import | ast.ImportFrom), function.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_module_says_what_it_is_and_a_package_holds_no_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if path.name == "__init__.py" and "tests" in path.parts:
        assert not tree.body
    else:
        assert ast.get_docstring(tree)
        assert path.name != "__init__.py" or len(tree.body) == 1


@pytest.mark.parametrize("path", sources(), ids=name)
def test_a_docstring_stands_alone(path: Path) -> None:
    """An override inherits its docstring, so none has to say "See X"."""
    for line, text in docstrings(path):
        assert not text.startswith("See "), f"{path}:{line}"


def test_variables_are_named_by_nouns() -> None:
    bound = [name for path in sources() for _, name in variables(path)]
    assert sum(map(is_no_noun, bound)) < len(bound) / 100


def test_no_class_name_is_used_twice() -> None:
    assert [name for name, count in classes().items() if count > 1] == []


def test_docstrings_name_things_instead_of_persons() -> None:
    assert persons(sources()) < 3


def test_sentences_in_docs_are_short() -> None:
    long = [text for page in pages() for text in long_sentences(page)]
    assert len(long) < sum(len(list(sentences(page))) for page in pages()) / 50, long


def test_a_commit_names_its_area_and_is_short() -> None:
    listed = subprocess.run(
        ["git", "log", "--no-merges", "--max-count=10", "--format=%s"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for subject in listed.stdout.splitlines():
        assert re.match(r"[a-z0-9_./-]+: \S", subject), subject
        assert len(subject) <= SUBJECT_LENGTH_MAX, subject


def test_every_folder_of_tests_is_a_package() -> None:
    for path in FILES:
        if "tests" in path.parts:
            assert (path.parent / "__init__.py").exists()


def test_tests_mirror_what_they_test() -> None:
    """A folder of tests stands beside each package; a file may test one side of a module."""
    for path in FILES:
        inside = path.relative_to(ROOT).parts
        if inside[0] == "tests" and inside[1] in ("app", "parsers"):
            assert (ROOT / Path(*inside[1:-1])).is_dir(), path


def test_no_registry_and_no_machine_is_named() -> None:
    for path in tracked("*"):
        if path.suffix in (".png", ".ico"):
            continue
        text = path.read_text(errors="replace")
        assert not any(host in text for host in REGISTRIES), path
        assert not re.search(r"(?<![\w.])/(?:work|root|home/\w+)/", text), path
