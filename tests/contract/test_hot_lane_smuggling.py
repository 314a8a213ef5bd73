"""Requests that parsers have been known to disagree on, before and behind requests for links and
the pixel: the hot lane and the ordinary one must make the same of every byte. Row B6 of the
bad-input table.
"""

from __future__ import annotations

import pytest

from hot_pixels import GOOD
from hot_tools import CLOSE, HOST, get
from lane_tools import Lanes, compare_steps, forgotten, lanes

__all__ = ["forgotten", "lanes"]

CLICK = get(b"/c/spring_1?sub1=click", HOST)
REPORT = get(GOOD, HOST)
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def line(line: bytes, *headers: bytes) -> bytes:
    """A request with this first line."""
    return line + b"\r\n" + b"".join(headers or (HOST,)) + b"\r\n"


def bodies(path: bytes) -> dict[str, bytes]:
    """Requests with a body, or what may be taken for one, that is a request itself."""
    hidden = get(path + (b"&" if b"?" in path else b"?") + b"line=hidden", HOST)
    length = b"Content-Length: %d\r\n" % len(hidden)
    in_chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    return {
        "a body that is a click": get(path, HOST, length) + hidden,
        "a length of nothing": get(path, HOST, b"Content-Length: 0\r\n") + hidden,
        "half the length": get(path, HOST, b"Content-Length: %d\r\n" % (len(hidden) // 2)) + hidden,
        "two lengths": get(path, HOST, length, b"Content-Length: 0\r\n") + hidden,
        "two equal lengths": get(path, HOST, length, length) + hidden,
        "length in words": get(path, HOST, b"Content-Length: ten\r\n") + hidden,
        "length in hexadecimals": get(path, HOST, b"Content-Length: 0x10\r\n") + hidden,
        "signed length": get(path, HOST, b"Content-Length: +10\r\n") + hidden,
        "empty length": get(path, HOST, b"Content-Length:\r\n") + hidden,
        "folded length": get(path, HOST, length.replace(b": ", b":\r\n ")) + hidden,
        "length behind a space": get(path, HOST, length.replace(b":", b" :")) + hidden,
        "length behind a tab": get(path, HOST, length.replace(b":", b"\t:")) + hidden,
        "length before a line feed": get(path, HOST, length.replace(b"\r\n", b"\n")) + hidden,
        "length before a return": get(path, HOST, length.replace(b"\r\n", b"\r")) + hidden,
        "length with a NUL": get(path, HOST, length.replace(b"\r\n", b"\0\r\n")) + hidden,
        "length by another name": get(path, HOST, length.replace(b"-", b"_")) + hidden,
        "length in capitals": get(path, HOST, length.upper()) + hidden,
        "length behind an odd header": get(path, HOST, b"A: b\r" + length) + hidden,
        "chunks": get(path, HOST, CHUNKED) + in_chunks,
        "no chunks": get(path, HOST, CHUNKED) + hidden,
        "chunks and a length": get(path, HOST, length, CHUNKED) + in_chunks,
        "chunks, then something": get(path, HOST, CHUNKED.replace(b"\r", b", x\r")) + in_chunks,
        "something, then chunks": get(path, HOST, CHUNKED.replace(b": ", b": x, ")) + in_chunks,
        "identity": get(path, HOST, b"Transfer-Encoding: identity\r\n") + hidden,
        "chunks behind a tab": get(path, HOST, CHUNKED.replace(b": ", b":\t")) + in_chunks,
        "chunks behind \\v": get(path, HOST, CHUNKED.replace(b": ", b":\x0b")) + in_chunks,
        "chunks in quotes": get(path, HOST, b'Transfer-Encoding: "chunked"\r\n') + in_chunks,
        "folded chunks": get(path, HOST, CHUNKED.replace(b": ", b":\r\n\t")) + in_chunks,
        "chunks twice": get(path, HOST, CHUNKED, CHUNKED) + in_chunks,
        "chunks with a trailer": get(path, HOST, CHUNKED, b"Trailer: A\r\n")
        + in_chunks[:-2]
        + b"A: b\r\n\r\n",
        "waiting to be asked": get(path, HOST, b"Expect: 100-continue\r\n"),
        "waiting with a body": get(path, HOST, b"Expect: 100-continue\r\n", length) + hidden,
        "a coded body": get(path, HOST, b"Content-Encoding: gzip\r\n", length) + hidden,
        "a body of a HEAD": get(path, HOST, length, method=b"HEAD") + hidden,
        "a body of a POST": get(path, HOST, length, method=b"POST") + hidden,
    }


def lines(path: bytes) -> dict[str, bytes]:
    """First lines that are not by the letter."""
    return {
        "two spaces": line(b"GET  %s HTTP/1.1" % path),
        "a tab": line(b"GET\t%s HTTP/1.1" % path),
        "a space behind": line(b"GET %s HTTP/1.1 " % path),
        "a space before": line(b" GET %s HTTP/1.1" % path),
        "empty lines before": line(b"\r\n\r\nGET %s HTTP/1.1" % path),
        "a line feed before": line(b"\nGET %s HTTP/1.1" % path),
        "a NUL before": line(b"\0GET %s HTTP/1.1" % path),
        "small letters": line(b"get %s HTTP/1.1" % path),
        "no such method": line(b"GETS %s HTTP/1.1" % path),
        "small version": line(b"GET %s http/1.1" % path),
        "long version": line(b"GET %s HTTP/1.10" % path),
        "padded version": line(b"GET %s HTTP/01.1" % path),
        "version 1.0": line(b"GET %s HTTP/1.0" % path),
        "version 1.2": line(b"GET %s HTTP/1.2" % path),
        "version 2.0": line(b"GET %s HTTP/2.0" % path),
        "no version": b"GET %s\r\n\r\n" % path,
        "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "a line feed at its end": b"GET %s HTTP/1.1\nHost: x\r\n\r\n" % path,
        "line feeds alone": b"GET %s HTTP/1.1\nHost: x\n\n" % path,
        "returns alone": b"GET %s HTTP/1.1\rHost: x\r\r" % path,
        "return, return, line feed": b"GET %s HTTP/1.1\r\r\nHost: x\r\n\r\n" % path,
        "one line feed too many": get(path, HOST) + b"\n",
        "one empty line too many": get(path, HOST) + b"\r\n",
    }


HOSTS = {
    "two hosts": get(b"/own", HOST, b"Host: go.shop.example\r\n"),
    "two hosts, two cases": get(b"/own", b"Host: go.shop.example\r\n", b"hOST: x\r\n"),
    "hosts in a list": get(b"/own", b"Host: go.shop.example, x\r\n"),
    "host with a user": get(b"/own", b"Host: x@go.shop.example\r\n"),
    "host with a path": get(b"/own", b"Host: go.shop.example/c\r\n"),
    "host with a query": get(b"/own", b"Host: go.shop.example?x\r\n"),
    "encoded host": get(b"/own", b"Host: go%2eshop.example\r\n"),
    "host with two dots": get(b"/own", b"Host: go.shop.example..\r\n"),
    "host with two ports": get(b"/own", b"Host: go.shop.example:80:81\r\n"),
    "host with a wrong port": get(b"/own", b"Host: go.shop.example:x\r\n"),
    "half an address": get(b"/own", b"Host: [::1\r\n"),
    "brackets": get(b"/own", b"Host: []go.shop.example\r\n"),
    "brackets behind": get(b"/own", b"Host: go.shop.example]\r\n"),
    "host with a NUL": get(b"/own", b"Host: go.shop.example\0\r\n"),
    "host beyond ASCII": get(b"/own", b"Host: go.sh\xc3\xb6p.example\r\n"),
    "folded host": get(b"/own", b"Host:\r\n go.shop.example\r\n"),
    "host, folded on": get(b"/own", b"Host: go.shop\r\n .example\r\n"),
}


def heads(path: bytes) -> dict[str, bytes]:
    """Headers that parsers have read in two ways."""
    return {
        "no host": get(path, b"A: b\r\n"),
        "empty host": get(path, b"Host:\r\n"),
        "blank host": get(path, b"Host: \t \r\n"),
        "the same host twice": get(path, HOST, HOST),
        "folded agent": get(path, HOST, b"User-Agent: a\r\n b\r\n"),
        "fold of nothing": get(path, HOST, b"User-Agent: a\r\n \r\n"),
        "fold first": get(path, b" A: b\r\n", HOST),
        "space before a colon": get(path, HOST, b"A : b\r\n"),
        "no colon": get(path, HOST, b"A\r\n"),
        "no name": get(path, HOST, b": b\r\n"),
        "space in a name": get(path, HOST, b"A B: c\r\n"),
        "brackets in a name": get(path, HOST, b"A[]: c\r\n"),
        "NUL in a name": get(path, HOST, b"A\0: c\r\n"),
        "a name beyond ASCII": get(path, HOST, b"\xc3\x84: c\r\n"),
        "odd names": get(path, HOST, b"!#$%&'*+-.^_`|~0: c\r\n"),
        "NUL in a value": get(path, HOST, b"User-Agent: a\0b\r\n"),
        "return in a value": get(path, HOST, b"User-Agent: a\rb\r\n"),
        "line feed in a value": get(path, HOST, b"User-Agent: a\nReferer: b\r\n"),
        "controls in a value": get(path, HOST, b"User-Agent: a\x01\x1f\x7fb\r\n"),
        "a value beyond ASCII": get(path, HOST, b"User-Agent: \xc3\xa9\xff\r\n"),
        "blanks around a value": get(path, HOST, b"User-Agent: \t a b \t \r\n"),
        "no blank before a value": get(path, HOST, b"User-Agent:a\r\n"),
        "empty values": get(path, HOST, b"User-Agent:\r\nReferer: \r\nCookie:\t\r\n"),
        "headers twice": get(path, HOST, b"User-Agent: a\r\n", b"user-agent: b\r\n"),
        "closing in capitals": get(path, HOST, b"CONNECTION: CLOSE\r\n"),
        "closing among others": get(path, HOST, b"Connection: keep-alive, close\r\n"),
        "closing and not": get(path, HOST, CLOSE, b"Connection: keep-alive\r\n"),
        "closing a host": get(path, HOST, b"Connection: close, host\r\n"),
        "upgrade to HTTP/2": get(
            path,
            HOST,
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
        ),
        "upgrade of nothing": get(path, HOST, b"Upgrade: websocket\r\n"),
        "upgrade to nothing": get(path, HOST, b"Connection: upgrade\r\n"),
        "web socket": get(
            path,
            HOST,
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
        "another address": get(
            path, HOST, b"X-Forwarded-For: 203.0.113.9\r\n", b"x-forwarded-for: 198.51.100.7\r\n"
        ),
        "another scheme": get(
            path, HOST, b"X-Forwarded-Proto: https\r\n", b"X-Forwarded-Proto: http\r\n"
        ),
        "another target": get(path, HOST, b"X-Original-URL: /c/own\r\nX-Rewrite-URL: /c/own\r\n"),
        "another method": get(path, HOST, b"X-HTTP-Method-Override: HEAD\r\n"),
        "another host": get(
            path, HOST, b"X-Forwarded-Host: go.shop.example\r\nForwarded: for=a\r\n"
        ),
        "64 headers": get(path, HOST, *(b"A%d: b\r\n" % number for number in range(63))),
        "65 headers": get(path, HOST, *(b"A%d: b\r\n" % number for number in range(64))),
        "128 headers": get(path, HOST, *(b"A%d: b\r\n" % number for number in range(127))),
        "129 headers": get(path, HOST, *(b"A%d: b\r\n" % number for number in range(128))),
        "a long name": get(path, HOST, b"a" * 8180 + b": b\r\n"),
        "a long value": get(path, HOST, b"A: " + b"b" * 8100 + b"\r\n"),
        "a value too long": get(path, HOST, b"A: " + b"b" * 70_000 + b"\r\n"),
        "a long target": get(path + b"?sub1=" + b"a" * 8100, HOST),
        "a target too long": get(path + b"?sub1=" + b"a" * 9000, HOST),
        "a long code": get(b"/c/" + b"a" * 8000, HOST),
    }


TARGETS = {
    target.decode("latin-1"): get(target, HOST)
    for target in (
        b"http://x/c/spring_1", b"http://go.shop.example/own", b"//x/c/spring_1", b"x:80", b"*",
        b"c/spring_1", b"/c//spring_1", b"/c/./spring_1", b"/c/../c/spring_1", b"/./c/spring_1",
        b"//c/spring_1", b"/c/spring_1/", b"/c/spring_1;a=b", b"/c/spring_1,", b"/C/spring_1",
        b"/c/spring%5f1", b"/c/spring%5F1", b"/%63/spring_1", b"/c%2fspring_1", b"/c/spring_1%00",
        b"/c/spring_1%20", b"/c/spring_1%0d%0aSet-Cookie:%20a=b", b"/c/spring_1%3fsub1=a",
        b"/c/spring_1\\", b"\\c\\spring_1", b"/c/spring_1\0", b"/c/spring_1\x7f",
        b"/c/spring_1\xff", b"/c/spring_1\xc3\xa9", b"/c/spring_1\t", b"/c/spring_1\r",
        b"/c/spring_1\n", b"/c/spring_1?", b"/c/spring_1??sub1=a", b"/c/spring_1?sub1=a?sub1=b",
        b"/c/spring_1?sub1=a;sub2=b",
        b"/c/spring_1?sub1=a#sub2=b", b"/c/spring_1#?sub1=a", b"/c/spring_1?sub1=%0d%0aA:%20b",
        b"/c/spring_1?color=%0d%0aA:%20b", b"/c/spring_1?color=%00", b"/c/spring_1?color=%E2%80%8B",
        b"/c/spring_1?sub1=<script>", b'/c/spring_1?sub1="', b"/c/spring_1?sub1={a}|^`",
        b"/c/spring_1?sub1=\xe9", b"/c/spring_1?sub1=\x01", b"/c/spring_1?sub1=a\0b",
        b"/c/spring_1?%00=a", b"/c/spring_1?sub1", b"/c/spring_1?=a&=b", b"/c/spring_1?sub1[]=a",
        GOOD + b"#&amount=9", GOOD + b"?&line=a", GOOD + b";line=a", GOOD.replace(b"?", b"%3f"),
        GOOD.replace(b"/px", b"//px"), GOOD.replace(b"/px", b"/./px"), GOOD.replace(b"&", b"%26"),
        GOOD.replace(b"px", b"%70x"), GOOD.replace(b".gif", b".gif%00"), b"http://x" + GOOD,
        GOOD + b"&line=%0d%0aA:%20b", GOOD + b"&line=a\0b", GOOD + b"&line=\xe9", GOOD + b"&=a",
        GOOD + b"&line",
        GOOD + b"&line[]=a", GOOD + b"&%6cine=a", GOOD + b"&line=<a>", GOOD + b"\t", GOOD[1:],
        b"/c/spring_1?u=//evil.example", b"/c/spring_1?U=x", b"/c/spring_1?%75=x", b"/c/spring_1+",
    )
}  # fmt: skip


def odd_requests(path: bytes) -> dict[str, bytes]:
    tables = [bodies(path), lines(path), heads(path)]
    found = {name: odd for table in tables for name, odd in table.items()}
    assert len(found) == sum(map(len, tables))
    return found


ODD = {
    **{f"link: {name}": odd for name, odd in odd_requests(b"/c/spring_1").items()},
    **{f"pixel: {name}": odd for name, odd in odd_requests(GOOD).items()},
    **HOSTS,
    **TARGETS,
}
assert len(ODD) == 2 * len(odd_requests(GOOD)) + len(HOSTS) + len(TARGETS)


@pytest.mark.parametrize("name", ODD)
def test_b6_neither_lane_sees_a_request_the_other_does_not(lanes: Lanes, name: str) -> None:
    odd = ODD[name]
    plain = REPORT if name.startswith("pixel") else CLICK
    for chunks in ([odd + plain], [odd, plain], [plain, odd + plain], [plain, odd, plain]):
        compare_steps(lanes, chunks, chunks)
    # Bytes before an odd request do not change what is made of it, though they came with it.
    compare_steps(lanes, [plain, odd + plain], [plain + odd + plain])
