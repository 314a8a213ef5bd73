"""The script of the tag: what is served, small, cacheable and packed."""

from __future__ import annotations

import gzip
import http.client
import re

import pytest

import edge_tools
from edge_tools import Reply, Running
from headwater.edge import tag

edge, ordinary = edge_tools.edge, edge_tools.ordinary
PACKED = {"Accept-Encoding": "gzip, deflate, br"}


def test_the_tag_is_served_below_four_kib(edge: Running) -> None:
    reply = edge.call("GET", "/tag.js", headers=PACKED)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert reply.headers["Content-Encoding"] == "gzip"
    assert reply.headers["Cache-Control"] == "public, max-age=3600, stale-while-revalidate=86400"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert reply.headers["Vary"] == "Accept-Encoding"
    assert "Set-Cookie" not in reply.headers
    assert len(reply.body) < 4096
    assert gzip.decompress(reply.body) == edge.call("GET", "/tag.js").body


def test_a_version_of_the_tag_is_kept_for_good(edge: Running) -> None:
    path = f"/tag.{tag.load().digest}.js"
    reply = edge.call("GET", path)
    assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert reply.body == tag.load().plain


def test_another_version_is_answered_with_this_one_for_a_while(edge: Running) -> None:
    reply = edge.call("GET", f"/tag.{'0' * 16}.js")
    assert reply.status == 200
    assert "immutable" not in reply.headers["Cache-Control"]
    assert edge.call("GET", "/tag.XYZ.js").status == 404


def marked(edge: Running, mark: str, packed: bool = False) -> Reply:
    return edge.call(
        "GET", "/tag.js", headers={"If-None-Match": mark, **(PACKED if packed else {})}
    )


def test_who_holds_the_tag_is_not_sent_it_again(edge: Running) -> None:
    mark = edge.call("GET", "/tag.js").headers["ETag"]
    packed_mark = edge.call("GET", "/tag.js", headers=PACKED).headers["ETag"]
    assert mark != packed_mark
    for sent in (mark, f"W/{mark}", f'"other", {mark}', "*"):
        reply = marked(edge, sent)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["ETag"] == mark
        assert reply.headers["Cache-Control"].startswith("public, max-age=3600")
    assert marked(edge, packed_mark, packed=True).status == 304
    assert marked(edge, packed_mark).status == 200
    assert marked(edge, '"other"').status == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("identity", False),
        ("x-notgzip", False),
    ],
)
def test_only_who_takes_gzip_gets_it(edge: Running, accepted: str, packed: bool) -> None:
    reply = edge.call("GET", "/tag.js", headers={"Accept-Encoding": accepted})
    assert (reply.headers.get("Content-Encoding") == "gzip") is packed


def test_head_of_the_tag_has_no_body(edge: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=60)
    connection.request("HEAD", "/tag.js")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    connection.close()


def test_the_tag_needs_nothing_a_strict_policy_forbids() -> None:
    text = tag.load().plain.decode()
    assert not re.search(r"\beval\b|\bFunction\(|innerHTML|document\.write|\.style\b", text)
    assert not re.search(r"setTimeout\(\s*['\"]", text)


def test_the_tag_is_found_below_a_path_on_any_host(edge: Running) -> None:
    reply = edge.call("GET", "/tag.js?v=1", headers={"Host": "go.shop.example"})
    assert reply.status == 200
