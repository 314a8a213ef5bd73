"""The public listener below its routes: framing, sizes, deadlines. Rows B5-B8 of the bad-input
table, over raw sockets, with and without the hot lane.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import http_parser

from edge_tools import KEY, Running, drain, head_of, serving, wait_until
from headwater import limits
from headwater.edge import protocol
from headwater.edge.protocol import Deadlines
from headwater.errors import ConfigError

HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"
AUTH = b"Authorization: Bearer " + KEY.encode() + b"\r\n"
JSON = b"Content-Type: application/json\r\n"
MARK = b"sEnTiNeL"
HEAD_S = 0.4
# That a bound ends a connection is held here, not how soon after it on a busy machine.
SLACK_S = 20.0


@pytest.fixture(scope="module", params=[True, False], ids=["hot lane", "ordinary lane"])
def hot_lane(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture(scope="module")
def edge(hot_lane: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An edge that bears with the slowest client."""
    patient = Deadlines(head_s=60, keep_alive_s=60, write_s=60)
    with serving(tmp_path_factory.mktemp("edge"), patient, hot_lane=hot_lane) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(hot_lane: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An edge whose bounds are soon reached."""
    deadlines = Deadlines(head_s=HEAD_S, keep_alive_s=1.0, write_s=0.5)
    with serving(tmp_path_factory.mktemp("edge"), deadlines, hot_lane=hot_lane) as running:
        yield running


def post(*headers: bytes, body: bytes = b"", path: bytes = b"/v1/identify") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(headers) + b"\r\n" + body


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(headers) + b"\r\n"


SMUGGLING: dict[str, tuple[bytes, int]] = {
    "length and chunks": (
        post(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"),
        400,
    ),
    "two lengths": (post(b"Content-Length: 5\r\n", b"Content-Length: 6\r\n", body=MARK), 400),
    "the same length twice": (
        post(b"Content-Length: 5\r\n", b"Content-Length: 5\r\n", body=MARK),
        400,
    ),
    "signed length": (post(b"Content-Length: +5\r\n", body=MARK), 400),
    "negative length": (post(b"Content-Length: -5\r\n", body=MARK), 400),
    "length of Arabic digits": (post("Content-Length: ٥\r\n".encode(), body=MARK), 400),
    "length list": (post(b"Content-Length: 5, 5\r\n", body=MARK), 400),
    "unknown coding": (post(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n"), 400),
    "chunked not last": (post(b"Transfer-Encoding: chunked, x\r\n", body=b"0\r\n\r\n"), 400),
    "tab before chunked": (post(b"Transfer-Encoding:\x0bchunked\r\n", body=b"0\r\n\r\n"), 400),
    "bad chunk size": (
        post(AUTH, JSON, b"Transfer-Encoding: chunked\r\n", body=b"zz\r\n" + MARK),
        400,
    ),
    "chunk without its end": (
        post(AUTH, JSON, b"Transfer-Encoding: chunked\r\n", body=b"2\r\n{}" + MARK + b"\r\n"),
        400,
    ),
    "two hosts": (get(b"/healthz", HOST), 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "bare line feeds": (b"GET /healthz HTTP/1.1\nHost: x\n\n", 400),
    "folded header": (get(b"/healthz", b"A: b\r\n " + MARK + b"\r\n"), 400),
    "space before colon": (get(b"/healthz", b"A : " + MARK + b"\r\n"), 400),
    "NUL in a header": (get(b"/healthz", b"A: b\x00" + MARK + b"\r\n"), 400),
    "carriage return in a header": (get(b"/healthz", b"A: b\rX: " + MARK + b"\r\n"), 400),
    "no name": (get(b"/healthz", b": " + MARK + b"\r\n"), 400),
    "carriage return in the path": (get(b"/c/a\r" + MARK), 400),
    "raw bytes in the path": (get(b"/c/\xff" + MARK), 400),
    "tab in the request line": (b"GET\t/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "version 1.2": (b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "absolute form": (get(b"http://evil.example/" + MARK), 400),
    "absolute form of a link": (get(b"http://x/c/spring_1"), 400),
    "authority form": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no such method": (MARK + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK, 400),
    "nothing like it": (MARK + b"\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_b6_a_broken_request_is_refused_and_the_connection_closed(
    edge: Running, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, status = SMUGGLING[name]
    began = time.monotonic()
    answer = edge.raw(data + get(b"/c/spring_1"), SLACK_S)
    assert time.monotonic() - began < SLACK_S, "the connection stayed open"
    found, headers = head_of(answer)
    assert found == status
    assert headers["content-type"] == "application/problem+json"
    assert b" 302 " not in answer, "what came behind it was answered"
    assert MARK not in answer
    assert MARK.decode() not in caplog.text
    assert not edge.take()


@pytest.mark.parametrize("version", [b" HTTP/0.9", b"", b" HTTP/2.0"])
def test_b6_other_versions_are_refused(edge: Running, version: bytes) -> None:
    request = b"GET /c/spring_1" + version + b"\r\n" + (HOST if version else b"") + b"\r\n"
    answer = edge.raw(request)
    assert head_of(answer)[0] == 505
    assert answer.startswith(b"HTTP/1.0 505")
    # With more behind it the parser may refuse the whole; nothing of it is answered either way.
    answer = edge.raw(request + get(b"/c/spring_1"))
    assert head_of(answer)[0] in (400, 505)
    assert not edge.take()


OVERSIZE: dict[str, tuple[bytes, int]] = {
    "target": (get(b"/" + b"a" * limits.LINE_BYTES_MAX), 414),
    "target of a link": (get(b"/c/spring_1?" + b"a" * limits.LINE_BYTES_MAX), 414),
    "header value": (
        get(b"/healthz", b"A: " + b"a" * (limits.HEADER_BYTES_MAX + 1) + b"\r\n"),
        431,
    ),
    "header name": (get(b"/healthz", b"a" * limits.HEADER_BYTES_MAX + b"a: b\r\n"), 431),
    "cookie": (get(b"/c/spring_1", b"Cookie: " + b"a=b; " * 80_000 + b"\r\n"), 431),
    "many cookies": (
        get(b"/c/spring_1", *(b"Cookie: " + b"a=b; " * 800 + b"\r\n" for _ in range(100))),
        431,
    ),
    "header count": (
        get(b"/healthz", *(b"A%d: b\r\n" % index for index in range(limits.HEADERS_MAX))),
        431,
    ),
    "body": (post(AUTH, JSON, b"Content-Length: %d\r\n" % (limits.BODY_BYTES_MAX + 1)), 413),
    "batch": (
        post(
            AUTH,
            JSON,
            b"Content-Length: %d\r\n" % (limits.BATCH_BODY_BYTES_MAX + 1),
            path=b"/v1/events",
        ),
        413,
    ),
    "length beyond numbers": (post(AUTH, JSON, b"Content-Length: " + b"9" * 40 + b"\r\n"), 400),
}


@pytest.mark.parametrize("name", OVERSIZE)
def test_b5_what_is_too_large_is_refused_and_not_read(edge: Running, name: str) -> None:
    data, status = OVERSIZE[name]
    answer = edge.raw(data)
    found, headers = head_of(answer)
    assert found == status
    assert headers["content-type"] == "application/problem+json"
    assert not edge.take()


def test_b5_what_just_fits_is_taken(edge: Running) -> None:
    path = b"/c/spring_1?sub1="
    path += b"a" * (limits.LINE_BYTES_MAX - len(path))
    assert head_of(edge.raw(get(path, CLOSE)))[0] == 302
    value = b"A: " + b"a" * limits.HEADER_BYTES_MAX + b"\r\n"
    assert head_of(edge.raw(get(b"/healthz", CLOSE, value)))[0] == 200
    many = [b"A%d: b\r\n" % index for index in range(limits.HEADERS_MAX - 2)]
    assert head_of(edge.raw(get(b"/healthz", CLOSE, *many)))[0] == 200
    body = b'{"program":"check","customer_id":"c"}'.ljust(limits.BODY_BYTES_MAX)
    length = b"Content-Length: %d\r\n" % len(body)
    assert head_of(edge.raw(post(AUTH, JSON, CLOSE, length, body=body)))[0] == 202
    body += b" "
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    chunked = b"Transfer-Encoding: chunked\r\n"
    assert head_of(edge.raw(post(AUTH, JSON, CLOSE, chunked, body=chunks)))[0] == 413
    edge.take()


def test_b6_ten_thousand_pipelined_requests_are_answered_in_order(edge: Running) -> None:
    count = 10_000
    with socket.create_connection(("127.0.0.1", edge.port), timeout=20) as sock:
        data = b"".join(get(b"/c/spring_1?sub1=%d" % index) for index in range(count - 1))
        data += get(b"/c/spring_1?sub1=%d" % (count - 1), CLOSE)
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        answers = drain(sock)
        sender.join()
    assert answers.count(b"HTTP/1.1 302 Found") == count
    recorded = [record.body[5]["sub1"] for record in edge.take()]
    assert recorded == [str(index) for index in range(count)]


def closed_after(edge: Running, first: bytes, drip: bytes = b"", every_s: float = 0.1) -> float:
    """Seconds until the server closes a connection that sends `first`, then drips."""
    with socket.create_connection(("127.0.0.1", edge.port), timeout=every_s) as sock:
        began = time.monotonic()
        sock.sendall(first)
        while time.monotonic() - began < HEAD_S + SLACK_S:
            try:
                if not sock.recv(65536):
                    return time.monotonic() - began
            except TimeoutError:
                pass
            except ConnectionError:
                return time.monotonic() - began
            try:
                sock.sendall(drip)
            except OSError:
                return time.monotonic() - began
    return float("inf")


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"G", b""),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b""),
        (b"GET /healthz HTTP/1.1\r\n", b"A: b\r\n"),
        (b"GET /", b"a"),
    ],
)
def test_b7_a_head_that_does_not_end_is_closed(hasty: Running, first: bytes, drip: bytes) -> None:
    assert HEAD_S * 0.8 < closed_after(hasty, first, drip) < HEAD_S + SLACK_S


def test_b7_half_a_second_head_is_closed_too(hasty: Running) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=SLACK_S) as sock:
        sock.sendall(get(b"/healthz"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        sock.sendall(b"GET /hea")
        assert sock.recv(1) == b""
        assert time.monotonic() - began < HEAD_S + SLACK_S


def test_b7_an_idle_connection_is_closed(hasty: Running) -> None:
    assert 0.7 < closed_after(hasty, get(b"/healthz")) < SLACK_S


def test_b7_a_body_that_does_not_end_is_refused(
    hasty: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_DEADLINE_S", 0.4)
    monkeypatch.setattr(limits, "LINGER_S", 0.2)
    began = time.monotonic()
    answer = hasty.raw(post(AUTH, JSON, b"Content-Length: 100\r\n", body=b'{"pro'), SLACK_S)
    assert head_of(answer)[0] == 408
    assert time.monotonic() - began < SLACK_S
    assert closed_after(hasty, post(AUTH, JSON, b"Content-Length: 100\r\n"), b" ") < SLACK_S


def test_b7_a_reader_that_does_not_read_is_cut_off(hasty: Running) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", hasty.port))
        sock.settimeout(0.2)
        request = get(b"/c/spring_1") * 500
        began = time.monotonic()
        while time.monotonic() - began < SLACK_S:
            try:
                sock.send(request)
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("a reader that never reads was kept")
    hasty.take()


def test_b7_one_address_holds_a_bounded_number_of_connections(edge: Running) -> None:
    address = ("127.0.0.1", edge.port)
    with contextlib.ExitStack() as held:
        for _ in range(limits.CONNECTIONS_PER_ADDRESS_MAX):
            last = held.enter_context(socket.create_connection(address, timeout=SLACK_S))
        last.sendall(get(b"/healthz"))
        assert last.recv(65536).startswith(b"HTTP/1.1 200")
        with socket.create_connection(address, timeout=SLACK_S) as one_more:
            try:
                one_more.sendall(get(b"/healthz"))
                assert one_more.recv(1) == b""
            except ConnectionError:
                pass
    wait_until(lambda: edge.raw(get(b"/healthz", CLOSE)).startswith(b"HTTP/1.1 200"))


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"deflate", b"GZIP", b"gzip, gzip"])
def test_b8_an_encoded_body_is_refused_unread(edge: Running, coding: bytes) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    headers = (AUTH, JSON, CLOSE, b"Content-Encoding: " + coding + b"\r\n")
    length = b"Content-Length: %d\r\n" % len(bomb)
    assert head_of(edge.raw(post(*headers, length, body=bomb)))[0] == 415


@pytest.mark.parametrize(
    "kind",
    [
        b"",
        b"Content-Type: \r\n",
        b"Content-Type: text/plain\r\n",
        b"Content-Type: multipart/form-data; boundary=x\r\n",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        b"Content-Type: application/json; charset=utf-16\r\n",
        b"Content-Type: application/jsonx\r\n",
        b"Content-Type: \xff\r\n",
    ],
)
def test_b8_a_body_of_another_type_is_refused(edge: Running, kind: bytes) -> None:
    answer = edge.raw(post(AUTH, CLOSE, kind, b"Content-Length: 2\r\n", body=b"{}"))
    assert head_of(answer)[0] == 415


@pytest.mark.parametrize(
    "kind",
    [b"application/json; charset=utf-8", b"Application/JSON", b'application/json;charset="UTF-8"'],
)
def test_json_is_taken_however_its_type_is_written(edge: Running, kind: bytes) -> None:
    headers = (AUTH, CLOSE, b"Content-Type: " + kind + b"\r\n", b"Content-Length: 2\r\n")
    assert head_of(edge.raw(post(*headers, body=b"{}")))[0] == 422


def test_a_sender_that_asks_first_is_told_to_go_on(edge: Running) -> None:
    request = post(AUTH, JSON, CLOSE, b"Expect: 100-continue\r\n", b"Content-Length: 2\r\n")
    with socket.create_connection(("127.0.0.1", edge.port), timeout=SLACK_S) as sock:
        sock.sendall(request)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert head_of(drain(sock))[0] == 422
    refused = post(
        AUTH, JSON, CLOSE, b"Expect: " + MARK + b"\r\n", b"Content-Length: 2\r\n", body=b"{}"
    )
    assert head_of(edge.raw(refused))[0] == 417
    too_large = post(AUTH, JSON, b"Expect: 100-continue\r\n", b"Content-Length: 99999999\r\n")
    assert head_of(edge.raw(too_large))[0] == 413


@pytest.mark.parametrize("protocol_name", [b"h2c", b"websocket"])
def test_an_upgrade_is_not_followed(edge: Running, protocol_name: bytes) -> None:
    upgrade = get(b"/healthz", b"Connection: Upgrade\r\n", b"Upgrade: " + protocol_name + b"\r\n")
    with socket.create_connection(("127.0.0.1", edge.port), timeout=SLACK_S) as sock:
        sock.sendall(upgrade)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
        sock.sendall(get(b"/robots.txt", CLOSE))
        assert drain(sock).startswith(b"HTTP/1.1 200 OK")


def test_a_body_of_a_get_is_not_taken_for_a_request(edge: Running) -> None:
    body = get(b"/c/spring_1")
    request = get(b"/healthz", b"Content-Length: %d\r\n" % len(body)) + body
    answer = edge.raw(request + get(b"/robots.txt", CLOSE))
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert not edge.take()


def test_a_fault_of_ours_tells_nothing_about_itself(
    edge: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: Any) -> None:
        raise RuntimeError(MARK.decode())

    monkeypatch.setattr("headwater.edge.status.json_answer", fail)
    answer = edge.raw(get(b"/healthz", b"Accept: text/html\r\n"))
    status, headers = head_of(answer)
    assert (status, headers["content-type"]) == (500, "application/problem+json")
    assert MARK not in answer
    record = next(record for record in caplog.records if record.message == "request failed")
    assert record.fields["error"] == "RuntimeError"  # type: ignore[attr-defined]
    assert MARK.decode() not in str(record.__dict__)


def test_the_lenient_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol.assert_c_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(ConfigError):
        protocol.assert_c_parser()
