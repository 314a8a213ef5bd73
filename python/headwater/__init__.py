"""Headwater: a tracking core for partner programs.

Clicks, identifies and conversions come in over HTTP, are buffered in Redis Streams, matched by a
deterministic engine written in Rust, and committed exactly once to an SQL ledger.
"""

__version__ = "0.1.0"
