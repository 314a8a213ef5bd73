"""The query of a URL, read from the bytes as they came.

One rule for every route: pairs are separated by `&` alone, `+` is a space, percent-encoding is
decoded once, the first of two values wins, pairs past the limit are not looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from headwater import limits


def decode(raw: str) -> str:
    """A name or value decoded once; bytes that are no UTF-8 become U+FFFD."""
    if "%" not in raw and "+" not in raw and raw.isascii():
        return raw
    data = raw.replace("+", " ").encode("utf-8", "surrogateescape")
    return unquote_to_bytes(data).decode("utf-8", "replace")


class Query:
    """Parameters of one request; values are decoded when asked for."""

    __slots__ = ("_raw", "overflow", "repeated")

    def __init__(self, text: str) -> None:
        raw: dict[str, str] = {}
        repeated: list[str] = []
        pairs = text.split("&", limits.QUERY_PARAMETERS_MAX) if text else []
        self.overflow = len(pairs) > limits.QUERY_PARAMETERS_MAX
        """More parameters than are taken were sent."""
        for pair in pairs[: limits.QUERY_PARAMETERS_MAX]:
            if not pair:
                continue
            name, _, value = pair.partition("=")
            name = decode(name)
            if name in raw:
                repeated.append(name)
            else:
                raw[name] = value
        self._raw = raw
        self.repeated = repeated
        """Names that came more than once."""

    def __bool__(self) -> bool:
        return bool(self._raw)

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def get(self, name: str) -> str | None:
        """The first value of `name`, decoded, or None."""
        raw = self._raw.get(name)
        return None if raw is None else decode(raw)

    def raw(self, name: str) -> str | None:
        """The first value of `name` as it came, or None."""
        return self._raw.get(name)

    def without(self, names: Collection[str]) -> Query:
        """The same query as if `names` had not been sent."""
        left = Query("")
        left._raw = {name: raw for name, raw in self._raw.items() if name not in names}
        left.repeated = [name for name in self.repeated if name not in names]
        left.overflow = self.overflow
        return left

    def items(self) -> list[tuple[str, str]]:
        """Every name with its first value, decoded, in order."""
        return [(name, decode(raw)) for name, raw in self._raw.items()]


NO_QUERY = Query("")


def split_target(target: str) -> tuple[str, str]:
    """Path and query of a request target, both as they came, without a fragment."""
    if "#" in target:
        target = target.partition("#")[0]
    path, _, query = target.partition("?")
    return path, query
