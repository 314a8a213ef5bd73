"""What `headwater doctor` says of the lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from courier_tools import add_firing
from headwater import clock
from headwater.config import Config
from headwater.courier.egress import Answer
from headwater.courier.service import result_of
from headwater.ledger import firings
from headwater.ops.doctor import Finding, _lists, _pixels
from ledger_tools import ledger_in


def found(**paths: Path) -> dict[str, Finding]:
    lists: dict[str, Any] = {f"lists_{name}": (path,) for name, path in paths.items()}
    settings = Config(**lists)
    return {finding.part: finding for finding in _lists(settings)}


def test_without_a_file_it_says_what_is_not_evaluated() -> None:
    said = found()
    assert set(said) == {"list bots", "list disposable_email", "lists"}
    assert all(finding.ok for finding in said.values())
    assert "package disposable-email-domains 0." in said["list disposable_email"].seen
    for name in ("datacentre_strict", "datacentre_broad", "vpn", "tor", "crawlers", "country"):
        assert name in said["lists"].seen


def test_a_good_list_is_told_with_path_age_entries_and_version(tmp_path: Path) -> None:
    file = tmp_path / "vpn.txt"
    file.write_text("192.0.2.0/24\n2001:db8::/32\n")
    changed_s = clock.now_ms() // 1000 - 3 * 86_400
    os.utime(file, (changed_s, changed_s))
    said = found(vpn=file)
    finding = said["list vpn"]
    assert finding.ok
    assert str(file) in finding.seen
    assert "changed 3 days ago: 2 entries, version " in finding.seen
    assert "vpn" not in said["lists"].seen


def test_bad_lines_are_told_with_the_first_of_them(tmp_path: Path) -> None:
    file = tmp_path / "tor.txt"
    file.write_text("192.0.2.0/24\nnonsense\n1.2.3.4/99\n")
    finding = found(tor=file)["list tor"]
    assert finding.ok
    assert "1 entries, 2 bad lines" in finding.seen
    assert finding.mend == "mend it from tor.txt line 2 on"


def test_a_list_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<html>\n")
    for path, why in ((tmp_path / "absent", "No such file"), (tmp_path / "page", "no good line")):
        finding = found(crawlers=path)["list crawlers"]
        assert not finding.ok
        assert why in finding.seen
        assert finding.mend


def test_partner_pixels_that_wait_or_are_disabled_are_told(tmp_path: Path) -> None:
    settings = Config(data=tmp_path, egress_allow=("10.0.0.0/8",))
    (reach,) = _pixels(settings)
    assert reach.seen.endswith("https, and 10.0.0.0/8")
    with ledger_in(tmp_path) as ledger:
        event = add_firing(ledger, "https://a.example/", due_ms=clock.now_ms())
        assert all(finding.ok for finding in _pixels(settings))
        claimed = firings.exchange(ledger, clock.now_ms(), [], {1: 1}).claimed
        gone = result_of(claimed[0], Answer(410, b"", None, None), clock.now_ms(), 1, 0)
        firings.exchange(ledger, clock.now_ms(), [gone], {})
        add_firing(ledger, "https://a.example/", pixel=2, due_ms=0)
        assert event
        said = {finding.part: finding for finding in _pixels(settings)}
    assert not said["courier"].ok
    assert said["pxl_1"].seen == "disabled: its server answered 410"


def test_the_list_of_crawlers_is_told_and_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    packaged = found()["list bots"]
    assert packaged.ok
    assert "package crawler-user-agents" in packaged.seen
    (tmp_path / "bots").write_text("# mine\nfoobot\nbarbot\n")
    named = found(bots=tmp_path / "bots")["list bots"]
    assert named.ok
    assert ": 2 patterns, version " in named.seen
    assert not found(bots=tmp_path / "gone")["list bots"].ok
