"""Requests for the hot lane: such as it takes, such as it does not, and what both are made of."""

from __future__ import annotations

from hypothesis import strategies as st

from headwater import limits

NOW_MS = 1_795_272_147_692
TODAY = NOW_MS // limits.DAY_MS
VISITOR = "4cxhb5jty243t3861wt9z4ncby"
CHROME = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/141.0.0.0 Safari/537.36"
)
BROWSER = (
    b"Host: go.track.example\r\n",
    b"Connection: keep-alive\r\n",
    b'sec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"\r\n',
    b"sec-ch-ua-mobile: ?0\r\n",
    b'sec-ch-ua-platform: "Windows"\r\n',
    b"Upgrade-Insecure-Requests: 1\r\n",
    b"User-Agent: " + CHROME + b"\r\n",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n",
    b"Sec-Fetch-Site: cross-site\r\n",
    b"Sec-Fetch-Mode: navigate\r\n",
    b"Sec-Fetch-User: ?1\r\n",
    b"Sec-Fetch-Dest: document\r\n",
    b"Referer: https://blog.example/best-shoes?x=1\r\n",
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n",
    b"Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n",
)
HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"


def get(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + b"".join(headers) + b"\r\n"


HOT: dict[str, bytes] = {
    "Chrome": get(b"/c/Spring_1?sub1=a&utm_source=mail", *BROWSER),
    "plain": get(b"/c/spring_1", HOST),
    "any case": get(b"/c/sPrInG_1?SUB1=x", b"hOsT: x\r\n", b"user-AGENT: y\r\n"),
    "known visitor": get(b"/c/spring_1", HOST, f"Cookie: a; hw_visitor={VISITOR}\r\n".encode()),
    "cookie that lives on": get(
        b"/c/spring_1", HOST, f"Cookie: hw_visitor={VISITOR}.{TODAY + 40}; z=\r\n".encode()
    ),
    "cookie that lives too long": get(
        b"/c/spring_1", HOST, f"Cookie: hw_visitor={VISITOR}.999999\r\n".encode()
    ),
    "broken cookies": get(b"/c/spring_1", HOST, b'Cookie: hw_visitor; hw_visitor="x";;=\r\n'),
    "cookie of nobody": get(b"/c/spring_1", HOST, b"Cookie: hw_visitor=%s\r\n" % (b"7" * 26)),
    "every parameter": get(
        b"/c/spring_1?sub10=10&sub2=%C3%A9&shared_id=a+b&source=%2B&utm_term=&utm_content=c&x=y"
        b"&hw_test=1&qr=1&gclid=&external_click_id=abc%20d&color=r%C3%A9d+1&a=2&&_=3",
        HOST,
    ),
    "long values": get(b"/c/spring_1?sub1=" + b"a" * 300 + b"&sub2=" + b"%C3%A9" * 128, *BROWSER),
    "long headers": get(
        b"/c/spring_1",
        HOST,
        *(
            name + b": " + b"a,b;" * 400 + b"\r\n"
            for name in (b"User-Agent", b"Referer", b"Accept", b"Accept-Language", b"Sec-CH-UA")
        ),
    ),
    "blocked external id": get(b"/c/spring_1?external_click_id=null", HOST),
    "tokens": get(b"/c/tokens?sub1=a%2Fb+c&color=x&sub2=%7Bsub1%7D", HOST),
    "tokens without values": get(b"/c/tokens", HOST),
    "placed click id": get(b"/c/placed?a=1&color=2", HOST),
    "of another brand": get(b"/c/foreign", HOST),
    "granted where denied": get(b"/c/quiet?consent=granted", HOST),
    "before its end": get(b"/c/later", HOST),
    "tracking domain": get(b"/own?sub1=1", b"Host: GO.shop.example.:8080\r\n"),
    "tracking domain, /c/": get(b"/c/own", b"Host: go.shop.example\r\n"),
    "no domain on a domain": get(b"/bare", b"Host: go.shop.example\r\n"),
    "no fragment nor query": get(b"/c/bare?color=1", HOST),
    "number no card has": get(b"/c/spring_1?sub1=120210123456789013", HOST),
    "forwarded": get(b"/c/spring_1", HOST, b"X-Forwarded-For: 203.0.113.9\r\n"),
    "forwarded, IPv6, TLS": get(
        b"/c/spring_1",
        b"Host: go.shop.example\r\n",
        b"X-Forwarded-For: 10.0.0.1, 2001:db8:1:2::3\r\n",
        b"X-Forwarded-Proto: https\r\n",
    ),
    "forwarded, mapped": get(b"/c/spring_1", HOST, b"X-Forwarded-For: ::ffff:198.51.100.7\r\n"),
    "closing": get(b"/c/spring_1", HOST, CLOSE),
    "no GPC": get(b"/c/spring_1", HOST, b"Sec-GPC: 0\r\n"),
}

OTHER: dict[str, bytes] = {
    "unknown code": get(b"/c/nowhere", HOST),
    "archived": get(b"/c/gone", HOST),
    "expired": get(b"/c/late", HOST),
    "paused partner": get(b"/c/eight", HOST),
    "denied by the program": get(b"/c/quiet", HOST),
    "denied by the visitor": get(b"/c/spring_1?consent=denied", HOST),
    "GPC": get(b"/c/spring_1", *BROWSER, b"Sec-GPC: 1\r\n"),
    "deep link": get(b"/c/spring_1?u=https%3A%2F%2Fshop.example%2Fx", HOST),
    "refused deep link": get(b"/c/spring_1?u=https%3A%2F%2Fevil.example%2Fx", HOST),
    "preview": get(b"/c/spring_1+", HOST),
    "HEAD": get(b"/c/spring_1", HOST, method=b"HEAD"),
    "POST": get(b"/c/spring_1", HOST, method=b"POST"),
    "prefetch": get(b"/c/spring_1", HOST, b"Sec-Purpose: prefetch;prerender\r\n"),
    "crawler": get(b"/c/spring_1", HOST, b"User-Agent: Googlebot/2.1\r\n"),
    "repeated parameter": get(b"/c/spring_1?sub1=a&sub1=b", HOST),
    "encoded name": get(b"/c/spring_1?%73ub1=a", HOST),
    "broken encoding": get(b"/c/spring_1?sub1=%zz&sub2=%ff&color=%", HOST),
    "card number": get(b"/c/spring_1?sub1=4111111111111111&sub2=4111-1111-1111-1111", HOST),
    "card number in the referrer": get(
        b"/c/spring_1", HOST, b"Referer: https://a.example/pay?n=%34111+1111+1111+1111\r\n"
    ),
    "e-mail address in the referrer": get(
        b"/c/spring_1", HOST, b"Referer: https://a.example/?m=ann%40b.example\r\n"
    ),
    "card number in the agent": get(b"/c/spring_1", HOST, b"User-Agent: x/4111111111111111\r\n"),
    "fragment": get(b"/c/spring_1?sub1=a#b", HOST),
    "route on a tracking domain": get(b"/healthz", b"Host: go.shop.example\r\n"),
    "many parameters": get(b"/c/spring_1?" + b"&".join(b"p%d=1" % n for n in range(70)), HOST),
    "long location": get(b"/c/spring_1?color=" + b"+" * 3000, HOST),
    "two cookies": get(b"/c/spring_1", HOST, f"Cookie: hw_visitor={VISITOR}\r\n".encode() * 2),
    "bytes beyond ASCII": get(b"/c/spring_1", HOST, b"Referer: https://a.example/\xe9\xff\r\n"),
    "tabs": get(b"/c/spring_1", HOST, b"User-Agent: \ta\tb \r\n"),
    "empty header": get(b"/c/spring_1", HOST, b"Referer:\r\n", b"Accept: a\r\n"),
    "keep-alive, x": get(b"/c/spring_1", HOST, b"Connection: keep-alive, x\r\n"),
    "length of nothing": get(b"/c/spring_1", HOST, b"Content-Length: 0\r\n"),
    "HTTP/1.0": b"GET /c/spring_1 HTTP/1.0\r\nHost: x\r\n\r\n",
    "empty line first": b"\r\n" + get(b"/c/spring_1", HOST),
    "robots": get(b"/robots.txt", HOST),
}


WORDS = st.sampled_from(
    [
        b"", b"a", b"1", b"0", b"%20", b"+", b"%C3%A9", b"%2", b"%ff", b"%00", b"%0d%0a", b"=",
        b"?", b"/", b"{sub1}", b"granted", b"denied", b"maybe", b"null", b"4111111111111111",
        b"~!$'()*,;:@",
        b"a" * 260, b"%C3%A9" * 130, b"1795272147692", b"550e8400-e29b-41d4-a716-446655440000",
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    [
        b"sub1", b"sub10", b"utm_source", b"source", b"truncated", b"color", b"a", b"n%C3%A9", b"u",
        b"external_click_id", b"consent", b"hw_test", b"qr", b"gclid", b"msclkid", b"sig", b"x",
        b"", b"sig_expires", b"click_id", b"SUB1", b"sub1%20",
    ]
)  # fmt: skip
QUERIES = st.lists(
    st.tuples(NAMES, st.lists(WORDS, max_size=3).map(b"".join)).map(b"=".join), max_size=6
).map(b"&".join)
TARGETS = st.sampled_from(
    [b"/c/spring_1", b"/c/tokens", b"/c/placed", b"/c/foreign", b"/c/quiet", b"/c/later",
     b"/c/BARE", b"/own", b"/c/own", b"/spring_1", b"/postback", b"/c/", b"/c", b"/c/x.y",
     b"/c/" + b"a" * 65]
)  # fmt: skip
VALUES = st.one_of(
    WORDS,
    st.binary(max_size=12),
    st.sampled_from(
        [
            CHROME, b"https", b"http", b"HTTPS", b"https, http", b"203.0.113.9", b"::1", b"1",
            b"close", b"10.0.0.1, 198.51.100.7", b"2001:db8:1::7", b"127.0.0.1", b"keep-alive",
            b"en;q=1, de",
            b" , en", b"go.shop.example", b"GO.shop.example.:443", b"[::1]:80", b"Googlebot-Image",
            f"hw_visitor={VISITOR}.{TODAY}".encode(), f"a=b;hw_visitor={VISITOR};c".encode(),
        ]
    ),
)  # fmt: skip
HEADER_NAMES = st.sampled_from(
    [
        b"Host", b"User-Agent", b"Referer", b"Cookie", b"Accept", b"Accept-Language", b"Sec-GPC",
        b"X-Forwarded-For", b"X-Forwarded-Proto", b"Sec-Fetch-Dest", b"Sec-Fetch-User",
        b"Sec-CH-UA", b"Sec-CH-UA-Platform", b"Connection", b"X-Purpose", b"Purpose", b"Upgrade",
        b"TE", b"X-Any",
        b"Content-Type", b"Keep-Alive", b"sec-fetch-mode",
    ]
)  # fmt: skip
HEADERS = st.lists(st.tuples(HEADER_NAMES, VALUES), max_size=6)
