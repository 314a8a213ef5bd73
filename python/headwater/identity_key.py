"""The deployment's key of identifier digests, kept in a file of the data folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from headwater import ids
from headwater.errors import ConfigError

FILE = "identity.key"
KEY_BYTES = 32


def load_or_create(data: Path) -> bytes:
    """The 32 bytes in `identity.key`, made on the first start by whichever process is first.

    Raises ConfigError when the file holds anything else: with another key no identifier would
    meet what was recorded before.
    """
    path = data / FILE
    if not path.exists():
        _create(path)
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError([f"{path} does not hold {KEY_BYTES} bytes in hex; restore it"])
    return key


def _create(path: Path) -> None:
    """Write the whole file aside, then give it its name unless another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{ids.producer_id():x}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(ids.secret_key().hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()
