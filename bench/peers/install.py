"""What the peers are made of, from Debian's packages; without starting any of it as a service."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

MODULES = Path("/usr/lib/nginx/modules")
LUA_PACKAGES = Path("/usr/share/lua/5.1")
_TIMEOUT_S = 300.0


def _has_nginx() -> bool:
    return shutil.which("nginx") is not None


def _has_lua() -> bool:
    module = MODULES / "ngx_http_lua_module.so"
    return _has_nginx() and module.exists() and (LUA_PACKAGES / "nginx/redis.lua").exists()


def installed(is_there: Callable[[], bool], packages: list[str]) -> str:
    """Empty once it is there, from Debian's packages if need be; else why it cannot be."""
    if is_there():
        return ""
    if shutil.which("apt-get") is None:
        return "there is no apt-get here"
    # At this run level Debian's scripts start no service.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages],
    ):
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{' '.join(command[:2])}: {error}"
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
            return f"{' '.join(command[:2])}: {last}"
    return "" if is_there() else f"{', '.join(packages)} did not bring it"


def nginx() -> str:
    """Empty once nginx is installed; else why it cannot be."""
    return installed(_has_nginx, ["nginx"])


def nginx_lua() -> str:
    """Empty once nginx has Lua and Redis' client for it; else why it cannot."""
    return installed(_has_lua, ["nginx", "libnginx-mod-http-lua", "lua-nginx-redis"])
