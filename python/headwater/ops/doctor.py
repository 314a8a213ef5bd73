"""`headwater doctor`: what is wrong with this deployment, and what mends it."""

from __future__ import annotations

import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from headwater import clock, ids, limits
from headwater.config import Config
from headwater.console import bot_list
from headwater.edge import list_files
from headwater.errors import HeadwaterError
from headwater.journal import redis_server
from headwater.ledger import firings, matching, outbox, rewriting
from headwater.ledger.engine import open_ledger

# An edge holds two descriptors a connection at worst, and a few dozen of its own.
DESCRIPTORS_LEAST = 4096
DISK_FREE_LEAST = 2 * limits.GIB
# The clock of this machine and of the log may differ by this before times are clamped.
CLOCK_SKEW_MS = 1000
# A pixel whose breaker is open may be overdue by its pause; more means that nobody sends.
OVERDUE_MS = 2 * limits.BREAKER_OPEN_MS_MAX


class Finding(NamedTuple):
    part: str
    ok: bool
    seen: str
    mend: str = ""


def run_doctor(settings: Config) -> int:
    """Print every finding; 0 when none is a fault."""
    table = Table("part", "state", "seen", "what mends it")
    faults = 0
    for finding in findings(settings):
        faults += not finding.ok
        state = "[green]ok[/green]" if finding.ok else "[red]fault[/red]"
        table.add_row(finding.part, state, finding.seen, finding.mend)
    Console().print(table)
    return 1 if faults else 0


def findings(settings: Config) -> Iterator[Finding]:
    checks: tuple[Callable[[Config], Iterator[Finding]], ...] = (
        _folder,
        _redis,
        _ledger,
        _ports,
        _machine,
        _sizing,
        _lists,
        _pixels,
        _erasures,
    )
    for check in checks:
        yield from check(settings)


def _folder(settings: Config) -> Iterator[Finding]:
    data = settings.data.absolute()
    if not data.is_dir():
        yield Finding("data folder", False, f"{data} is not there", "start once: headwater up")
        return
    for name in ("admin.key", "identity.key"):
        path = data / name
        if not path.exists():
            yield Finding(name, False, "missing", "start the system once: headwater up")
        elif path.stat().st_mode & 0o077:
            yield Finding(name, False, "others can read it", f"chmod 600 {path}")
        else:
            yield Finding(name, True, "present, private")
    free = shutil.disk_usage(data).free
    yield Finding(
        "disk",
        free >= DISK_FREE_LEAST,
        f"{free / limits.GIB:.1f} GiB free",
        "" if free >= DISK_FREE_LEAST else "free some, or move the data folder (--data)",
    )
    spool = sum(file.stat().st_size for file in _files(data / "spool"))
    yield Finding(
        "spool",
        spool < settings.spool_bytes_max,
        f"{spool / limits.MIB:.1f} MiB of frames not known to be committed",
        "" if spool < settings.spool_bytes_max else "start the matcher; see its log",
    )


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file())


def _redis(settings: Config) -> Iterator[Finding]:
    faults = redis_server.settings_faults(settings.effective_redis_url)
    if not faults:
        yield Finding("redis", True, "durable settings, no eviction")
    for fault, mend in faults:
        yield Finding("redis", False, fault, mend)


def _ledger(settings: Config) -> Iterator[Finding]:
    if not settings.ledger_url and not (settings.data / "ledger.sqlite").exists():
        yield Finding("ledger", False, "not made yet", "start the system once: headwater up")
        return
    try:
        ledger = open_ledger(settings.effective_ledger_url)
        rows = matching.partition_rows(ledger)
        aside = [row for row in outbox.not_committed(ledger) if not row.is_sound]
        ledger.close()
    except HeadwaterError as error:
        yield Finding("ledger", False, str(error), "see the error; restore from a backup")
        return
    yield Finding("ledger", True, f"schema current, {len(rows)} partitions")
    for change in aside:
        seen = f"{change.object} {change.number} cannot be read, and is not in force"
        yield Finding(f"change {change.revision}", False, seen, "make the change again by the API")
    now_ms = clock.now_ms()
    for row in rows:
        owned = row.lease_until_ms > now_ms
        yield Finding(
            f"partition {row.partition}",
            owned,
            f"epoch {row.epoch}, owner {row.owner or 'none'}",
            "" if owned else "no matcher holds it: start one",
        )
    newest_ms = max((row.time_ms for row in rows), default=0)
    ahead = newest_ms - now_ms
    yield Finding(
        "clock",
        ahead <= CLOCK_SKEW_MS,
        f"the log's time is {ahead} ms ahead of this machine's"
        if ahead > 0
        else f"the log's time is {-ahead} ms behind this machine's",
        "" if ahead <= CLOCK_SKEW_MS else "set the clocks of Redis' host and this one (NTP)",
    )


