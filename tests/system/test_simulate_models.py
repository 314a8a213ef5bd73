"""`headwater simulate` under the other attribution models, class orders, windows and walks.

Each case sends one story under the default rules, changes one of them, and names the shares of
the three partners, in parts per million, before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from simulate_tools import DAY_MS, HOUR_MS, T0, Scene, customer, event_id_of, profile, scene_in

Shares = tuple[int, int, int]

SALE_MS: Final = T0 + 5 * DAY_MS
NOBODY: Final = (0, 0, 0)
FIRST: Final = (1_000_000, 0, 0)
SECOND: Final = (0, 1_000_000, 0)
LAST: Final = (0, 0, 1_000_000)
# Flags of a click: one the visitor did not choose, and a view.
SOFT_CLICK: Final = 32
IMPRESSION: Final = 64


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with scene_in(tmp_path) as made:
        yield made


def shares(scene: Scene, report: Any, side: str) -> Shares:
    by_partner = {each["partner_id"]: each[f"{side}_ppm"] for each in report["partners"]}
    first, second, third = (by_partner.get(f"prt_{number}", 0) for number in scene.partners)
    return (first, second, third)


# ---- Stories: what is sent before the only sale, which comes with visitor 1 -----------------


def three_clicks(scene: Scene) -> None:
    """Each partner's, two days, one day and no time before the sale."""
    for partner, days in ((0, 2), (1, 1), (2, 0)):
        at_ms = SALE_MS - days * DAY_MS
        scene.send(at_ms, scene.click(at_ms, partner, who=1))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1))


def two_clicks(scene: Scene) -> None:
    """The first partner's twice, then the second's."""
    for partner, hours in ((0, 3), (0, 2), (1, 1)):
        at_ms = SALE_MS - hours * HOUR_MS
        scene.send(at_ms, scene.click(at_ms, partner, who=1))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1))


def click_then_soft_click_then_impression(scene: Scene) -> None:
    for partner, hours, flags in ((0, 9, 0), (1, 6, SOFT_CLICK), (2, 3, IMPRESSION)):
        at_ms = SALE_MS - hours * HOUR_MS
        scene.send(at_ms, scene.click(at_ms, partner, who=1, flags=flags))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1))


def soft_click_alone(scene: Scene) -> None:
    at_ms = SALE_MS - 6 * HOUR_MS
    scene.send(at_ms, scene.click(at_ms, 1, who=1, flags=SOFT_CLICK))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1))


def impression_alone(scene: Scene) -> None:
    at_ms = SALE_MS - 6 * HOUR_MS
    scene.send(at_ms, scene.click(at_ms, 2, who=1, flags=IMPRESSION))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1))


def older_click_named(scene: Scene) -> None:
    """The sale names the first partner's click; the second's is newer."""
    older = scene.click(SALE_MS - 2 * HOUR_MS, 0, who=1)
    scene.send(SALE_MS - 2 * HOUR_MS, older)
    scene.send(SALE_MS - HOUR_MS, scene.click(SALE_MS - HOUR_MS, 1, who=1))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1, click_id=event_id_of(older)))


def click_two_links_away(scene: Scene) -> None:
    """The sale names a customer, known by a profile, which was seen with the click's visitor."""
    at_ms = SALE_MS - 2 * HOUR_MS
    scene.send(at_ms, scene.click(at_ms, 0, who=1, identifiers=[profile(1)]))
    scene.send(at_ms, scene.identify(at_ms, customer(1), profile(1)))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1, only=(customer(1),)))


def visitor_shared_by_two_customers(scene: Scene) -> None:
    """The newer of two logins on one browser buys."""
    for hours, who in ((9, 1), (3, 2)):
        at_ms = SALE_MS - hours * HOUR_MS
        scene.send(at_ms, scene.click(at_ms, who - 1, who=1, identifiers=[customer(who)]))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1, only=(customer(2),)))


def click_of_three_days_ago(scene: Scene) -> None:
    at_ms = SALE_MS - 3 * DAY_MS
    scene.send(at_ms, scene.click(at_ms, 0, who=1))
    scene.send(SALE_MS, scene.sale(SALE_MS, 1, who=1))


CASES: Final[list[tuple[Callable[[Scene], None], list[str], Shares, Shares]]] = [
    (three_clicks, ["model=first_click"], LAST, FIRST),
    (three_clicks, ["model=linear"], LAST, (333_334, 333_333, 333_333)),
    (three_clicks, ["model=position"], LAST, (400_000, 200_000, 400_000)),
    (three_clicks, ["model=position", "position=50/20/30"], LAST, (500_000, 200_000, 300_000)),
    (three_clicks, ["model=time_decay", "half_life_days=1"], LAST, (142_857, 285_714, 571_429)),
    (three_clicks, ["model=linear", "click_window_days=2"], LAST, (0, 500_000, 500_000)),
    (two_clicks, ["model=linear"], SECOND, (500_000, 500_000, 0)),
    (two_clicks, ["model=position"], SECOND, (500_000, 500_000, 0)),
    (two_clicks, ["model=position", "position=60/0/40"], SECOND, (600_000, 400_000, 0)),
    (two_clicks, ["model=linear", "per_partner_latest=false"], SECOND, (666_667, 333_333, 0)),
    (two_clicks, ["model=first_click", "per_partner_latest=true"], SECOND, FIRST),
    (click_then_soft_click_then_impression, ["class_order=soft_click,click"], FIRST, SECOND),
    (click_then_soft_click_then_impression, ["class_order=impression,click"], FIRST, LAST),
    (soft_click_alone, ["class_order=exclusive_coupon,click,impression"], SECOND, NOBODY),
    (soft_click_alone, ["soft_click_window_seconds=18000"], SECOND, NOBODY),
    (soft_click_alone, ["soft_click_window_seconds=25200"], SECOND, SECOND),
    (impression_alone, ["impression_window_seconds=18000"], LAST, NOBODY),
    (impression_alone, ["class_order=click,soft_click"], LAST, NOBODY),
    (older_click_named, ["explicit_click=candidate"], FIRST, SECOND),
    (click_two_links_away, ["hops_max=1"], FIRST, NOBODY),
    (click_two_links_away, ["hops_max=2"], FIRST, FIRST),
    (click_two_links_away, ["members_max=2"], FIRST, NOBODY),
    (click_two_links_away, ["neighbours_max=1"], FIRST, NOBODY),
    (visitor_shared_by_two_customers, ["on_conflict=isolate"], SECOND, NOBODY),
    (click_of_three_days_ago, ["click_window_days:sale=2"], FIRST, NOBODY),
    (click_of_three_days_ago, ["click_window_days=2", "click_window_days:sale=4"], FIRST, FIRST),
]


@pytest.mark.parametrize(
    ("story", "changes", "before", "after"),
    CASES,
    ids=[f"{story.__name__}-{'-'.join(changes)}" for story, changes, _, _ in CASES],
)
def test_credit_moves_as_the_rules_say(
    scene: Scene,
    capsys: Any,
    story: Callable[[Scene], None],
    changes: list[str],
    before: Shares,
    after: Shares,
) -> None:
    story(scene)
    report = scene.simulate(capsys, *changes)
    assert (shares(scene, report, "before"), shares(scene, report, "after")) == (before, after)
    assert report["conversions_moved"] == (before != after)
    assert report["ledger"]["differing"] == report["ledger"]["missing"] == 0
