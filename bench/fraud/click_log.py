"""A click log in the public layout of TalkingData's competition, with the shape published of it.

    python -m bench.fraud.click_log FILE [--clicks 100000] [--seed 1]

Made up from figures that were published of a sample of 100,000 clicks, none of which is copied:
227 clicks in 100,000 convert; half of the addresses have at most 2 clicks and one in a hundred 18
or more; the large apps convert hundreds of times more rarely than the small ones; addresses with
few clicks convert more often; from click to conversion pass 5 seconds to 13 hours, with a median
of 198 seconds, and each channel has a median of its own.
"""

from __future__ import annotations

import argparse
import csv
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

COLUMNS: Final = (
    *("ip", "app", "device", "os", "channel"),
    *("click_time", "attributed_time", "is_attributed"),
)
START_S: Final = 1_509_984_000
SPAN_S: Final = 3 * 86_400
_CONVERSIONS_IN_100_000: Final = 227
_APPS: Final = 180
_CHANNELS: Final = 160
_SYSTEMS: Final = 100
_SLOWEST_S: Final = 47_000


class Row(NamedTuple):
    """One click; `attributed_s` of one that converted."""

    ip: int
    app: int
    device: int
    os: int
    channel: int
    click_s: int
    attributed_s: int | None


class _Weighted:
    """Draws numbers by weight."""

    def __init__(self, random: Random, weights: Sequence[float]) -> None:
        self._random = random
        self._sums = list(accumulate(weights))

    def draw(self) -> int:
        return bisect_right(self._sums, self._random.random() * self._sums[-1])


class _World:
    """Apps, channels and addresses with their habits."""

    def __init__(self, random: Random, clicks: int) -> None:
        self.random = random
        shares = [1 / (1 + number) ** 1.4 for number in range(_APPS)]
        self.apps = _Weighted(random, shares)
        largest = shares[0]
        # A tenth of the share: about fifty times the rate.
        self.app_rates = [
            min((largest / share) ** 1.5 * random.lognormvariate(0.0, 0.8), 30_000.0)
            for share in shares
        ]
        self.channels_of = [
            [random.randrange(_CHANNELS) for _ in range(random.randint(1, 6))] for _ in shares
        ]
        self.channel_medians_s = [
            min(max(random.lognormvariate(math.log(200), 1.4), 32.0), 5594.0)
            for _ in range(_CHANNELS)
        ]
        self.channel_factors = [random.lognormvariate(0.0, 0.7) for _ in range(_CHANNELS)]
        people = [random.lognormvariate(0.0, 0.85) for _ in range(max(clicks // 3, 10))]
        carriers = [40 * (1 - random.random()) ** -0.8 for _ in range(max(len(people) // 250, 1))]
        self.address_weights = people + [min(weight, 800.0) for weight in carriers]
        self.addresses = _Weighted(random, self.address_weights)
        self.systems = _Weighted(random, [1 / (1 + number) for number in range(_SYSTEMS)])
        self.system_of: dict[int, tuple[int, int]] = {}

    def row(self, click_s: int) -> tuple[Row, float]:
        """A click, and how its chance to convert compares with others'."""
        random = self.random
        address, app = self.addresses.draw(), self.apps.draw()
        channel = random.choice(self.channels_of[app])
        weight = self.address_weights[address]
        if weight < 10 and address in self.system_of:
            device, system = self.system_of[address]
        else:
            device, system = 1 if random.random() < 0.94 else random.randrange(300), 0
            system = self.systems.draw()
            self.system_of[address] = (device, system)
        chance = self.app_rates[app] * self.channel_factors[channel] / max(weight, 0.3) ** 1.5
        return Row(address, app, device, system, channel, click_s, None), chance

    def delay_s(self, channel: int) -> int:
        """Most within the hour, the rest some time in the next half day."""
        random = self.random
        if random.random() < 0.27:
            return int(math.exp(random.uniform(math.log(3600), math.log(_SLOWEST_S))))
        drawn = random.lognormvariate(math.log(self.channel_medians_s[channel] / 2), 1.0)
        return int(min(5 + drawn, _SLOWEST_S))


def generate(clicks: int = 100_000, seed: int = 1) -> Iterator[Row]:
    """Clicks in order of time; of equal arguments always the same."""
    random = Random(seed)
    world = _World(random, clicks)
    times = sorted(START_S + int(_hourly(random) * SPAN_S) for _ in range(clicks))
    drawn = [world.row(click_s) for click_s in times]
    total = sum(chance for _, chance in drawn)
    scale = _CONVERSIONS_IN_100_000 * clicks / 100_000 / total
    for row, chance in drawn:
        if random.random() < min(scale * chance, 0.5):
            yield row._replace(attributed_s=row.click_s + world.delay_s(row.channel))
        else:
            yield row


def _hourly(random: Random) -> float:
    """A place in the span: three days, each busier by day than by night."""
    while True:
        place = random.random()
        if random.random() < 0.6 + 0.4 * math.sin(2 * math.pi * (3 * place - 0.25)):
            return place


def time_text(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def write(path: Path, rows: Iterator[Row]) -> int:
    """Write rows in the public layout; how many there were."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            attributed = "" if row.attributed_s is None else time_text(row.attributed_s)
            is_attributed = int(row.attributed_s is not None)
            writer.writerow((*row[:5], time_text(row.click_s), attributed, is_attributed))
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--clicks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{write(options.file, generate(options.clicks, options.seed))} clicks")


if __name__ == "__main__":
    main()
