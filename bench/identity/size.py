"""How large a peer is that lives in the process: measured in a process that holds nothing else.

    python -m bench.identity.size NAME WORKLOAD

The growth of a process that has already made and freed much else says little: what was freed is
used again. So the workload is handed on in a file, as arrays.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench.identity.peer import Peer, Size, resident_bytes
from bench.identity.workload import Workload

IN_PROCESS = ("engine", "dict", "rustworkx")


_MODULES = {
    "engine": ("engine_peer", "EnginePeer"),
    "dict": ("dict_peer", "DictPeer"),
    "rustworkx": ("rustworkx_peer", "RustworkxPeer"),
    "sqlite": ("sqlite_peer", "SqlitePeer"),
    "redis": ("redis_peer", "RedisPeer"),
}


def make(name: str) -> Peer:
    """A peer by its short name; what it needs is imported only then."""
    module, kind = _MODULES[name]
    made: Peer = getattr(import_module(f"bench.identity.{module}"), kind)()
    return made


def alone(name: str, workload: Workload) -> Size:
    """The size of a peer with this workload, by the growth of a process of its own."""
    with tempfile.TemporaryDirectory(prefix="hw-bench-") as folder:
        path = Path(folder) / "workload"
        path.write_bytes(pickle.dumps(workload))
        command = [sys.executable, "-m", "bench.identity.size", name, str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    links, clicks = map(int, done.stdout.split())
    return Size(links, clicks)


def main() -> None:
    name, path = sys.argv[1:]
    workload: Workload = pickle.loads(Path(path).read_bytes())
    peer = make(name)
    grown = [resident_bytes()]
    for step in (peer.load_links, peer.load_clicks):
        step(workload)
        grown.append(resident_bytes())
    print(grown[1] - grown[0], grown[2] - grown[1])


if __name__ == "__main__":
    main()
