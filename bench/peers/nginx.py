"""nginx with a folder of its own: the static pixel, and a few lines of Lua that record a click."""

from __future__ import annotations

import os
from pathlib import Path
from string import Template

from bench.peers.install import LUA_PACKAGES, MODULES

_CONFIG = Template("""\
$modules
$user
worker_processes 1;
daemon off;
pid $folder/nginx.pid;
error_log $folder/error.log warn;
events { worker_connections 8192; }
http {
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    $http
    keepalive_requests 100000000;
    tcp_nodelay on;
    server {
        listen 127.0.0.1:$port backlog=4096;
        location / { $location }
    }
}
""")
_MODULES = "\n".join(
    f"load_module {MODULES / name};" for name in ("ndk_http_module.so", "ngx_http_lua_module.so")
)
# The log as nginx is shipped, written in blocks: the usual advice for busy servers.
_LOG = "access_log $folder/access.log combined buffer=64k flush=5s;"
_LUA = Template("""
        content_by_lua_block {
            local redis = require "nginx.redis"
            local client = redis:new()
            client:set_timeout(5000)
            local ok = client:connect("unix:$socket")
            if not ok then return ngx.exit(503) end
            local var = ngx.var
            local id = client:xadd("clicks", "*", "path", var.request_uri,
                "X-Forwarded-For", var.http_x_forwarded_for or "",
                "User-Agent", var.http_user_agent or "", "Referer", var.http_referer or "",
                "Cookie", var.http_cookie or "")
            if not id then return ngx.exit(503) end
            client:set_keepalive(60000, 512)
            return ngx.redirect("https://shop.example/landing?click_id=" .. id, 302)
        }
""")


def _written(folder: Path, port: int, *, modules: str, http: str, location: str) -> list[str]:
    path = folder / "nginx.conf"
    path.write_text(
        _CONFIG.substitute(
            folder=folder,
            port=port,
            modules=modules,
            # The folder is of whoever runs the bench, and workers must reach into it.
            user="user root;" if os.geteuid() == 0 else "",
            http=http,
            location=location,
        )
    )
    return ["nginx", "-p", str(folder), "-c", str(path), "-e", str(folder / "error.log")]


def pixel(folder: Path, port: int) -> list[str]:
    """The command of a server that answers with a static pixel and writes a line of its log."""
    log = Template(_LOG).substitute(folder=folder)
    return _written(folder, port, modules="", http=log, location="empty_gif;")


def lua(folder: Path, port: int, socket: Path) -> list[str]:
    """The command of a server that puts each click on a stream of Redis, then redirects."""
    http = f'access_log off; lua_package_path "{LUA_PACKAGES}/?.lua;;";'
    location = _LUA.substitute(socket=socket)
    return _written(folder, port, modules=_MODULES, http=http, location=location)
