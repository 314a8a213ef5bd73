"""The rules of docs/identity.md once more, written to be read and not to be fast.

A test holds the engine to it. Nothing is kept but what the rules name: at each identifier the ends
of its links, and its clicks. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.identity.parting import Hop, Key, is_customer, isolated, last_login

from headwater.model.records import IdentifierType, Trust

DAY_MS = 86_400_000
LIFETIME_MS = {
    IdentifierType.CUSTOMER: 400 * DAY_MS,
    IdentifierType.PROFILE: 400 * DAY_MS,
    IdentifierType.EMAIL: 400 * DAY_MS,
    IdentifierType.PHONE: 400 * DAY_MS,
    IdentifierType.DEVICE: 180 * DAY_MS,
    IdentifierType.CLICK: 400 * DAY_MS,
    IdentifierType.EXTERNAL_CLICK: 90 * DAY_MS,
    IdentifierType.VISITOR: 90 * DAY_MS,
}
OBSERVATION_MAX = 8
ENDS_MAX = 49
CLICKS_MAX = 64


class Link(NamedTuple):
    """What is known of a link; a browser's and a server's are two."""

    first_known_ms: int
    last_ms: int
    event_id: bytes


class End(NamedTuple):
    """A link as it is seen from one of the two identifiers."""

    to: Key
    trust: Trust
    first_known_ms: int
    last_ms: int


class Moment(NamedTuple):
    occurred_ms: int
    known_ms: int


class Rules(NamedTuple):
    """How a walk goes. Trust SERVER: servers' links only; BROWSER: all."""

    trust: Trust = Trust.BROWSER
    members_max: int = 64
    hops_max: int = 8
    neighbours_max: int = 48
    on_conflict: str = "last_auth"


class Click(NamedTuple):
    touch_ms: int
    click_id: bytes


@dataclass
class Answer:
    """What a walk found; members in the order they were met."""

    members: list[Key] = field(default_factory=list)
    hubs: set[Key] = field(default_factory=set)
    cut: list[Hop] = field(default_factory=list)
    is_truncated: bool = False


def expiry_ms(one: Key, two: Key, last_ms: int) -> int:
    return last_ms + min(LIFETIME_MS[IdentifierType(key[0])] for key in (one, two))


def linkable(trust: Trust, identifiers: Iterable[Key]) -> list[Key]:
    """What of an event's identifiers may be linked, the strongest first."""
    keys = sorted(set(identifiers))
    if sum(kind == IdentifierType.CUSTOMER for kind, _ in keys) > 1:
        return []
    if trust == Trust.BROWSER:
        persons = [key for key in keys if key[0] <= IdentifierType.PHONE]
        dropped = {*persons[1:], *(key for key in keys if key[0] == IdentifierType.DEVICE)}
        keys = [key for key in keys if key not in dropped]
    return keys[:OBSERVATION_MAX]


def star(keys: Sequence[Key]) -> list[tuple[Key, Key]]:
    """The pairs that one event links: the strongest with each, and so for each digest of an
    address if that is the strongest."""
    anchors = 1
    if keys and keys[0][0] == IdentifierType.EMAIL:
        anchors = sum(key[0] == IdentifierType.EMAIL for key in keys)
    return [(keys[at], other) for at in range(min(anchors, len(keys))) for other in keys[at + 1 :]]


