"""Lists of addresses and mail services: what is read of their files, and what is looked up.

Oracle: the `ipaddress` module, asked range by range.
"""

from __future__ import annotations

import ipaddress
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import limits
from headwater.edge import address, list_files
from headwater.edge.crawlers import CrawlerRow, Crawlers
from headwater.edge.list_files import ListRefused, load
from headwater.edge.lists import Lists
from headwater.edge.network import Networks
from headwater.edge.ranges import Ranges, parse_range
from headwater.model.records import NetworkFlag

QUICK = settings(max_examples=150, deadline=None, derandomize=True)
STRICT = NetworkFlag.DATACENTRE_STRICT | NetworkFlag.STRICT_LOADED
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CRAWLERS = """\
"Google",66.249.64.0/27,googlebot.com,http://a.example/,"GoogleBot,Googlebot-Image"
"Google",2001:4860:4801:10::/64,googlebot.com,http://a.example/,"GoogleBot,Googlebot-Image"
"Google special",72.14.199.0/24,google.com,http://a.example/,"AdsBot-Google,Googlebot-Image"
"Bing",157.55.39.0/24,search.msn.com,http://b.example/,"Bingbot"
"""


def number(text: str) -> tuple[int, int]:
    found = ipaddress.ip_address(text)
    return found.version, int(found)


def flags_of(lists: Lists, text: str, agent: str | None = None) -> NetworkFlag:
    at = address.place(text)
    assert at
    return NetworkFlag(Networks(lists).of(at, agent, 1, 0, denied=False).flags)


# ---- addresses and ranges


@QUICK
@given(st.ip_addresses())
def test_an_address_is_taken_apart_as_the_standard_module_does(
    found: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    at = address.place(str(found))
    assert at
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    length = 24 if found.version == 4 else 48
    assert at.prefix == str(ipaddress.ip_network((found, length), strict=False))
    assert (at.version, at.number) == (found.version, int(found))
    assert ipaddress.ip_address(at.text) == found
    assert at.line == found.packed[:8]


@QUICK
@given(st.text(max_size=60))
def test_what_is_read_quickly_is_what_is_read_slowly(text: str) -> None:
    slow = address.parse_address(text)
    at = address.place(text)
    assert (at and at.number) == (None if slow is None else int(slow))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("192.0.2.0/24", "192.0.2.0", "192.0.2.255"),
        ("192.0.2.77/24", "192.0.2.0", "192.0.2.255"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.7-192.0.3.1", "192.0.2.7", "192.0.3.1"),
        ("192.0.2.7 - 192.0.3.1", "192.0.2.7", "192.0.3.1"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::5/128", "2001:db8::5", "2001:db8::5"),
        ("::1", "::1", "::1"),
        ("2001:db8::-2001:db8::f", "2001:db8::", "2001:db8::f"),
        ("::ffff:192.0.2.0/120", "192.0.2.0", "192.0.2.255"),
    ],
)
def test_a_range_is_read(text: str, first: str, last: str) -> None:
    assert parse_range(text) == (*number(first), number(last)[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/24",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/",
        "192.0.2.0/x",
        "192.0.2.0/\u0662\u0664",
        "192.0.2.0/24/24",
        "192.0.2.0-",
        "192.0.2.9-192.0.2.1",
        "192.0.2.9-2001:db8::",
        "192.0.2",
        "192.0.2.0.0",
        "256.0.0.1",
        "2001:db8::/129",
        "2001:db8:::",
        "AS15169",
        "\u0661.1.1.1",
        "1.1.1.1\x00",
    ],
)
def test_what_is_no_range_is_none(text: str) -> None:
    assert parse_range(text) is None


networks = st.builds(
    lambda start, size: (4, start, min(start + size, 2**32 - 1)),
    st.integers(0, 4096),
    st.integers(0, 300),
)


@QUICK
@given(st.lists(networks, max_size=30), st.integers(0, 5000))
def test_an_address_is_held_when_any_range_holds_it(
    ranges: list[tuple[int, int, int]], asked: int
) -> None:
    held = Ranges(ranges)
    assert held.holds(4, asked) == any(first <= asked <= last for _, first, last in ranges)
    assert not held.holds(6, asked)
    assert held.knows(4) == bool(ranges)
    assert len(held) <= len(ranges)


def test_neighbours_are_merged_and_the_ends_of_the_space_hold() -> None:
    top4, top6 = 2**32 - 1, 2**128 - 1
    held = Ranges([(4, 0, 9), (4, 10, 10), (4, top4, top4), (6, 0, 0), (6, top6, top6)])
    assert len(held) == 4
    assert [held.holds(4, n) for n in (0, 10, 11, top4 - 1, top4)] == [1, 1, 0, 0, 1]
    assert [held.holds(6, n) for n in (0, 1, top6 - 1, top6)] == [1, 0, 0, 1]


# ---- files


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.0/24\n",
        "# ours\n; theirs\n\n192.0.2.0/24 # cloud\r\n",
        "192.0.2.0/24 ; SBL1\n",
        "192.0.2.0-192.0.2.255\n",
        '"Cloud, Inc.",192.0.2.0/24,us\n',
        "cidr,vendor\n192.0.2.0/24,Cloud #1\n",
        "192.0.2.0,192.0.2.255,Cloud,https://a.example/\n",
        "192.0.2.0/24,192.0.2.1,192.0.2.254,Cloud\n",
        "\ufeff192.0.2.0/24",
    ],
)
def test_every_layout_is_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "list"
    file.write_text(text, "utf-8")
    found = load("vpn", [file])
    assert (found.entries, found.bad_lines) == (1, 0)
    assert found.content.holds(*number("192.0.2.200"))
    assert not found.content.holds(*number("192.0.3.0"))


