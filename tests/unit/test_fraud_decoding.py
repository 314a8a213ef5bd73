"""What scoring found: from the engine's bytes to what people, brands and partners are told."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import msgspec
import pytest

import signal_tools
from fraud_tools import finding, fraud_bytes
from headwater.console import fraud_views
from headwater.edge import decide
from headwater.ledger.decisions import decision
from headwater.model import fraud
from headwater.model.signals import MODES, Signal, by_number, signals

HALF = fraud.SEVERITY_WHOLE // 2


def test_the_table_is_the_engines() -> None:
    assert [tuple(signal) for signal in signals().values()] == signal_tools.table()
    assert list(by_number()) == sorted(by_number())
    assert {signal.mode for signal in signals().values()} <= set(MODES)
    assert {signal.stage for signal in signals().values()} == {"click", "conversion", "source"}
    assert {signal.hardness for signal in signals().values()} == {
        *("soft", "filters", "rejects", "counts")
    }
    assert [code for code, signal in signals().items() if signal.less_is_worse] == [
        *("CTIT_TOO_SHORT", "COLLISION", "LAST_CLICK_HIJACK")
    ]


def test_a_score_is_told_whole() -> None:
    raw = fraud_bytes(
        finding("IP_VELOCITY", points=38, severity=HALF, observed=21, threshold=10),
        finding("REF_FORCED_CLICK", points=2, mode="enforce"),
        finding("GIVT_DATACENTER", mode="shadow"),
        not_evaluated=("ANONYMOUS_IP", "GIVT_KNOWN_CRAWLER"),
    )
    told = fraud_views.detail({"fraud": raw, "score": 40, "verdict": "review"})
    assert told is not None
    assert msgspec.to_builtins(told) == {
        "score": 40,
        "verdict": "review",
        "ivt_class": "none",
        "codes": [
            {
                "code": "IP_VELOCITY",
                "family": "velocity",
                "severity_percent": 50,
                "weight": 50,
                "points": 38,
                "mode": "score",
                "observed": 21,
                "threshold": 10,
                "unit": "clicks",
                "window": 3600,
                "meaning": signals()["IP_VELOCITY"].meaning,
            },
            {
                "code": "REF_FORCED_CLICK",
                "family": "request",
                "severity_percent": 100,
                "weight": 80,
                "points": 2,
                "mode": "enforce",
                "observed": 1,
                "threshold": 1,
                "unit": "flag",
                "window": None,
                "meaning": signals()["FORCED_CLICK"].meaning,
            },
            {
                "code": "GIVT_DATACENTER",
                "family": "network",
                "severity_percent": 100,
                "weight": 60,
                "points": 0,
                "mode": "shadow",
                "observed": 1,
                "threshold": 1,
                "unit": "flag",
                "window": None,
                "meaning": signals()["GIVT_DATACENTER"].meaning,
            },
        ],
        "not_evaluated": ["GIVT_KNOWN_CRAWLER", "ANONYMOUS_IP"],
        "config_hash": bytes(range(16)).hex(),
        "lists": {"bots": "bots-1", "addresses": None},
    }


@pytest.mark.parametrize(
    ("verdict", "told"),
    [("accept", "none"), ("review", "none"), ("reject", "SIVT"), ("filtered", "GIVT")],
)
def test_the_class_of_traffic_follows_the_verdict(verdict: str, told: str) -> None:
    found = fraud_views.detail({"fraud": fraud_bytes(), "score": 0, "verdict": verdict})
    assert found is not None
    assert found.ivt_class == told


def test_what_was_not_scored_says_so() -> None:
    assert fraud_views.detail({"fraud": b"", "score": 0, "verdict": "accept"}) is None
    assert fraud.scored(b"") is None
    assert fraud.codes(b"") == []


def test_a_signal_of_a_later_version_is_told_by_its_number() -> None:
    raw = fraud_bytes([63, False, 9, 1, 2, 3, 4, 5])
    told = fraud_views.detail({"fraud": raw, "score": 3, "verdict": "accept"})
    assert told is not None
    (code,) = told.codes
    assert (code.code, code.family, code.mode) == ("SIGNAL_63", "unknown", "unknown")


def test_a_decision_tells_the_codes_that_had_an_effect() -> None:
    raw = fraud_bytes(finding("S2S_FORCED", points=100), finding("GEO_MISMATCH", mode="shadow"))
    told = decision(bytes(16), 1, "rejected", "fraud_rejected", [], ("reject", 100, raw))
    assert told["fraud"] == {"score": 100, "verdict": "reject", "codes": ["S2S_FORCED"]}
    assert decide.fraud_for_partners(told["fraud"]) == {
        "score": None,
        "verdict": "reject",
        "codes": [],
    }


# ---- What a signal in shadow would do


def naive_score(found: fraud.Scored, shadow: fraud.Finding) -> Fraction:
    """By fractions, family by family."""
    families: dict[str, Fraction] = {}
    for each in (*found.findings, shadow):
        if each.is_shadow and each is not shadow:
            continue
        value = Fraction(each.weight, 100) * Fraction(each.severity, fraud.SEVERITY_WHOLE)
        family = by_number()[each.number].family
        families[family] = max(families.get(family, Fraction(0)), value)
    genuine = Fraction(1)
    for value in families.values():
        genuine *= 1 - value
    return 100 * (1 - genuine)


def test_a_soft_signal_in_shadow_would_bring_review_from_the_threshold_on() -> None:
    """Method: all pairs of a few signals and severities against fractions."""
    soft = [signal for signal in signals().values() if signal.hardness == "soft"][:9]
    severities = (fraud.SEVERITY_WHOLE // 4, HALF, fraud.SEVERITY_WHOLE)
    seen = set()
    for one, other, severity in product(soft, soft, severities):
        raw = fraud_bytes(
            finding(one.code, severity=severity),
            finding(other.code, severity=severity, mode="shadow"),
        )
        found = fraud.scored(raw)
        assert found is not None
        score = int(naive_score(found, found.findings[1]) + Fraction(1, 2))
        would_be = fraud.would_be("accept", found, found.findings[1], 40)
        assert would_be == ("review" if score >= 40 else "accept")
        seen.add(would_be)
    assert seen == {"review", "accept"}


@pytest.mark.parametrize(
    ("code", "verdict", "would_be"),
    [
        ("GIVT_KNOWN_CRAWLER", "accept", "filtered"),
        ("GIVT_KNOWN_CRAWLER", "reject", "filtered"),
        ("IMAGE_CLICK", "review", "reject"),
        ("IMAGE_CLICK", "filtered", "filtered"),
        ("FORCED_CLICK", "reject", "reject"),
        ("DUPLICATE_CLICK", "accept", "accept"),
    ],
)
def test_a_hard_signal_in_shadow_would_decide(code: str, verdict: str, would_be: str) -> None:
    found = fraud.scored(fraud_bytes(finding(code, mode="shadow")))
    assert found is not None
    assert fraud.would_be(verdict, found, found.findings[0], 40) == would_be


def test_each_signal_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    from headwater.cli import reasons

    reasons()
    lines = capsys.readouterr().out.splitlines()
    for signal in signals().values():
        (line,) = [line for line in lines if line.startswith(f"{signal.code} ")]
        assert signal.meaning in line
        assert signal.family in line
    assert any(line.startswith("fraud_rejected ") for line in lines)
    effects = {code: signal.effect for code, signal in signals().items()}
    assert effects["GIVT_KNOWN_CRAWLER"] == "filters"
    assert effects["IMAGE_CLICK"] == "rejects"
    assert effects["FORCED_CLICK"] == "weight 80"
    assert effects["IP_VELOCITY"] == "weight 50 from 10 to 30 clicks in 3600 s"
    assert effects["BRAND_BIDDING"] == "off; weight 70"
    assert effects["CLICK_FLOODING"] == "weight 80 from 1000 clicks"


def test_a_signal_is_a_row_of_the_table() -> None:
    assert Signal._fields == (
        *("number", "code", "family", "stage", "hardness", "mode", "weight", "low", "high"),
        *("unit", "window_s", "meaning"),
    )