class Reference:
    """One brand's identifiers, links and clicks."""

    def __init__(self) -> None:
        self.links: dict[tuple[Key, Key, Trust], Link] = {}
        """By the two identifiers in their order, and the trust."""
        self.ends: dict[Key, set[tuple[Key, Trust]]] = {}
        """The neighbours that each identifier keeps."""
        self.clicks: dict[Key, list[Click]] = {}

    def observe(
        self, event_id: bytes, accept_ms: int, at_ms: int, trust: Trust, keys: Iterable[Key]
    ) -> None:
        """Takes in that an event named these identifiers together."""
        new = Link(accept_ms, min(at_ms, accept_ms), event_id)
        for one, two in star(linkable(trust, keys)):
            old = self.links.get((one, two, trust), new)
            newest = min(old, new, key=lambda link: (-link.last_ms, link.event_id))
            first_known_ms = min(old.first_known_ms, new.first_known_ms)
            self.links[one, two, trust] = newest._replace(first_known_ms=first_known_ms)
            self.ends.setdefault(one, set()).add((two, trust))
            self.ends.setdefault(two, set()).add((one, trust))
            self._keep_the_best(one, trust)
            self._keep_the_best(two, trust)

    def _keep_the_best(self, own: Key, trust: Trust) -> None:
        """Lets the worst link go if an identifier has one too many; none keeps what is gone."""
        kept = self.ends[own]
        rivals = [self._end(own, to, of) for to, of in kept if of == trust]
        if len(rivals) > ENDS_MAX:
            worst = max(rivals, key=lambda end: (-expiry_ms(own, end.to, end.last_ms), end.to))
            kept.remove((worst.to, trust))
            if (own, trust) not in self.ends[worst.to]:
                del self.links[min(own, worst.to), max(own, worst.to), trust]

    def _end(self, own: Key, to: Key, trust: Trust) -> End:
        link = self.links[min(own, to), max(own, to), trust]
        return End(to, trust, link.first_known_ms, link.last_ms)

    def click(self, click_id: bytes, touch_ms: int, trust: Trust, keys: Iterable[Key]) -> None:
        """Keeps a click under its visitor, or else the strongest identifier it came with; of a
        browser's only another system's click id, and of two customers neither."""
        listed = sorted(set(keys))
        visitors = [key for key in listed if key[0] == IdentifierType.VISITOR]
        if [key[0] for key in listed].count(IdentifierType.CUSTOMER) > 1:
            listed = []
        if trust == Trust.BROWSER:
            listed = [key for key in listed if key[0] == IdentifierType.EXTERNAL_CLICK]
        for key in (visitors or listed)[:1]:
            line = self.clicks.setdefault(key, [])
            line.append(Click(touch_ms, click_id))
            line.sort()
            del line[:-CLICKS_MAX]

    def _unexpired(self, own: Key, at: Moment) -> list[End]:
        return [
            end
            for end in (self._end(own, *kept) for kept in self.ends.get(own, ()))
            if end.first_known_ms <= at.known_ms
            and at.occurred_ms < expiry_ms(own, end.to, end.last_ms)
        ]

    def live(self, own: Key, at: Moment, trust: Trust) -> list[End]:
        """The links that both ends keep, in the order of the walk."""
        both = [
            end
            for end in self._unexpired(own, at)
            if end.trust <= trust and (own, end.trust) in self.ends[end.to]
        ]
        return sorted(both, key=lambda end: (-end.last_ms, end.to, end.trust))

    def is_hub(self, own: Key, at: Moment, trust: Trust, rules: Rules) -> bool:
        near = {end.to for end in self._unexpired(own, at) if end.trust <= trust}
        return len(near) > rules.neighbours_max

    def resolve(self, starts: Iterable[Key], at: Moment, rules: Rules) -> Answer:
        """The members of the person that the starts name."""
        answer = Answer()
        first: list[Key] = []
        listed = sorted(set(starts))
        for number, key in enumerate(listed):
            if number > 0 and is_customer(key):
                answer.cut.append(Hop(listed[0], key, rules.trust, at.occurred_ms))
            elif self.is_hub(key, at, Trust.SERVER, rules):
                answer.hubs.add(key)
            else:
                first.append(key)
        answer.members = first[: rules.members_max]
        answer.is_truncated = len(first) > rules.members_max
        self._walk(answer, at, rules)
        if sum(map(is_customer, answer.members)) > 1:
            self._part(answer, first, at, rules)
        return answer

    def _walk(self, answer: Answer, at: Moment, rules: Rules) -> None:
        """Breadth first, from the members there are."""
        steps = dict.fromkeys(answer.members, 0)
        for key in answer.members:
            crossed_by = rules.trust
            if self.is_hub(key, at, rules.trust, rules):
                answer.hubs.add(key)
                crossed_by = Trust.SERVER
            if steps[key] == rules.hops_max:
                continue
            for end in self.live(key, at, crossed_by):
                if end.to in steps:
                    continue
                if self.is_hub(end.to, at, end.trust, rules):
                    answer.hubs.add(end.to)
                elif len(steps) == rules.members_max:
                    answer.is_truncated = True
                    return
                else:
                    steps[end.to] = steps[key] + 1
                    answer.members.append(end.to)

    def _part(self, answer: Answer, starts: list[Key], at: Moment, rules: Rules) -> None:
        """Two persons have met: cuts links until the rest is one."""
        met = set(answer.members)
        hub_at = {(k, trust) for k in met for trust in Trust if self.is_hub(k, at, trust, rules)}
        hops = {
            Hop(min(key, end.to), max(key, end.to), end.trust, end.last_ms)
            for key in met
            for end in self.live(key, at, rules.trust)
            if end.to in met and not {(key, end.trust), (end.to, end.trust)} & hub_at
        }
        if rules.on_conflict == "last_auth":
            kept, cut = last_login(met, starts, hops)
        else:
            kept, cut = isolated(met, starts, hops)
        answer.cut += cut
        answer.members = [key for key in answer.members if key in kept]

    def touches(self, starts: Iterable[Key], at_ms: int, window_ms: int) -> list[Click]:
        """The clicks of the members in the window, the newest first."""
        answer = self.resolve(starts, Moment(at_ms, at_ms), Rules())
        found = [
            click
            for key in answer.members
            for click in self.clicks.get(key, [])
            if at_ms - window_ms < click.touch_ms <= at_ms
        ]
        return sorted(found, reverse=True)
