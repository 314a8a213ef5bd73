"""Files of lists: read whole, judged line by line, refused when nothing in them is of use."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import disposable_email_domains
import maxminddb

from headwater import clock, limits
from headwater.edge.crawlers import CrawlerRow, Crawlers
from headwater.edge.ranges import Range, Ranges, parse_range

COUNTRY: Final = "country"
CRAWLERS: Final = "crawlers"
DISPOSABLE: Final = "disposable_email"
PACKAGE: Final = "disposable-email-domains"

_COMMENT = re.compile(r"[#;]")
_DOMAIN = re.compile(r"(?=.{4,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+", re.ASCII)
_DIGEST_BYTES = 16
_VERSION_BYTES = 6
# Shorter names would be found in the user agents of people.
_AGENT_CHARACTERS_MIN = 4
# After this many lines other threads get a turn: a request waits a millisecond at most for it.
_STEP_LINES = 100
_PAUSE_S = 0.0002

Row = TypeVar("Row")


class ListRefused(Exception):
    """A list cannot be used; the text says why."""


class LoadedList(NamedTuple):
    """A list as it was read."""

    name: str
    content: Any
    """Ranges, Crawlers, a database of countries, or domains."""
    entries: int
    """What was read of it: ranges, domains, or nodes of a database."""
    bad_lines: int
    first_bad: str
    """Where the first bad line is; "" when there is none."""
    modified_ms: int
    """When the oldest of its files was changed last; 0: it came with a package."""
    digest: bytes

    @property
    def version(self) -> str:
        """Short enough to be read out."""
        return self.digest[:_VERSION_BYTES].hex()


class _Lines:
    """Lines of one list, over all of its files, with the bad ones counted."""

    def __init__(self, files: Sequence[tuple[Path, bytes]]) -> None:
        self._files = files
        self.bad = 0
        self.first_bad = ""
        self.good = 0

    def rows(self, read: Callable[[str], Row | None]) -> Iterator[Row]:
        """What `read` makes of each line but blank ones and comments; None is a bad line.

        The first line of a CSV file may be its header.
        """
        for path, raw in self._files:
            lines = io.TextIOWrapper(io.BytesIO(raw), "utf-8-sig", "replace")
            is_first = True
            for number, whole in enumerate(lines, 1):
                if number % _STEP_LINES == 0:
                    clock.sleep(_PAUSE_S)
                line = whole.strip()
                if not line or line[0] in "#;":
                    continue
                row = read(line)
                if row is not None:
                    self._count()
                    yield row
                elif not (is_first and "," in line):
                    self.bad += 1
                    self.first_bad = self.first_bad or f"{path.name} line {number}"
                is_first = False

    def _count(self) -> None:
        self.good += 1
        if self.good > limits.LIST_ENTRIES_MAX:
            raise ListRefused(f"more than {limits.LIST_ENTRIES_MAX} entries")


def signature(paths: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    """What changes when a file is changed or replaced. Raises OSError when one is missing."""
    stats = [os.stat(path) for path in paths]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


def load(name: str, paths: Sequence[Path]) -> LoadedList:
    """The list in these files; without files, of disposable mail, the package's.

    Raises ListRefused when a file cannot be read or holds no good line.
    """
    if name == DISPOSABLE and not paths:
        return _packaged()
    files, modified_ms = _read(paths)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for _path, raw in files:
        digest.update(raw)
    if name == COUNTRY:
        database = _database(files[0][1])
        nodes = database.metadata().node_count
        return LoadedList(name, database, nodes, 0, "", modified_ms, digest.digest())
    read, make = _LAYOUTS.get(name, (_range, Ranges))
    lines = _Lines(files)
    content = make(lines.rows(read))
    if not lines.good:
        raise ListRefused(f"no good line, {lines.bad} bad ones")
    return LoadedList(
        name, content, lines.good, lines.bad, lines.first_bad, modified_ms, digest.digest()
    )


def _packaged() -> LoadedList:
    found = frozenset(disposable_email_domains.blocklist)
    digest = hashlib.blake2b("\n".join(sorted(found)).encode(), digest_size=_DIGEST_BYTES)
    return LoadedList(DISPOSABLE, found, len(found), 0, "", 0, digest.digest())


def package_version() -> str:
    """Of the package with the built-in list of disposable mail services."""
    return metadata.version(PACKAGE)


def _read(paths: Sequence[Path]) -> tuple[list[tuple[Path, bytes]], int]:
    files = []
    oldest_ms = 0
    for path in paths:
        try:
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                raw = file.read(limits.LIST_BYTES_MAX + 1)
        except OSError as error:
            raise ListRefused(f"{path}: {error.strerror or 'cannot be read'}") from None
        if len(raw) > limits.LIST_BYTES_MAX:
            raise ListRefused(f"{path}: larger than {limits.LIST_BYTES_MAX // limits.MIB} MiB")
        modified_ms = stat.st_mtime_ns // 1_000_000
        oldest_ms = min(oldest_ms or modified_ms, modified_ms)
        files.append((path, raw))
    return files, oldest_ms


def _database(raw: bytes) -> maxminddb.Reader:
    """A MaxMind database, mapped from a copy in memory: a file that is written over while it is
    mapped ends the process.
    """
    descriptor = os.memfd_create("country")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(raw)
        return maxminddb.open_database(f"/proc/self/fd/{descriptor}")
    except (maxminddb.InvalidDatabaseError, ValueError, OSError):
        raise ListRefused("not a MaxMind database") from None
    finally:
        os.close(descriptor)


def _range(line: str) -> Range | None:
    """The range of a line: alone, or in a column; first and last may stand in two columns."""
    if "," not in line and '"' not in line:
        return parse_range(_COMMENT.split(line, maxsplit=1)[0].strip())
    cells = _cells(line)
    for at, cell in enumerate(cells):
        found = parse_range(cell)
        if found is None:
            continue
        if found[1] == found[2] and "/" not in cell and at + 1 < len(cells):
            return parse_range(f"{cell}-{cells[at + 1]}") or found
        return found
    return None


def _crawler(line: str) -> CrawlerRow | None:
    """name, range, domain, address of a page, names in user agents by commas."""
    cells = _cells(line)
    if len(cells) < 5:
        return None
    found = parse_range(cells[1])
    agents = tuple(agent.strip() for agent in cells[4].split(",") if agent.strip())
    if found is None or not agents or min(map(len, agents)) < _AGENT_CHARACTERS_MIN:
        return None
    return CrawlerRow(cells[0], found, agents)


def _cells(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]))]
    except (csv.Error, StopIteration):
        return []


def _domain(line: str) -> str | None:
    domain = _COMMENT.split(line, maxsplit=1)[0].strip().lower().rstrip(".")
    return domain if _DOMAIN.fullmatch(domain) else None


_LAYOUTS: Final[dict[str, tuple[Callable[[str], Any], Callable[[Iterator[Any]], Any]]]] = {
    CRAWLERS: (_crawler, Crawlers),
    DISPOSABLE: (_domain, frozenset),
}
