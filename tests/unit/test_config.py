"""Configuration: later sources win, and every fault is said at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import config
from headwater.errors import ConfigError
from headwater.ops.supervisor import environment_of


def load(
    options: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
    file: Path | None = None,
) -> config.Config:
    return config.load(options or {}, environment or {}, file or Path("no-such-file"))


def test_options_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "headwater.toml"
    file.write_text("port = 1001\nconsole_port = 1002\nedges = 3\n")
    environment = {"HEADWATER_CONSOLE_PORT": "2002", "HEADWATER_EDGES": "4"}
    settings = load({"edges": 5}, environment, file)
    assert (settings.port, settings.console_port, settings.edges) == (1001, 2002, 5)


def test_an_option_that_was_not_given_changes_nothing() -> None:
    assert load({"port": None}).port == 8080


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "headwater.toml"
    file.write_text('prot = 1\nedges = "many"\n')
    with pytest.raises(ConfigError) as caught:
        load({"port": 70_000}, {"HEADWATER_LEASE_MS": "5s", "HEADWATER_NOPE": "1"}, file)
    text = "\n".join(caught.value.faults)
    for part in ("prot", "edges", "lease_ms", "nope", "port: from 0 to 65535"):
        assert part in text
    assert len(caught.value.faults) == 5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADWATER_SPOOL_BYTES_MAX", "4GiB"),
        ("HEADWATER_EDGES", "0"),
        ("HEADWATER_EDGES", "٣"),
        ("HEADWATER_ALLOW_UNSAFE_REDIS", "maybe"),
        ("HEADWATER_TRUSTED_PROXIES", "10.0.0.0/8,nonsense"),
        ("HEADWATER_LOG_LEVEL", "loud"),
        ("HEADWATER_PUBLIC_URL", "track.example"),
        ("HEADWATER_PUBLIC_URL", "https://track.example/"),
        ("HEADWATER_PUBLIC_URL", "https://track.example/path"),
        ("HEADWATER_PUBLIC_URL", "javascript://track.example"),
        ("HEADWATER_PUBLIC_URL", "https://user@track.example"),
    ],
)
def test_a_wrong_value_is_refused(variable: str, value: str) -> None:
    with pytest.raises(ConfigError):
        load(environment={variable: value})


def test_partner_pixels_reach_what_the_operator_names() -> None:
    given = {"HEADWATER_EGRESS_ALLOW": "10.0.0.0/8, fd00::/8", "HEADWATER_EGRESS_HTTP": "true"}
    settings = load(environment=given)
    assert settings.egress_allow == ("10.0.0.0/8", "fd00::/8")
    assert settings.egress_http
    assert not load().egress_allow
    assert not load().egress_http
    with pytest.raises(ConfigError):
        load(environment={"HEADWATER_EGRESS_ALLOW": "10.0.0.1/8"})


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "headwater.toml"
    file.write_text("port = = 3")
    with pytest.raises(ConfigError):
        load(file=file)


@pytest.mark.parametrize("url", ["", "https://track.example", "http://127.0.0.1:8080"])
def test_links_may_have_an_address_of_their_own(url: str) -> None:
    assert load(environment={"HEADWATER_PUBLIC_URL": url}).public_url == url


@pytest.mark.parametrize(("name", "bounds"), sorted(config._RANGES.items()))
def test_bounds_of_numbers(name: str, bounds: tuple[int, int]) -> None:
    low, high = bounds
    assert getattr(load({name: low}), name) == low
    assert getattr(load({name: high}), name) == high
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError):
            load({name: value})


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_environment_gives_settings_or_faults(name: str, value: str) -> None:
    with contextlib.suppress(ConfigError):
        load(environment={f"HEADWATER_{name}": value})


def test_lists_are_a_section_of_the_file_and_variables(tmp_path: Path) -> None:
    file = tmp_path / "headwater.toml"
    file.write_text('port = 1\n[lists]\nvpn = "/a/vpn.txt"\ntor = ["/a/t4", "/a/t6"]\n')
    settings = load(environment={"HEADWATER_LISTS_CRAWLERS": "/b/c.csv, /b/d.csv"}, file=file)
    assert settings.port == 1
    assert settings.lists == {
        "datacentre_strict": (),
        "datacentre_broad": (),
        "vpn": (Path("/a/vpn.txt"),),
        "tor": (Path("/a/t4"), Path("/a/t6")),
        "crawlers": (Path("/b/c.csv"), Path("/b/d.csv")),
        "country": (),
        "disposable_email": (),
    }


def test_every_process_of_a_system_reads_the_same_lists(tmp_path: Path) -> None:
    """A child is told all settings in force by its environment, and may run in another folder."""
    given = load(environment={"HEADWATER_LISTS_TOR": "near.txt,/far/tor.txt"})
    assert given.lists["tor"] == (Path("near.txt").absolute(), Path("/far/tor.txt"))
    child = load(environment=environment_of(given))
    assert child.lists == given.lists


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[lists]\nvpm = "/a"\n', "lists_vpm"),
        ("[lists]\nvpn = 5\n", "lists_vpn: needs a path"),
        ("[lists]\nvpn = [5]\n", "lists_vpn: needs a path"),
        ('[lists]\nvpn = ["/a,b"]\n', "no comma"),
        ('[lists]\ncountry = ["/a", "/b"]\n', "takes one file"),
        ("lists = 5\n", "unknown key 'lists'"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "headwater.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(file=file)
