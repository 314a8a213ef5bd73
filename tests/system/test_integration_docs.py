"""What docs/integration.md shows a brand works as printed."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from docs_tools import blocks
from headwater.ops.demo_traffic import Scene
from system_tools import System

PAGE = "docs/integration.md"
HOST = "https://go.shop.example"
# Each program's own way to run a text, and a call of the example that prints what it answers.
CALLS = {
    "python": (
        [sys.executable, "-c"],
        "print(report('{order}', '49.90', 'EUR', click_id='{click}')['status'])",
    ),
    "php": (
        ["php", "-r"],
        "echo report('{order}', '49.90', 'EUR', ['click_id' => '{click}'])['status'];",
    ),
    "js": (
        ["node", "-e"],
        "report('{order}', '49.90', 'EUR', {{ click_id: '{click}' }})"
        ".then((told) => console.log(told.status));",
    ),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), edges=1) as started:
        yield started


@pytest.fixture(scope="module")
def shop(system: System) -> Scene:
    return system.program("acme", partners=1)


def example(system: System, language: str, number: int = 0) -> str:
    return blocks(PAGE, language)[number].replace(HOST, f"http://127.0.0.1:{system.settings.port}")


def run(
    system: System, shop: Scene, language: str, order: str, key: str = ""
) -> subprocess.CompletedProcess[str]:
    command, call = CALLS[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    location = system.edge("GET", f"/c/{shop.codes[0]}").headers["Location"]
    click = str(location).partition("click_id=")[2]
    text = example(system, language) + "\n" + call.format(order=order, click=click)
    return subprocess.run(
        [*command, text],
        env={**os.environ, "HEADWATER_KEY": key or shop.key},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize("language", CALLS)
def test_i10_a_server_reports_an_order(system: System, shop: Scene, language: str) -> None:
    done = run(system, shop, language, f"by-{language}")
    said = done.stdout.strip()
    if said == "pending":
        asked = f"/v1/conversions?program=acme&event=sale&order_id=by-{language}"
        said = system.decided(asked, shop.key)["status"]
    assert (said, done.returncode) == ("attributed", 0), done.stderr


@pytest.mark.parametrize("language", CALLS)
def test_i10_a_report_that_is_not_taken_is_an_error(
    system: System, shop: Scene, language: str
) -> None:
    done = run(system, shop, language, "never", key="not-a-key")
    assert done.returncode != 0
    assert "unauthorized" in done.stderr + done.stdout


def test_i2_the_image_reports_an_order(system: System, shop: Scene) -> None:
    (source,) = re.findall(r'<img src="([^"]+)"', example(system, "html", 1))
    path = html.unescape(source).removeprefix(f"http://127.0.0.1:{system.settings.port}")
    assert system.edge("GET", path).status == 200
    system.decided("/v1/conversions?program=acme&event=sale&order_id=2003", shop.key)


def test_every_kind_of_example_is_there() -> None:
    assert {language: len(blocks(PAGE, language)) for language in (*CALLS, "html", "sh")} == {
        **dict.fromkeys(CALLS, 1), "html": 2, "sh": 1,
    }  # fmt: skip
