"""Configuration: `headwater.toml`, then environment `HEADWATER_*`, then options; later wins.

Every fault is reported at once. Nothing here is read again after start.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from headwater import limits
from headwater.errors import ConfigError

FILE_NAME = "headwater.toml"
PREFIX = "HEADWATER_"
# Read by the fault tests inside the processes (see headwater.faults), not settings.
_NOT_SETTINGS = {"HEADWATER_FAULT", "HEADWATER_FAULT_PANIC", "HEADWATER_FAULT_SLOW"}


@dataclass(frozen=True, slots=True)
class Config:
    """What one deployment is told. Field names are the keys of the file, in upper case behind
    `HEADWATER_` those of the environment.
    """

    data: Path = field(default_factory=lambda: Path("headwater-data"))
    """Folder of keys, ledger, spool, archive, snapshots and the embedded server."""
    host: str = "127.0.0.1"
    port: int = 8080
    console_host: str = "127.0.0.1"
    console_port: int = 8081
    edges: int = field(default_factory=lambda: max(1, min(8, os.cpu_count() or 1)))
    """Edge processes sharing the public port."""
    partitions: int = 4
    """Lanes of the log; fixed at the first start."""
    redis_url: str = ""
    """Empty: the embedded server under the data folder."""
    ledger_url: str = ""
    """SQLAlchemy URL; empty: SQLite under the data folder."""
    allow_unsafe_redis: bool = False
    """Start on a server that would lose data: for a test bench, shown in /readyz."""
    redis_maxmemory_bytes: int = limits.REDIS_MAXMEMORY_BYTES
    """Memory bound of the embedded server."""
    public_url: str = ""
    """Scheme and host under which visitors reach the public listener, for links without a
    tracking domain; empty: its own address."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For and X-Forwarded-Proto count."""
    spool_bytes_max: int = limits.SPOOL_BYTES_MAX
    spool_age_max_ms: int = limits.SPOOL_AGE_MAX_MS
    accept_deadline_ms: int = limits.ACCEPT_DEADLINE_MS
    hot_lane: bool = True
    """Whether plain requests for links go past the HTTP library."""
    snapshot_every_ms: int = limits.SNAPSHOT_EVERY_MS
    lease_ms: int = limits.LEASE_MS
    log_level: str = "info"
    egress_allow: tuple[str, ...] = ()
    """Networks that partner pixels reach although they are not public: a brand's own servers."""
    egress_http: bool = False
    """Partner pixels may be http, not only https."""
    lists_datacentre_strict: tuple[Path, ...] = ()
    """Files of networks that cloud services publish. In the file, the section `lists`."""
    lists_datacentre_broad: tuple[Path, ...] = ()
    lists_vpn: tuple[Path, ...] = ()
    lists_tor: tuple[Path, ...] = ()
    lists_crawlers: tuple[Path, ...] = ()
    """Files of crawlers with the addresses their operators publish."""
    lists_country: tuple[Path, ...] = ()
    """One MaxMind database of countries."""
    lists_disposable_email: tuple[Path, ...] = ()
    """Files of disposable mail services; empty: those of the package."""
    lists_bots: tuple[Path, ...] = ()
    """Files of patterns of crawlers' user agents; empty: those of the package."""

    @property
    def lists(self) -> dict[str, tuple[Path, ...]]:
        """Files of the lists that edges look in, by name; no files: not configured."""
        return {name: getattr(self, _LISTS + name) for name in _EDGE_LISTS}

    @property
    def redis_socket(self) -> Path:
        """The embedded server's unix socket."""
        return self.data.absolute() / "redis" / "redis.sock"

    @property
    def effective_redis_url(self) -> str:
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def effective_ledger_url(self) -> str:
        return self.ledger_url or f"sqlite:///{self.data.absolute() / 'ledger.sqlite'}"


