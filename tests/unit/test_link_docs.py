"""What docs/links.md and docs/tracking-domains.md show works as printed."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from headwater.model import signing
from headwater.model.destination import TOKENS

DOCS = Path(__file__).parents[2] / "docs"
VALUES = {"sub1": "a b/ü~", "sub3": "x'!()*&=\ny", "u": "https://shop.example/?a=b#c"}


def block(language: str) -> str:
    """The page's one block of a language."""
    found = re.findall(rf"```{language}\n(.*?)```", page("links.md"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def holds(url: str) -> bool:
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    signature = query.pop("sig")
    assert query == VALUES
    return signing.holds(["secret"], signature, "acme", "prt_1", query, 0)


def test_p9_the_python_example_signs_links() -> None:
    scope: dict[str, Any] = {}
    exec(block("python"), scope)
    url = scope["signed"]("https://go.shop.example/x", "secret", "acme", "prt_1", **VALUES)
    assert holds(url)


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
def test_p9_the_php_example_signs_links() -> None:
    values = ", ".join(
        f"{name!r} => base64_decode({base64.b64encode(text.encode()).decode()!r})"
        for name, text in VALUES.items()
    )
    call = f"echo signed('https://go.shop.example/x', 'secret', 'acme', 'prt_1', [{values}]);"
    made = subprocess.run(
        ["php", "-r", block("php") + call], capture_output=True, text=True, check=True
    )
    assert holds(made.stdout)


def test_p5_the_page_names_every_token() -> None:
    named = set(re.findall(r"`\{([a-z_0-9]+)\}`", page("links.md")))
    ranged = {f"sub{number}" for number in range(2, 10)}
    assert named | ranged == TOKENS


@pytest.mark.parametrize("name", ["Caddyfile", "nginx.conf"])
def test_i7_each_proxys_file_is_named_and_leads_to_the_public_listener(name: str) -> None:
    text = page(f"proxies/{name}")
    assert f"(proxies/{name})" in page("tracking-domains.md")
    assert "127.0.0.1:8080" in text
    assert text.count("{") == text.count("}")


def test_i7_nginx_hands_on_what_headwater_reads() -> None:
    text = page("proxies/nginx.conf")
    for header in ("Host", "X-Forwarded-For", "X-Forwarded-Proto"):
        assert f"proxy_set_header {header} " in text
    assert "proxy_pass http://headwater;" in text


def test_i7_caddy_asks_before_it_gets_a_certificate() -> None:
    assert "ask http://127.0.0.1:8081/v1/domains/allowed\n" in page("proxies/Caddyfile")