def test_bad_lines_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"192.0.2.0/24\nnonsense\n\xff\xfe\n1.2.3.4/99\n\n2001:db8::/32\n")
    found = load("vpn", [file])
    assert (found.entries, found.bad_lines) == (2, 3)
    assert found.first_bad == "list.txt line 2"


@pytest.mark.parametrize("name", ["vpn", "crawlers", "disposable_email", "country"])
@pytest.mark.parametrize("raw", [b"", b"# nothing\n", b"\x00\xff" * 500, b"<html>,no</html>\nx y"])
def test_a_file_without_a_good_line_is_refused(tmp_path: Path, name: str, raw: bytes) -> None:
    file = tmp_path / "list"
    file.write_bytes(raw)
    with pytest.raises(ListRefused):
        load(name, [file])


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ListRefused, match="absent"):
        load("vpn", [tmp_path / "absent"])
    with pytest.raises(ListRefused, match="directory"):
        load("vpn", [tmp_path])


def test_a_list_is_refused_past_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "list"
    file.write_text("192.0.2.1\n192.0.2.3\n")
    monkeypatch.setattr(limits, "LIST_ENTRIES_MAX", 2)
    monkeypatch.setattr(limits, "LIST_BYTES_MAX", 20)
    assert load("vpn", [file]).entries == 2
    monkeypatch.setattr(limits, "LIST_ENTRIES_MAX", 1)
    with pytest.raises(ListRefused, match="more than 1 entries"):
        load("vpn", [file])
    monkeypatch.setattr(limits, "LIST_BYTES_MAX", 19)
    with pytest.raises(ListRefused, match="larger"):
        load("vpn", [file])


def test_several_files_make_one_list(tmp_path: Path) -> None:
    (tmp_path / "v4").write_text("192.0.2.0/24\n")
    (tmp_path / "v6").write_text("2001:db8::/32\n")
    found = load("vpn", [tmp_path / "v4", tmp_path / "v6"])
    assert found.content.holds(*number("192.0.2.1"))
    assert found.content.holds(*number("2001:db8::1"))
    assert found.version != load("vpn", [tmp_path / "v4"]).version


# ---- crawlers


@pytest.fixture
def crawlers(tmp_path: Path) -> Crawlers:
    file = tmp_path / "crawlers.csv"
    file.write_text(CRAWLERS)
    content = load("crawlers", [file]).content
    assert isinstance(content, Crawlers)
    return content


@pytest.mark.parametrize(
    ("agent", "at", "judged"),
    [
        (GOOGLEBOT, "66.249.64.5", NetworkFlag.CRAWLER_VERIFIED),
        (GOOGLEBOT, "203.0.113.5", NetworkFlag.CRAWLER_FAKE),
        (GOOGLEBOT, "72.14.199.5", NetworkFlag.CRAWLER_FAKE),
        (GOOGLEBOT.upper(), "66.249.64.5", NetworkFlag.CRAWLER_VERIFIED),
        (GOOGLEBOT, "2001:4860:4801:10::9", NetworkFlag.CRAWLER_VERIFIED),
        (GOOGLEBOT, "2001:db8::9", NetworkFlag.CRAWLER_FAKE),
        ("Googlebot-Image/1.0", "66.249.64.5", NetworkFlag.CRAWLER_VERIFIED),
        ("Googlebot-Image/1.0", "72.14.199.5", NetworkFlag.CRAWLER_VERIFIED),
        ("bingbot/2.0", "157.55.39.9", NetworkFlag.CRAWLER_VERIFIED),
        ("bingbot/2.0", "203.0.113.5", NetworkFlag.CRAWLER_FAKE),
        # The operator publishes no IPv6, so nothing is known.
        ("bingbot/2.0", "2001:db8::9", 0),
        ("xbingbot/2.0", "203.0.113.5", 0),
        ("bingbots/2.0", "203.0.113.5", 0),
        ("bingbot and Googlebot", "157.55.39.9", NetworkFlag.CRAWLER_VERIFIED),
        ("bingbot and Googlebot", "2001:db8::9", NetworkFlag.CRAWLER_FAKE),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/141.0", "66.249.64.5", 0),
        ("", "66.249.64.5", 0),
        ("x" * limits.USER_AGENT_BYTES_MAX + " Bingbot", "203.0.113.5", 0),
    ],
)
def test_a_crawler_is_believed_at_its_operators_addresses(
    crawlers: Crawlers, agent: str, at: str, judged: int
) -> None:
    assert crawlers.judge(agent, *number(at)) == judged