_LISTS = "lists_"
# The list of crawlers' user agents is the engine's: the console tells it.
_EDGE_LISTS = tuple(
    item.name.removeprefix(_LISTS)
    for item in fields(Config)
    if item.name.startswith(_LISTS) and item.name != "lists_bots"
)
_RANGES: dict[str, tuple[int, int]] = {
    "port": (0, 65_535),
    "console_port": (0, 65_535),
    "edges": (1, 64),
    "partitions": (1, 1024),
    "redis_maxmemory_bytes": (16 * limits.MIB, 1 << 50),
    "spool_bytes_max": (limits.MIB, 1 << 50),
    "spool_age_max_ms": (1000, limits.SPOOL_AGE_MAX_MS),
    "accept_deadline_ms": (1, 10_000),
    "snapshot_every_ms": (100, 86_400_000),
    "lease_ms": (500, 600_000),
}
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?", re.ASCII)
_CHOICES = {"log_level": ("debug", "info", "warning", "error")}


def load(
    options: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Config:
    """The configuration in force. `options` holds the command line's values, None = not given.

    Raises ConfigError with every unknown key, wrong type, wrong unit and value out of range.
    """
    environment = os.environ if environment is None else environment
    faults: list[str] = []
    values: dict[str, Any] = {}
    known = {item.name for item in fields(Config)}
    for source, mapping in (
        (FILE_NAME, _read_file(file or Path(FILE_NAME), faults)),
        ("environment", _read_environment(environment)),
        ("option", {key: value for key, value in options.items() if value is not None}),
    ):
        for key, value in mapping.items():
            if key not in known:
                faults.append(f"{source}: unknown key {key!r}")
                continue
            try:
                values[key] = _convert(key, value)
            except ValueError as error:
                faults.append(f"{source}: {key}: {error}")
    if faults:
        raise ConfigError(faults)
    return Config(**values)


def _read_file(path: Path, faults: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return _flat(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: {error}")
        return {}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """The section `lists` as keys of their own, which is what the environment calls them."""
    section = values.get("lists")
    if not isinstance(section, dict):
        return values
    rest = {key: value for key, value in values.items() if key != "lists"}
    return rest | {_LISTS + key: value for key, value in section.items()}


def _read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name[len(PREFIX) :].lower(): value
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX) and name not in _NOT_SETTINGS
    }


def _convert(key: str, value: Any) -> Any:
    default = getattr(Config(), key)
    if isinstance(default, bool):
        return _boolean(value)
    if isinstance(default, int):
        return _integer(key, value)
    if isinstance(default, Path):
        return Path(str(value))
    if key.startswith(_LISTS):
        return _files(key, value)
    if isinstance(default, tuple):
        return _networks(value)
    if not isinstance(value, str):
        raise ValueError(f"needs a text, got {value!r}")
    if key in _CHOICES and value not in _CHOICES[key]:
        raise ValueError(f"one of {', '.join(_CHOICES[key])}, got {value!r}")
    if key == "public_url" and value and not _PUBLIC_URL.fullmatch(value):
        raise ValueError(f"like https://track.example, without a path, got {value!r}")
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in {"1", "true", "yes"}:
        return True
    if str(value).lower() in {"0", "false", "no", ""}:
        return False
    raise ValueError(f"needs true or false, got {value!r}")


def _integer(key: str, value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.lstrip("-").isdecimal() or not text.isascii():
        raise ValueError(f"needs a whole number without a unit, got {value!r}")
    low, high = _RANGES[key]
    if not low <= int(text) <= high:
        raise ValueError(f"from {low} to {high}, got {text}")
    return int(text)


def _networks(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError(f"needs a list of networks, got {value!r}")
    return tuple(
        str(ipaddress.ip_network(str(part).strip())) for part in parts if str(part).strip()
    )


def _files(key: str, value: Any) -> tuple[Path, ...]:
    """Paths of a list, whole, as processes in other folders read them too."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"needs a path or a list of paths, got {value!r}")
    paths = tuple(Path(part.strip()).absolute() for part in parts if part.strip())
    if any("," in str(path) for path in paths):
        raise ValueError("a path of a list holds no comma")
    if key == "lists_country" and len(paths) > 1:
        raise ValueError("takes one file")
    return paths
