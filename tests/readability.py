"""Measures how easily this code is entered and read: `make measures` prints the table.

The rules that must hold are tests in test_tidy.py; what is only worth knowing is printed here. A
figure is meant to tell a reader something, not to be gamed.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SENTENCE_WORDS_MAX = 30

# Words that are no names: pronouns, quantifiers, prepositions and participles say nothing of what
# a variable holds.
PRONOUNS = frozenset(
    [
        "each",
        "some",
        "others",
        "other",
        "these",
        "those",
        "such",
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "whoever",
        "nobody",
        "somebody",
        "it",
        "both",
        "ours",
        "theirs",
        "mine",
        "another",
        "everything",
        "something",
        "of",
        "apart",
        "away",
        "beside",
        "besides",
    ]
)
PARTICIPLES = frozenset(
    [
        "found",
        "told",
        "said",
        "known",
        "seen",
        "kept",
        "asked",
        "given",
        "taken",
        "left",
        "meant",
        "wanted",
        "named",
        "made",
        "shown",
        "heard",
        "drawn",
        "brought",
        "lost",
        "sent",
        "held",
        "whole",
        "done",
        "gone",
        "put",
        "written",
        "waiting",
        "missing",
        "begun",
        "sought",
    ]
)
_NO_PARTICIPLE = frozenset(["seed", "speed", "feed", "need", "red", "embed", "shed"])
_PERSONS = re.compile(r"\b(?:what|who|whoever|nobody|whose)\b", re.IGNORECASE)


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository, those that are not committed yet among them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted({ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()})


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text())


def sources() -> list[Path]:
    """The Python files of the product."""
    return tracked("app/*.py", "parsers/*.py")


def modules_per_folder() -> Counter[str]:
    """How many modules each folder holds, packages and compiled ones not counted."""
    return Counter(
        str(path.parent.relative_to(ROOT)) for path in sources() if path.name != "__init__.py"
    )


def layers() -> list[str]:
    """The lines of the contract that says which way imports run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    found: list[str] = next(c["layers"] for c in contracts if c["name"] == "Imports run one way")
    return found


def variables(path: Path) -> Iterator[tuple[int, str]]:
    """Every name that a file binds: variables, parameters, attributes of self, fields."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def is_no_noun(name: str) -> bool:
    """Whether a name is a pronoun, a preposition or a participle, standing alone."""
    word = name.strip("_")
    if word in PRONOUNS or word in PARTICIPLES:
        return True
    return bool(re.fullmatch(r"[a-z]{2,}ed", word)) and word not in _NO_PARTICIPLE


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Every docstring of a file, with its line."""
    for node in ast.walk(tree(path)):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def words(text: str) -> list[str]:
    """The words of a text; code between backticks counts as one."""
    return re.findall(r"[\w'’`./-]*\w[\w'’`./-]*", re.sub(r"`[^`]*`", "code", text))


def persons(paths: list[Path]) -> float:
    """How often docstrings say what, who, whoever, nobody or whose, in 1,000 words."""
    texts = [text for path in paths for _, text in docstrings(path)]
    found = sum(len(_PERSONS.findall(text)) for text in texts)
    return 1_000 * found / max(1, sum(len(words(text)) for text in texts))


def prose(page: Path) -> Iterator[str]:
    """Paragraphs, list items and table cells of a Markdown page, without code blocks."""
    text = re.sub(r"```.*?```", "\n\n", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->|<[^>]+>", " ", text, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^#.*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:[-*]|\d+\.)\s", "\n\n", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.lstrip().startswith("|"):
            yield from (cell for row in paragraph.splitlines() for cell in row.split("|"))
        else:
            yield " ".join(paragraph.split())


def sentences(page: Path) -> Iterator[str]:
    """The sentences of a page; a colon or semicolon does not end one."""
    for paragraph in prose(page):
        plain = re.sub(r"`[^`]*`", "code", paragraph)
        yield from (
            part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9*\"“(`])", plain) if words(part)
        )


def pages() -> list[Path]:
    """The pages that people read, without the list of changes."""
    return tracked("*.md", "docs/*.md", "bench/README.md", "fuzz/README.md")


def long_sentences(page: Path) -> list[str]:
    """Those with more words than a reader takes in at once."""
    return [text for text in sentences(page) if len(words(text)) > SENTENCE_WORDS_MAX]


def classes() -> Counter[str]:
    """How many classes have each name."""
    return Counter(
        node.name
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    )


def comment_lines(path: Path) -> int:
    """Lines that hold nothing but a comment."""
    return sum(
        token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    )


def private_functions_used_once() -> float:
    """The share of private functions with a single mention beside their definition."""
    private = once = 0
    for path in sources():
        text = path.read_text()
        for function in functions(path):
            if function.name.startswith("_") and not function.name.startswith("__"):
                private += 1
                once += len(re.findall(rf"\b{function.name}\b", text)) == 2
    return once / private


def import_depth() -> int:
    """The longest chain of imports between modules of the product."""
    modules = {str(path.relative_to(ROOT))[:-3].replace("/", "."): path for path in sources()}

    def imports(name: str) -> set[str]:
        targets: set[str] = set()
        for node in ast.walk(tree(modules[name])):
            if isinstance(node, ast.ImportFrom) and node.module:
                targets |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
        return targets & modules.keys() - {name}

    @cache
    def depth(name: str) -> int:
        return 1 + max((depth(target) for target in imports(name)), default=0)

    return max(map(depth, modules))


def print_offences(prefix: str) -> None:
    """Print each name and docstring line below a folder that the table counts."""
    for path in tracked("*.py"):
        name = str(path.relative_to(ROOT))
        if not name.startswith(prefix):
            continue
        for line, variable in sorted(set(variables(path))):
            if is_no_noun(variable):
                print(f"{name}:{line}: name {variable}")
        for line, text in docstrings(path):
            if _PERSONS.search(text) or text.startswith("See "):
                print(f"{name}:{line}: docstring {text.splitlines()[0]}")


def main() -> None:
    """Print the table, or the offences below each folder given."""
    if sys.argv[1:]:
        for prefix in sys.argv[1:]:
            print_offences(prefix)
        return
    names = [name for path in sources() for _, name in variables(path)]
    folder, modules = modules_per_folder().most_common(1)[0]
    counts = [(len(list(sentences(page))), len(long_sentences(page))) for page in pages()]
    lines = sum(len(path.read_text().splitlines()) for path in sources())
    comments = sum(map(comment_lines, sources()))
    twice = [name for name, count in classes().items() if count > 1]
    long_share = sum(long for _, long in counts) / sum(count for count, _ in counts)
    rows = (
        ("modules in the fullest folder", f"{modules} ({folder})", "≤ 25"),
        ("layer lines", f"{len(layers())}", "≤ 14"),
        ("names that are no nouns", f"{sum(map(is_no_noun, names)) / len(names):.1%}", "< 1 %"),
        ("what/who/… in 1,000 docstring words", f"{persons(sources()):.1f}", "< 3"),
        (f"sentences over {SENTENCE_WORDS_MAX} words in docs", f"{long_share:.1%}", "< 2 %"),
        ("class names used twice or more", f"{len(twice)} {' '.join(twice)}", "0"),
        ("comment lines in 1,000", f"{1_000 * comments / lines:.0f}", ""),
        ("private functions used once", f"{private_functions_used_once():.0%}", ""),
        ("import depth", f"{import_depth()}", ""),
    )
    for name, value, goal in rows:
        print(f"{name:40} {value:30} {goal}")


if __name__ == "__main__":
    main()