def _pixels(settings: Config) -> Iterator[Finding]:
    """How partner pixels get out: what waits, what is disabled, what they may reach."""
    reach = "public addresses by https"
    if settings.egress_http:
        reach += " and http"
    if settings.egress_allow:
        reach += f", and {', '.join(settings.egress_allow)}"
    yield Finding("partner pixels", True, f"may reach {reach}")
    if not settings.ledger_url and not (settings.data / "ledger.sqlite").exists():
        return
    try:
        ledger = open_ledger(settings.effective_ledger_url)
        waiting, overdue_ms = firings.backlog(ledger, clock.now_ms())
        disabled = firings.disabled_pixels(ledger)
        ledger.close()
    except HeadwaterError:
        # The ledger's own check says it.
        return
    yield Finding(
        "courier",
        overdue_ms < OVERDUE_MS,
        f"{waiting} firings wait, the oldest overdue by {overdue_ms // 1000} s",
        "" if overdue_ms < OVERDUE_MS else "start the courier; see its log",
    )
    for pixel, code in disabled:
        why = "its server answered 410" if code == "gone" else "it failed for days"
        name = ids.object_text("pxl", pixel)
        yield Finding(name, False, f"disabled: {why}", "ask the partner, then enable it")


def _erasures(settings: Config) -> Iterator[Finding]:
    """Which erasures are not yet carried into what was written before them."""
    if not settings.ledger_url and not (settings.data / "ledger.sqlite").exists():
        return
    try:
        ledger = open_ledger(settings.effective_ledger_url)
        waiting = rewriting.waiting_erasures(ledger)
        ledger.close()
    except HeadwaterError:
        # The ledger's own check says it.
        return
    if not waiting:
        yield Finding("erasures", True, "all carried into archive and ledger")
        return
    age_ms = max(0, clock.now_ms() - min(each.created_ms for each in waiting))
    is_late = age_ms > limits.ERASURE_LATE_MS
    yield Finding(
        "erasures",
        not is_late,
        f"{len(waiting)} wait to be carried into archive and ledger, the oldest "
        f"{age_ms // limits.DAY_MS} days old",
        "run: headwater rewrite --now; see its log" if is_late else "",
    )


def _ports(settings: Config) -> Iterator[Finding]:
    for part, host, port in (
        ("public listener", settings.host, settings.port),
        ("console listener", settings.console_host, settings.console_port),
    ):
        try:
            socket.create_connection((host, port), timeout=1).close()
            yield Finding(part, True, f"answers on {host}:{port}")
        except OSError as error:
            yield Finding(part, False, f"{host}:{port}: {error}", "start the system: headwater up")


def _machine(_settings: Config) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding(
        "open files",
        soft >= DESCRIPTORS_LEAST,
        f"{soft} of {hard} allowed",
        "" if soft >= DESCRIPTORS_LEAST else f"ulimit -n {DESCRIPTORS_LEAST}",
    )


def _sizing(settings: Config) -> Iterator[Finding]:
    yield Finding(
        "sizing",
        True,
        f"{settings.edges} edges, {settings.partitions} partitions, Redis at most "
        f"{settings.redis_maxmemory_bytes / limits.MIB:.0f} MiB, spool at most "
        f"{settings.spool_bytes_max / limits.GIB:.1f} GiB an edge",
    )


def _lists(settings: Config) -> Iterator[Finding]:
    """Each list, read as an edge reads it."""
    yield _bot_list(settings)
    absent = []
    for name, paths in settings.lists.items():
        if not paths and name != list_files.DISPOSABLE:
            absent.append(name)
            continue
        files = ", ".join(map(str, paths))
        part = f"list {name}"
        try:
            found = list_files.load(name, paths)
        except list_files.ListRefused as refused:
            yield Finding(part, False, f"{files}: {refused}", "restore the file, or fetch it anew")
            continue
        source = f"{files}, changed {_age(found.modified_ms)} ago"
        if not paths:
            source = f"package {list_files.PACKAGE} {list_files.package_version()}"
        bad = f", {found.bad_lines} bad lines" if found.bad_lines else ""
        mend = f"mend it from {found.first_bad} on" if found.bad_lines else ""
        seen = f"{source}: {found.entries} entries{bad}, version {found.version}"
        # A bad line is told and passed over: the list is in force without it.
        yield Finding(part, True, seen, mend)
    if absent:
        seen = f"none of {', '.join(absent)}: what they would tell is not evaluated"
        yield Finding("lists", True, seen)


def _bot_list(settings: Config) -> Finding:
    """The list of crawlers' user agents, read as the console reads it."""
    part, paths = "list bots", settings.lists_bots
    try:
        bots = bot_list.made(bot_list.read(paths))
        source = f"package {bot_list.PACKAGE} {version(bot_list.PACKAGE)}"
        if paths:
            changed_ms = max(int(path.stat().st_mtime * 1000) for path in paths)
            source = f"{', '.join(map(str, paths))}, changed {_age(changed_ms)} ago"
    except (HeadwaterError, OSError, ValueError, KeyError) as error:
        return Finding(part, False, str(error)[:200], "restore the file, or fetch it anew")
    count = sum(map(len, bots.chunks))
    return Finding(part, True, f"{source}: {count} patterns, version {bots.version}")


def _age(modified_ms: int) -> str:
    hours = max(0, clock.now_ms() - modified_ms) // 3_600_000
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