def test_a_name_of_letters_for_patterns_is_taken_as_it_stands() -> None:
    row = CrawlerRow("Probe", (4, 1, 1), ("Probe (by) a+b.example",))
    crawlers = Crawlers([row])
    assert crawlers.judge("probe (by) a+b.example/2", 4, 1) == NetworkFlag.CRAWLER_VERIFIED
    assert crawlers.judge("probe by aab_example", 4, 1) == 0


@pytest.mark.parametrize(
    "line",
    ["Google,66.249.64.0/27", "G,nonsense,x,y,Googlebot", "G,1.2.3.4,x,y,", "G,1.2.3.4,x,y,b"],
)
def test_a_crawler_without_range_or_name_is_a_bad_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "crawlers.csv"
    file.write_text(f"{CRAWLERS}{line}\n")
    found = load("crawlers", [file])
    assert (found.entries, found.bad_lines) == (4, 1)


# ---- countries


def database(folder: Path) -> Path:
    """The smallest database of countries: the whole of IPv4 is one, bit by bit unknown to none.

    Written by hand after the format's description: one node, both branches lead to the one
    datum, then the metadata.
    """

    def text(value: str) -> bytes:
        return bytes([0x40 | len(value)]) + value.encode()

    datum = b"\xe1" + text("country_code") + text("DE")
    nodes = 1
    leaf = (nodes + 16).to_bytes(3, "big")
    described = {
        "node_count": b"\xc1\x01",
        "record_size": b"\xa1\x18",
        "ip_version": b"\xa1\x04",
        "database_type": text("country"),
        "languages": b"\x01\x04" + text("en"),
        "binary_format_major_version": b"\xa1\x02",
        "binary_format_minor_version": b"\xa0",
        "build_epoch": b"\x01\x02\x01",
        "description": b"\xe1" + text("en") + text("a test"),
    }
    metadata = bytes([0xE0 | len(described)])
    metadata += b"".join(text(name) + value for name, value in described.items())
    file = folder / "country.mmdb"
    file.write_bytes(leaf * 2 + bytes(16) + datum + b"\xab\xcd\xefMaxMind.com" + metadata)
    return file


def test_the_country_is_looked_up(tmp_path: Path) -> None:
    lists = Lists({"country": (database(tmp_path),)})
    lists.load()
    for text, country in (("203.0.113.5", "DE"), ("2001:db8::1", None)):
        at = address.place(text)
        assert at
        network = Networks(lists).of(at, None, 1, 0, denied=True)
        assert network.country == country, "of IPv6 this database knows nothing"
        assert network.flags == NetworkFlag.COUNTRY_LOADED


def test_a_database_may_be_written_over_while_it_is_in_use(tmp_path: Path) -> None:
    file = database(tmp_path)
    lists = Lists({"country": (file,)})
    lists.load()
    with file.open("r+b") as opened:
        opened.truncate(10)
    for _look in range(2):
        lists.check()
    assert flags_of(lists, "203.0.113.5") == NetworkFlag.COUNTRY_LOADED


# ---- reloading


