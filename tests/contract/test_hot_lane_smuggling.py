"""Requests that parsers have been known to disagree on, before and behind requests for links: the
hot lane and the ordinary one must make the same of every byte. Row B6 of the bad-input table.
"""

from __future__ import annotations

import pytest

from hot_tools import CLOSE, HOST, get
from lane_tools import Lanes, compare_steps, forgotten, lanes

__all__ = ["forgotten", "lanes"]

PATH = b"/c/spring_1"
CLICK = get(PATH + b"?sub1=click", HOST)
HIDDEN = get(PATH + b"?sub1=hidden", HOST)
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)


def line(line: bytes, *headers: bytes) -> bytes:
    """A request with this first line."""
    return line + b"\r\n" + b"".join(headers or (HOST,)) + b"\r\n"


BODIES = {
    "a body that is a click": get(PATH, HOST, LENGTH) + HIDDEN,
    "a length of nothing": get(PATH, HOST, b"Content-Length: 0\r\n") + HIDDEN,
    "half the length": get(PATH, HOST, b"Content-Length: %d\r\n" % (len(HIDDEN) // 2)) + HIDDEN,
    "two lengths": get(PATH, HOST, LENGTH, b"Content-Length: 0\r\n") + HIDDEN,
    "two equal lengths": get(PATH, HOST, LENGTH, LENGTH) + HIDDEN,
    "length in words": get(PATH, HOST, b"Content-Length: ten\r\n") + HIDDEN,
    "length in hexadecimals": get(PATH, HOST, b"Content-Length: 0x10\r\n") + HIDDEN,
    "signed length": get(PATH, HOST, b"Content-Length: +10\r\n") + HIDDEN,
    "empty length": get(PATH, HOST, b"Content-Length:\r\n") + HIDDEN,
    "folded length": get(PATH, HOST, LENGTH.replace(b": ", b":\r\n ")) + HIDDEN,
    "length behind a space": get(PATH, HOST, LENGTH.replace(b":", b" :")) + HIDDEN,
    "length behind a tab": get(PATH, HOST, LENGTH.replace(b":", b"\t:")) + HIDDEN,
    "length before a line feed": get(PATH, HOST, LENGTH.replace(b"\r\n", b"\n")) + HIDDEN,
    "length before a return": get(PATH, HOST, LENGTH.replace(b"\r\n", b"\r")) + HIDDEN,
    "length with a NUL": get(PATH, HOST, LENGTH.replace(b"\r\n", b"\0\r\n")) + HIDDEN,
    "length by another name": get(PATH, HOST, LENGTH.replace(b"-", b"_")) + HIDDEN,
    "length in capitals": get(PATH, HOST, LENGTH.upper()) + HIDDEN,
    "length behind an odd header": get(PATH, HOST, b"A: b\r" + LENGTH) + HIDDEN,
    "chunks": get(PATH, HOST, CHUNKED) + IN_CHUNKS,
    "no chunks": get(PATH, HOST, CHUNKED) + HIDDEN,
    "chunks and a length": get(PATH, HOST, LENGTH, CHUNKED) + IN_CHUNKS,
    "chunks, then something": get(PATH, HOST, CHUNKED.replace(b"\r", b", x\r")) + IN_CHUNKS,
    "something, then chunks": get(PATH, HOST, CHUNKED.replace(b": ", b": x, ")) + IN_CHUNKS,
    "identity": get(PATH, HOST, b"Transfer-Encoding: identity\r\n") + HIDDEN,
    "chunks behind a tab": get(PATH, HOST, CHUNKED.replace(b": ", b":\t")) + IN_CHUNKS,
    "chunks behind \\v": get(PATH, HOST, CHUNKED.replace(b": ", b":\x0b")) + IN_CHUNKS,
    "chunks in quotes": get(PATH, HOST, b'Transfer-Encoding: "chunked"\r\n') + IN_CHUNKS,
    "folded chunks": get(PATH, HOST, CHUNKED.replace(b": ", b":\r\n\t")) + IN_CHUNKS,
    "chunks twice": get(PATH, HOST, CHUNKED, CHUNKED) + IN_CHUNKS,
    "chunks with a trailer": get(PATH, HOST, CHUNKED, b"Trailer: A\r\n")
    + IN_CHUNKS[:-2]
    + b"A: b\r\n\r\n",
    "waiting to be asked": get(PATH, HOST, b"Expect: 100-continue\r\n"),
    "waiting with a body": get(PATH, HOST, b"Expect: 100-continue\r\n", LENGTH) + HIDDEN,
    "a coded body": get(PATH, HOST, b"Content-Encoding: gzip\r\n", LENGTH) + HIDDEN,
    "a body of a HEAD": get(PATH, HOST, LENGTH, method=b"HEAD") + HIDDEN,
    "a body of a POST": get(PATH, HOST, LENGTH, method=b"POST") + HIDDEN,
}
LINES = {
    "two spaces": line(b"GET  /c/spring_1 HTTP/1.1"),
    "a tab": line(b"GET\t/c/spring_1 HTTP/1.1"),
    "a space behind": line(b"GET /c/spring_1 HTTP/1.1 "),
    "a space before": line(b" GET /c/spring_1 HTTP/1.1"),
    "empty lines before": line(b"\r\n\r\nGET /c/spring_1 HTTP/1.1"),
    "a line feed before": line(b"\nGET /c/spring_1 HTTP/1.1"),
    "a NUL before": line(b"\0GET /c/spring_1 HTTP/1.1"),
    "small letters": line(b"get /c/spring_1 HTTP/1.1"),
    "no such method": line(b"GETS /c/spring_1 HTTP/1.1"),
    "small version": line(b"GET /c/spring_1 http/1.1"),
    "long version": line(b"GET /c/spring_1 HTTP/1.10"),
    "padded version": line(b"GET /c/spring_1 HTTP/01.1"),
    "version 1.0": line(b"GET /c/spring_1 HTTP/1.0"),
    "version 1.2": line(b"GET /c/spring_1 HTTP/1.2"),
    "version 2.0": line(b"GET /c/spring_1 HTTP/2.0"),
    "no version": b"GET /c/spring_1\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a line feed at its end": b"GET /c/spring_1 HTTP/1.1\nHost: x\r\n\r\n",
    "line feeds alone": b"GET /c/spring_1 HTTP/1.1\nHost: x\n\n",
    "returns alone": b"GET /c/spring_1 HTTP/1.1\rHost: x\r\r",
    "return, return, line feed": b"GET /c/spring_1 HTTP/1.1\r\r\nHost: x\r\n\r\n",
    "one line feed too many": CLICK + b"\n",
    "one empty line too many": CLICK + b"\r\n",
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
        b"/c/spring_1?u=//evil.example", b"/c/spring_1?U=x", b"/c/spring_1?%75=x", b"/c/spring_1+",
    )
}  # fmt: skip
HEADS = {
    "no host": get(PATH, b"A: b\r\n"),
    "empty host": get(PATH, b"Host:\r\n"),
    "blank host": get(PATH, b"Host: \t \r\n"),
    "the same host twice": get(PATH, HOST, HOST),
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
    "folded agent": get(PATH, HOST, b"User-Agent: a\r\n b\r\n"),
    "fold of nothing": get(PATH, HOST, b"User-Agent: a\r\n \r\n"),
    "fold first": get(PATH, b" A: b\r\n", HOST),
    "space before a colon": get(PATH, HOST, b"A : b\r\n"),
    "no colon": get(PATH, HOST, b"A\r\n"),
    "no name": get(PATH, HOST, b": b\r\n"),
    "space in a name": get(PATH, HOST, b"A B: c\r\n"),
    "brackets in a name": get(PATH, HOST, b"A[]: c\r\n"),
    "NUL in a name": get(PATH, HOST, b"A\0: c\r\n"),
    "a name beyond ASCII": get(PATH, HOST, b"\xc3\x84: c\r\n"),
    "odd names": get(PATH, HOST, b"!#$%&'*+-.^_`|~0: c\r\n"),
    "NUL in a value": get(PATH, HOST, b"User-Agent: a\0b\r\n"),
    "return in a value": get(PATH, HOST, b"User-Agent: a\rb\r\n"),
    "line feed in a value": get(PATH, HOST, b"User-Agent: a\nReferer: b\r\n"),
    "controls in a value": get(PATH, HOST, b"User-Agent: a\x01\x1f\x7fb\r\n"),
    "a value beyond ASCII": get(PATH, HOST, b"User-Agent: \xc3\xa9\xff\r\n"),
    "blanks around a value": get(PATH, HOST, b"User-Agent: \t a b \t \r\n"),
    "no blank before a value": get(PATH, HOST, b"User-Agent:a\r\n"),
    "empty values": get(PATH, HOST, b"User-Agent:\r\nReferer: \r\nCookie:\t\r\n"),
    "headers twice": get(PATH, HOST, b"User-Agent: a\r\n", b"user-agent: b\r\n"),
    "closing in capitals": get(PATH, HOST, b"CONNECTION: CLOSE\r\n"),
    "closing among others": get(PATH, HOST, b"Connection: keep-alive, close\r\n"),
    "closing and not": get(PATH, HOST, CLOSE, b"Connection: keep-alive\r\n"),
    "closing a host": get(PATH, HOST, b"Connection: close, host\r\n"),
    "upgrade to HTTP/2": get(
        PATH, HOST, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    ),
    "upgrade of nothing": get(PATH, HOST, b"Upgrade: websocket\r\n"),
    "upgrade to nothing": get(PATH, HOST, b"Connection: upgrade\r\n"),
    "web socket": get(
        PATH,
        HOST,
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ),
    "another address": get(
        PATH, HOST, b"X-Forwarded-For: 203.0.113.9\r\n", b"x-forwarded-for: 198.51.100.7\r\n"
    ),
    "another scheme": get(
        PATH, HOST, b"X-Forwarded-Proto: https\r\n", b"X-Forwarded-Proto: http\r\n"
    ),
    "another target": get(PATH, HOST, b"X-Original-URL: /c/own\r\nX-Rewrite-URL: /c/own\r\n"),
    "another method": get(PATH, HOST, b"X-HTTP-Method-Override: HEAD\r\n"),
    "another host": get(PATH, HOST, b"X-Forwarded-Host: go.shop.example\r\nForwarded: for=a\r\n"),
    "64 headers": get(PATH, HOST, *(b"A%d: b\r\n" % number for number in range(63))),
    "65 headers": get(PATH, HOST, *(b"A%d: b\r\n" % number for number in range(64))),
    "128 headers": get(PATH, HOST, *(b"A%d: b\r\n" % number for number in range(127))),
    "129 headers": get(PATH, HOST, *(b"A%d: b\r\n" % number for number in range(128))),
    "a long name": get(PATH, HOST, b"a" * 8180 + b": b\r\n"),
    "a long value": get(PATH, HOST, b"A: " + b"b" * 8100 + b"\r\n"),
    "a value too long": get(PATH, HOST, b"A: " + b"b" * 70_000 + b"\r\n"),
    "a long target": get(PATH + b"?sub1=" + b"a" * 8100, HOST),
    "a target too long": get(PATH + b"?sub1=" + b"a" * 9000, HOST),
    "a long code": get(b"/c/" + b"a" * 8000, HOST),
}
ODD = {**BODIES, **LINES, **TARGETS, **HEADS}
assert len(ODD) == len(BODIES) + len(LINES) + len(TARGETS) + len(HEADS)


@pytest.mark.parametrize("name", ODD)
def test_b6_neither_lane_sees_a_request_the_other_does_not(lanes: Lanes, name: str) -> None:
    odd = ODD[name]
    for chunks in ([odd + CLICK], [odd, CLICK], [CLICK, odd + CLICK], [CLICK, odd, CLICK]):
        compare_steps(lanes, chunks, chunks)
    # Bytes before an odd request do not change what is made of it, though they came with it.
    compare_steps(lanes, [CLICK, odd + CLICK], [CLICK + odd + CLICK])
