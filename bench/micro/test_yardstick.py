"""What the other micro-benchmarks are divided by: a piece of work that no change of ours touches.

Half of it is the interpreter's, half memory's and the hash function's, as with what it measures.
"""

from __future__ import annotations

import hashlib
from typing import Any

TEXTS = [f"visitor-{number}" for number in range(512)]


def work() -> int:
    seen: dict[bytes, int] = {}
    for number, text in enumerate(TEXTS):
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        seen[key] = seen.get(key, 0) + number
    return sum(seen.values())


def test_yardstick(benchmark: Any) -> None:
    assert benchmark(work) == sum(range(512))
