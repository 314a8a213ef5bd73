"""What is looked for when an erasure is to have gone everywhere."""

from __future__ import annotations

from pathlib import Path


def held_in(folder: Path, digest: bytes) -> list[str]:
    """The files that hold a digest."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and digest in path.read_bytes()
    ]
