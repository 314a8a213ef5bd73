"""House style as tests: what a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
LINE_CHARACTERS_MAX = 100
LEFT_OVER = re.compile(
    r"\b(TODO|FIXME|XXX|HACK)\b|\bbreakpoint\(|\bdbg!\(|todo!\(|unimplemented!\("
)
FOREIGN = re.compile(r"/work/|files\.python|pypi\.o|static\.cr[a]tes|index\.cr[a]tes|registry\.npm")


def tracked(*suffixes: str) -> list[Path]:
    """Files of the repository, tracked or new, by the ends of their names."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        ROOT / name
        for name in sorted(set(listed))
        if name.endswith(suffixes) and (ROOT / name).is_file()
    ]


def python_files() -> list[Path]:
    return tracked(".py")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", tracked(".py", ".rs", ".js", ".sh"), ids=named)
def test_a_module_is_one_room(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MODULE_LINES_MAX


def hand_written() -> list[Path]:
    """Without migrations: each is one list of steps, frozen once released."""
    return [path for path in python_files() if "migrations" not in path.parts]


@pytest.mark.parametrize("path", hand_written(), ids=named)
def test_a_python_function_fits_a_screen(path: Path) -> None:
    too_long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not too_long


def rust_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and line count of each function, by the indentation rustfmt gives its closing brace."""
    opened: tuple[str, str, int] | None = None
    for number, line in enumerate(text.splitlines()):
        start = re.match(r"(\s*)(?:pub(?:\([^)]*\))? )?(?:const )?fn (\w+)", line)
        if start and opened is None and not line.rstrip().endswith((";", "}")):
            opened = (start[1], start[2], number)
        elif opened and line.rstrip() == opened[0] + "}":
            yield opened[1], number - opened[2] + 1
            opened = None


@pytest.mark.parametrize("path", tracked(".rs"), ids=named)
def test_a_rust_function_fits_a_screen(path: Path) -> None:
    too_long = [
        f"{name} has {lines} lines"
        for name, lines in rust_functions(path.read_text("utf-8"))
        if lines > FUNCTION_LINES_MAX
    ]
    assert not too_long


@pytest.mark.parametrize("path", tracked(".py", ".rs", ".toml", "Makefile"), ids=named)
def test_lines_are_at_most_100_characters(path: Path) -> None:
    if path.name.endswith(".lock"):
        return
    long = [
        number
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > LINE_CHARACTERS_MAX
    ]
    assert not long


@pytest.mark.parametrize("path", tracked(".py", ".rs", ".md", ".toml", "Makefile"), ids=named)
def test_nothing_is_left_over(path: Path) -> None:
    if path == Path(__file__):
        return
    text = path.read_text("utf-8")
    assert not LEFT_OVER.search(text)
    assert not FOREIGN.search(text), "a path of one machine or the address of a registry"


@pytest.mark.parametrize("path", sorted((ROOT / "python" / "headwater").rglob("*.py")), ids=named)
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring
    assert docstring != "Placeholder."


def test_no_generated_or_large_file_is_tracked() -> None:
    odd = [
        named(path)
        for path in tracked("")
        if path.suffix in {".so", ".pyc", ".whl", ".sqlite", ".db"}
        or path.stat().st_size > 256 * 1024
    ]
    assert not odd


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert text.startswith("# Changelog")
    assert "## [Unreleased]" in text
    sections = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_reason_code_in_the_code_is_in_the_table() -> None:
    from headwater.model.reasons import REASONS

    raised: set[str] = set()
    for path in (ROOT / "python" / "headwater").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            position = {"RequestRefused": 0, "FieldFault": 1}.get(node.func.id)
            if position is None or len(node.args) <= position:
                continue
            argument = node.args[position]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                raised.add(argument.value)
    assert raised <= REASONS.keys()
    assert raised, "the search found nothing: it looks for the wrong names"