def put(file: Path, text: str) -> None:
    """Write a file with a time of its own: two writes of one test may share the clock's tick."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(text)
    os.utime(file, ns=(before + 10**9, before + 10**9))


def test_a_changed_file_is_in_force_once_it_stands_still(tmp_path: Path) -> None:
    file = tmp_path / "list"
    put(file, "192.0.2.0/24\n")
    lists = Lists({"datacentre_strict": (file,)})
    assert lists.addresses.version is None
    lists.load()
    version = lists.addresses.version
    assert version
    assert flags_of(lists, "192.0.2.1") == STRICT
    put(file, "198.51.100.0/24\n")
    lists.check()
    assert lists.addresses.version == version, "it may still be being written"
    put(file, "198.51.100.0/24\n203.0.113.0/24\n")
    lists.check()
    assert lists.addresses.version == version
    lists.check()
    assert lists.addresses.version not in (version, None)
    assert flags_of(lists, "192.0.2.1") == NetworkFlag.STRICT_LOADED
    assert flags_of(lists, "203.0.113.1") == STRICT
    in_force = lists.addresses
    lists.check()
    assert lists.addresses is in_force, "what has not changed is not read"


def test_a_list_that_went_bad_leaves_the_former_in_force(tmp_path: Path) -> None:
    file = tmp_path / "list"
    put(file, "192.0.2.0/24\n")
    lists = Lists({"datacentre_strict": (file,), "tor": (tmp_path / "absent",)})
    lists.load()
    assert flags_of(lists, "192.0.2.1") == STRICT, "a list that is not there claims nothing"
    in_force = lists.addresses
    for change in (lambda: put(file, "<html>\n"), lambda: put(file, ""), file.unlink):
        change()
        for _look in range(3):
            lists.check()
        assert lists.addresses is in_force
    put(file, "203.0.113.0/24\n")
    for _look in range(2):
        lists.check()
    assert flags_of(lists, "203.0.113.1") == STRICT


def test_the_version_is_of_all_that_is_in_the_lists(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    put(one, "192.0.2.0/24\n")
    put(two, "192.0.2.0/24\n")

    def version(**paths: Path) -> str | None:
        lists = Lists({name: (path,) for name, path in paths.items()})
        lists.load()
        return lists.addresses.version

    assert version(vpn=one) == version(vpn=two)
    assert version(vpn=one) != version(tor=one)
    assert version(vpn=one, tor=two) not in (version(vpn=one), version(tor=two))
    assert version() is None


def test_every_list_has_its_own_flags(tmp_path: Path) -> None:
    paths = {}
    for at, name in enumerate(("datacentre_strict", "datacentre_broad", "vpn", "tor")):
        put(tmp_path / name, f"192.0.{at}.0/24\n")
        paths[name] = (tmp_path / name,)
    lists = Lists(paths)
    lists.load()
    loaded = flags_of(lists, "203.0.113.1")
    assert loaded == (
        NetworkFlag.STRICT_LOADED
        | NetworkFlag.BROAD_LOADED
        | NetworkFlag.VPN_LOADED
        | NetworkFlag.TOR_LOADED
    )
    found = [flags_of(lists, f"192.0.{at}.1") & ~loaded for at in range(4)]
    assert found == [
        NetworkFlag.DATACENTRE_STRICT,
        NetworkFlag.DATACENTRE_BROAD,
        NetworkFlag.VPN,
        NetworkFlag.TOR,
    ]


# ---- disposable mail


def test_the_package_is_the_default() -> None:
    lists = Lists()
    assert not lists.disposable
    lists.load()
    assert lists.is_disposable("a@mailinator.com")
    assert lists.is_disposable("a@x.y.MAILINATOR.com.")
    assert not lists.is_disposable("a@example.org")
    assert list_files.package_version()


@pytest.mark.parametrize(
    ("email", "found"),
    [
        ("a@bin.example", True),
        ("a@sub.bin.example", True),
        ("a@xbin.example", False),
        ("a@example", False),
        ("a@b.bin", False),
        ("a@b@bin.example", True),
        ("bin.example", True),
        ("a@", False),
        ("", False),
        ("a@m\u00fcll.example", True),
        ("a@" + "\u00fc" * 300 + ".example", False),
        ("a@" + "x." * 2000, False),
    ],
)
def test_a_domain_or_what_it_is_part_of_is_looked_up(
    tmp_path: Path, email: str, found: bool
) -> None:
    file = tmp_path / "mail"
    file.write_text("# ours\nBIN.example\nxn--mll-hoa.example\nnot a domain\n")
    lists = Lists({"disposable_email": (file,)})
    lists.load()
    assert lists.is_disposable(email) == found
    assert lists.addresses.version is None, "it is no list of addresses"


# ---- at size


def test_a_large_list_agrees_with_the_standard_module(tmp_path: Path) -> None:
    chosen = random.Random(7)
    ranges = [
        ipaddress.ip_network((chosen.getrandbits(32), chosen.randint(12, 32)), strict=False)
        for _ in range(3000)
    ]
    file = tmp_path / "list"
    file.write_text("\n".join(map(str, ranges)))
    held = load("vpn", [file]).content
    probes = [chosen.getrandbits(32) for _ in range(200)]
    probes += [int(net.network_address) + chosen.randint(-1, 1) for net in ranges[:200]]
    for probe in probes:
        expected = 0 <= probe < 2**32 and any(
            int(net.network_address) <= probe <= int(net.broadcast_address) for net in ranges
        )
        assert held.holds(4, probe) == expected
