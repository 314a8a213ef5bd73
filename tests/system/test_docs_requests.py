"""Every request README.md and docs/ print works as printed against `headwater up`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs_tools import PAGES, requests
from system_tools import System

README = "README.md"
# What is refused ends the script: every printed request is one that is taken. On a busy machine
# edges have a change, and the console an event, later than the next line asks for it: it is asked
# again then, as a reader would.
PRELUDE = """
set -euo pipefail
curl() {
    command curl --fail-with-body --retry 30 --retry-delay 1 --retry-all-errors --max-time 60 "$@"
}
headwater() { "$PYTHON" -m headwater "$@"; }
"""


def script(system: System, page: str) -> str:
    """The page's requests in order, after those of the README that make what it speaks of."""
    commands = requests(README)
    if page != README:
        commands += requests(page)
    text = "\n".join(f"{each}\necho" for each in commands)
    for printed, real in (
        ("localhost:8080", f"127.0.0.1:{system.settings.port}"),
        ("localhost:8081", f"127.0.0.1:{system.settings.console_port}"),
        (".venv/bin/headwater ", "headwater "),
        ("headwater-data/", f"{system.settings.data}/"),
    ):
        text = text.replace(printed, real)
    return PRELUDE + text


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl; `make test` installs it")
@pytest.mark.parametrize("page", [page for page in PAGES if requests(page)])
def test_every_printed_request_works(page: str, tmp_path: Path) -> None:
    with System(tmp_path, edges=1) as system:
        done = subprocess.run(
            ["bash", "-c", script(system, page)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHON": sys.executable,
                "HEADWATER_DATA": str(system.settings.data),
                "HEADWATER_PORT": str(system.settings.port),
                "HEADWATER_CONSOLE_PORT": str(system.settings.console_port),
            },
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    if page == README:
        assert '"status":"attributed"' in done.stdout
        assert '"candidates"' in done.stdout


def test_the_search_for_requests_finds_them() -> None:
    found = {page: len(requests(page)) for page in PAGES}
    assert found[README] > 8
    assert sum(1 for number in found.values() if number) > 4
