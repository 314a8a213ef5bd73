"""`headwater check-domain`: each state of a tracking domain has its finding. Row I7."""

from __future__ import annotations

import http.server
import ipaddress
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headwater import clock
from headwater.cli import app
from headwater.config import Config
from headwater.ops import check_domain
from headwater.ops.check_domain import Address, Certificate, Internet, findings, run_check_domain

DOMAIN, SITE = "go.shop.example", "shop.example"
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"


@dataclass
class World:
    """A network that is as a test wants it."""

    hosts: dict[str, list[str]] = field(
        default_factory=lambda: {DOMAIN: ["192.0.2.7"], SITE: ["192.0.99.1", "2001:db8::1"]}
    )
    days: int | OSError = 60
    answers: int | OSError = 200
    registered: bool | OSError = True

    def addresses(self, host: str) -> list[Address]:
        if host not in self.hosts:
            raise OSError("no such host")
        return [ipaddress.ip_address(text) for text in self.hosts[host]]

    def certificate(self, host: str) -> Certificate:
        days = self._or_raise(self.days)
        return Certificate(clock.now_ms() // 1000 + days * 86_400 + 60)

    def status(self, host: str, path: str) -> int:
        assert path == "/healthz"
        return int(self._or_raise(self.answers))

    def is_registered(self, settings: Config, host: str) -> bool:
        return bool(self._or_raise(self.registered))

    @staticmethod
    def _or_raise(value: Any) -> Any:
        if isinstance(value, OSError):
            raise value
        return value


def faults(world: World, domain: str = DOMAIN, site: str = SITE) -> dict[str, str]:
    """Part to what mends it, of the faults."""
    found = list(findings(Config(), domain, site, world))
    for finding in found:
        assert finding.ok == (not finding.mend), finding
    return {finding.part: finding.mend for finding in found if not finding.ok}


def test_i7_a_domain_that_is_ready_has_no_fault() -> None:
    assert faults(World()) == {}


@pytest.mark.parametrize(
    ("world", "part", "mended_by"),
    [
        (World(registered=False), "Headwater", "POST /v1/domains"),
        (World(registered=ConnectionRefusedError()), "Headwater", "--console-port"),
        (World(hosts={SITE: ["192.0.99.1"]}), "DNS", "A or AAAA"),
        (World(days=13), "TLS", "renewed"),
        (World(days=ConnectionRefusedError()), "TLS", "port 443"),
        (World(days=UNTRUSTED), "TLS", "certificate for this name"),
        (World(answers=502), "proxy", "hand every path"),
        (World(answers=TimeoutError()), "proxy", "hand every path"),
        (World(hosts={DOMAIN: ["192.0.2.7"]}), "Safari", "--site"),
        (
            World(hosts={DOMAIN: ["198.51.100.7"], SITE: ["192.0.99.1"]}),
            "Safari",
            "seven days",
        ),
        (
            World(hosts={DOMAIN: ["192.0.2.7", "2001:db8:0:1::1"], SITE: ["192.0.99.1"]}),
            "Safari",
            "seven days",
        ),
    ],
)
def test_i7_each_fault_says_what_mends_it(world: World, part: str, mended_by: str) -> None:
    found = faults(world)
    assert list(found) == [part]
    assert mended_by in found[part]


@pytest.mark.parametrize(
    ("own", "site", "is_same"),
    [
        ("192.0.2.7", "192.0.255.255", True),
        ("192.0.2.7", "192.1.2.7", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.7", "2001:db8::1", False),
    ],
)
def test_i6_safari_compares_the_first_half_of_addresses(own: str, site: str, is_same: bool) -> None:
    assert ("Safari" not in faults(World(hosts={DOMAIN: [own], SITE: [site]}))) is is_same


def test_i7_a_domain_of_another_site_gets_no_first_party_cookie() -> None:
    world = World(hosts={"track.net.example": ["192.0.2.7"], SITE: ["192.0.2.8"]})
    assert list(faults(world, "track.net.example")) == ["cookie"]


def test_the_command_ends_by_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check_domain(Config(), DOMAIN.upper() + ".", None, World()) == 0
    assert "60 more days" in capsys.readouterr().out
    assert run_check_domain(Config(), DOMAIN, SITE, World(registered=False)) == 1


def test_the_command_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check_domain, "Internet", World)
    asked = ["check-domain", DOMAIN, "--data", str(tmp_path)]
    assert CliRunner().invoke(app, asked).exit_code == 0


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server on `localhost` with a certificate of its own: its port, and the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost"
    named = "-addext subjectAltName=DNS:localhost"
    files = ["-keyout", str(key), "-out", str(certificate)]
    asked = ["openssl", *made.split(), *named.split(), *files]
    subprocess.run(asked, check=True, capture_output=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Tests keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, certificate
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_real_certificate_is_read_and_judged(
    tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, certificate = tls
    internet = Internet(port)
    with pytest.raises(ssl.SSLCertVerificationError):
        internet.certificate("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    days = (internet.certificate("localhost").ends_s - clock.now_ms() // 1000) / 86_400
    assert 29 < days <= 30
    assert internet.status("localhost", "/healthz") == 200
    assert internet.status("localhost", "/x") == 404
    with pytest.raises(ssl.SSLCertVerificationError):
        internet.certificate("127.0.0.1")
    assert ipaddress.ip_address("127.0.0.1") in internet.addresses("localhost")
