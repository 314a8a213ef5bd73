"""Reports by the pixel for the hot lane: such as it takes, such as it does not, and their parts."""

from __future__ import annotations

from hypothesis import strategies as st

from hot_tools import BROWSER, CLOSE, HOST, TODAY, VISITOR, get

CLICK_ID = b"clk_01kaf3v4n8e2yxm7q5tb9c6d0w"
GOOD = b"/px.gif?program=check&event=sale&order_id=P-1&amount=5.00&customer_id=c"
IMAGE = (
    *BROWSER[:7],
    b"Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8\r\n",
    b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
    b"Referer: https://shop.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n",
    b"Accept-Language: de-DE,de;q=0.9\r\n",
)
COOKIE = f"Cookie: a=b; hw_visitor={VISITOR}.{TODAY + 9}\r\n".encode()


def pixel(query: bytes, *headers: bytes) -> bytes:
    """A report of a sale with an order, changed by `query`."""
    return get(b"/px.gif?program=check&event=sale&order_id=P-1" + query, *(headers or (HOST,)))


def lead(query: bytes, *headers: bytes) -> bytes:
    return get(b"/px.gif?program=check&event=lead" + query, *(headers or (HOST,)))


HOT_PIXELS: dict[str, bytes] = {
    "plain": get(GOOD, HOST),
    "a browser's": get(
        GOOD + b"&currency=USD&click_id=" + CLICK_ID + b"&cb=173&_=1", *IMAGE, COOKIE
    ),
    "cookie alone": pixel(b"&amount=12", HOST, COOKIE),
    "cookie of its own site": pixel(b"", b"Host: px.shop.example\r\n", COOKIE),
    "cookie of a tracking domain": pixel(b"", b"Host: GO.shop.example.:80\r\n", COOKIE),
    "cookie of no site": pixel(b"", b"Host: 127.0.0.1:8000\r\n", COOKIE),
    "broken cookies": pixel(b"&customer_id=c", HOST, b'Cookie: hw_visitor="x";;=\r\n'),
    "cookie of nobody": pixel(
        b"&customer_id=c", HOST, b"Cookie: hw_visitor=%s.20789\r\n" % (b"0" * 26)
    ),
    "nobody's cookie as a parameter": pixel(b"&visitor_id=" + b"7" * 26 + b".20789"),
    "cookie and parameter are one": pixel(b"&visitor_id=" + VISITOR.encode(), HOST, COOKIE),
    "cookie's whole value": pixel(f"&visitor_id={VISITOR}.20789".encode()),
    "a brand's own visitor": pixel(b"&visitor_id=V%20-1.20789"),
    "every parameter": pixel(
        b"&line=l+1&product_id=sku%2B7&promo_code=SPRING+5&currency=bHd&amount=1.234&discount=0"
        b"&tax=0.001&shipping=&customer_status=NEW&test=Yes&consent=granted"
        b"&event_id=0123456789abcdef_-Z&profile_id=p&device_id=AB&external_click_id=x%20y"
        b"&email_sha256="
        + b"aB" * 32
        + b"&email_sha1="
        + b"0a" * 20
        + b"&phone_sha256="
        + b"12" * 32,
    ),
    "empty parameters": pixel(
        b"&line=&product_id=&promo_code=&currency=&amount=&discount&tax=&shipping=&click_id="
        b"&customer_status=&hw_test=&consent=&event_id=&profile_id=&device_id=&customer_id=c&&cb"
    ),
    "device in capitals": pixel(b"&device_id=ABCDEF01-2345-6789-ABCD-EF01234567A9"),
    "blocked identifiers": pixel(b"&customer_id=null&device_id=0000-0000&visitor_id=undefined"),
    "blank identifier": pixel(b"&customer_id=+"),
    "promo code alone": pixel(b"&promo_code=SPRING"),
    "click id alone": lead(b"&click_id=" + CLICK_ID),
    "a lead needs no order": lead(b"&customer_id=c"),
    "a lead under a key": lead(b"&customer_id=c&event_id=0123456789abcdef"),
    "a repeat under a key": lead(b"&customer_id=d&event_id=0123456789abcdef"),
    "an order under a key": pixel(b"&customer_id=c&event_id=" + b"k" * 64),
    "existing customer": pixel(b"&customer_id=c&customer_status=existing"),
    "test": pixel(b"&customer_id=c&hw_test=1"),
    "no test": pixel(b"&customer_id=c&test=0"),
    "of another brand": get(b"/px.gif?event=lead&program=other&customer_id=c", HOST),
    "no decimals": get(b"/px.gif?program=yen&event=lead&customer_id=c&amount=900", HOST),
    "granted where denied": get(
        b"/px.gif?program=quiet&event=lead&customer_id=c&consent=granted", HOST
    ),
    "longest values": pixel(b"&customer_id=" + b"a" * 255 + b"&promo_code=" + b"%62" * 255),
    "largest amount": pixel(b"&customer_id=c&amount=9999999999999999.99"),
    "number no card has": pixel(b"&customer_id=1795272147692"),
    "on a tracking domain": get(GOOD, b"Host: go.shop.example\r\n"),
    "forwarded": get(GOOD, HOST, b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"),
    "closing": get(GOOD, HOST, CLOSE),
    "refused: nobody": pixel(b"&amount=x&click_id="),
    "refused: no order": get(
        b"/px.gif?program=check&event=sale&customer_id=c&currency=EURO", *IMAGE
    ),
    "refused: click id": pixel(b"&click_id=%7Bclick_id%7D"),
    "refused: another id": pixel(b"&click_id=cnv_" + CLICK_ID[4:] + b"&currency=ABC"),
    "refused: currency": pixel(b"&customer_id=c&currency=eu&amount=-1"),
    "refused: negative": pixel(b"&customer_id=c&amount=-1&tax=x"),
    "refused: decimals": pixel(b"&customer_id=c&shipping=1.234"),
    "refused: too large": pixel(b"&customer_id=c&amount=99999999999999999.99"),
    "refused: amount": pixel(b"&customer_id=c&amount=1,50&event_id=0123456789abcdef", HOST, COOKIE),
}

OTHER_PIXELS: dict[str, bytes] = {
    "nothing": get(b"/px.gif", HOST),
    "no program": get(b"/px.gif?event=sale&order_id=P-1&customer_id=c", HOST),
    "empty event": get(b"/px.gif?program=check&event=&customer_id=c", HOST),
    "unknown program": get(b"/px.gif?program=nope&event=sale&order_id=P-1&customer_id=c", HOST),
    "program in capitals": get(b"/px.gif?program=Check&event=lead&customer_id=c", HOST),
    "unknown event": get(b"/px.gif?program=check&event=nope&customer_id=c", HOST),
    "event of clicks": get(b"/px.gif?program=check&event=visit&customer_id=c", HOST),
    "paused program": get(b"/px.gif?program=paused&event=sale&customer_id=c", HOST),
    "method switched off": get(b"/px.gif?program=nopixel&event=lead&customer_id=c", HOST),
    "an alias of _": get(b"/px.gif?program=odd&event=lead&customer_id=c&_=7.00", HOST),
    "alias": pixel(b"&payout=5.00&customer_id=c"),
    "unknown parameter": pixel(b"&customer_id=c&color=red"),
    "name in capitals": pixel(b"&Customer_ID=c"),
    "encoded name": pixel(b"&custome%72_id=c"),
    "repeated parameter": pixel(b"&customer_id=c&customer_id=d"),
    "two tests": pixel(b"&customer_id=c&test=1&hw_test=0"),
    "items": pixel(b"&customer_id=c&sku1=a&qty1=2&amt1=1.50"),
    "status": pixel(b"&customer_id=c&status=approved"),
    "rejected status": pixel(b"&customer_id=c&status=rejected"),
    "time": pixel(b"&customer_id=c&occurred_at=2026-11-01T00:00:00Z"),
    "e-mail": pixel(b"&email=Ann%40b.example"),
    "e-mail as customer": pixel(b"&customer_id=ann@b.example"),
    "e-mail encoded twice": pixel(b"&promo_code=ann%2540b.example"),
    "phone": pixel(b"&phone=%2B4930123456"),
    "hash that is none": pixel(b"&email_sha256=abc"),
    "address": pixel(b"&customer_id=c&ip=203.0.113.9"),
    "card number": pixel(b"&customer_id=4111+1111-11111111"),
    "card number in the amount": pixel(b"&customer_id=c&amount=4111111111111111"),
    "card number in the referrer": pixel(
        b"&customer_id=c", HOST, b"Referer: https://a.example/?n=4111111111111111\r\n"
    ),
    "test card": pixel(b"&customer_id=c&card_number=0000000000000000&cvv=100&expiry=12/30"),
    "status of nobody": pixel(b"&customer_id=c&customer_status=vip"),
    "consent denied": pixel(b"&customer_id=c&consent=denied"),
    "consent unclear": pixel(b"&customer_id=c&consent=maybe"),
    "denied by the program": get(b"/px.gif?program=quiet&event=lead&customer_id=c", HOST),
    "refused where denied": get(b"/px.gif?program=quiet&event=lead&consent=granted", HOST),
    "GPC": pixel(b"&customer_id=c", HOST, COOKIE, b"Sec-GPC: 1\r\n"),
    "event id too short": pixel(b"&customer_id=c&event_id=0123456789abcde"),
    "event id too long": pixel(b"&customer_id=c&event_id=" + b"k" * 65),
    "event id with a dot": pixel(b"&customer_id=c&event_id=0123456789abcde."),
    "value too long": pixel(b"&customer_id=c&product_id=" + b"a" * 256),
    "order id too long": get(
        b"/px.gif?program=check&event=sale&customer_id=c&order_id=" + b"a" * 256, HOST
    ),
    "beyond ASCII": pixel(b"&customer_id=%C3%A9"),
    "control character": pixel(b"&customer_id=a%00b"),
    "broken encoding": pixel(b"&customer_id=%zz"),
    "many parameters": pixel(b"&customer_id=c" + b"&" * 64),
    "crawler": pixel(b"&customer_id=c", HOST, b"User-Agent: Googlebot-Image/1.0\r\n"),
    "HEAD": get(GOOD, HOST, method=b"HEAD"),
    "POST": get(GOOD, HOST, method=b"POST"),
    "another path": get(GOOD.replace(b".gif", b".GIF"), HOST),
    "deeper path": get(GOOD.replace(b".gif", b".gif/"), HOST),
    "fragment": get(GOOD + b"#x", HOST),
    "length of nothing": get(GOOD, HOST, b"Content-Length: 0\r\n"),
    "HTTP/1.0": GOOD.join([b"GET ", b" HTTP/1.0\r\nHost: x\r\n\r\n"]),
}

_VALUES = st.sampled_from(
    [
        b"", b"c", b"1", b"true", b"new", b"granted", b"denied", b"5.00", b"-1", b"1.234", b"0",
        b"JPY", b"kwd", b"P-1", b"main", b"null", b"+", b"%20x", b"%C3%A9", b"%00", b"%2B", b"%zz",
        b"a@b.example", b"4111111111111111", b"1795272147692", b"a" * 255, b"a" * 256, b"ab" * 32,
        b"0f" * 20, b"0123456789abcdef", CLICK_ID, b"clk_8" + CLICK_ID[5:], b"clk_", b"%7Bx%7D",
        VISITOR.encode(), VISITOR.encode() + b".20789", b"%2540", b"9" * 18, b"00000000000000001.5",
        b"1e3", b"1_0", b".5", b"5.", b"check", b"sale", b"approved", b"2026-01-01T00:00:00Z",
    ]
)  # fmt: skip
_NAMES = st.sampled_from(
    [
        b"order_id", b"amount", b"currency", b"discount", b"tax", b"shipping", b"click_id",
        b"customer_id", b"profile_id", b"email", b"email_sha256", b"email_sha1", b"phone",
        b"phone_sha256", b"device_id", b"external_click_id", b"visitor_id", b"line", b"product_id",
        b"promo_code", b"customer_status", b"test", b"hw_test", b"consent", b"event_id", b"cb",
        b"_", b"status", b"sku1", b"txid", b"payout", b"Amount", b"x", b"", b"occurred_at", b"ip",
        b"token", b"return", b"user_agent", b"properties", b"items", b"payment", b"event",
    ]
)  # fmt: skip
PIXEL_TARGETS = st.tuples(
    st.sampled_from([b"check", b"check", b"yen", b"other", b"quiet", b"nope"]),
    st.sampled_from([b"sale", b"lead", b"lead", b"visit", b""]),
    st.lists(st.tuples(_NAMES, _VALUES).map(b"=".join), max_size=7),
).map(lambda parts: b"/px.gif?program=%s&event=%s&" % parts[:2] + b"&".join(parts[2]))
