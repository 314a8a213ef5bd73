"""API keys: the deployment's admin key, who a request is from, and the routes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web

from headwater import ids, limits
from headwater.console import fields, paging, shapes, views
from headwater.console.answers import Answer
from headwater.console.catalog import written
from headwater.console.context import Console, Request, not_found, origin
from headwater.errors import RequestRefused
from headwater.ledger import access, queries
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import refused_field
from headwater.ledger.schema import keys

ADMIN_FILE: Final = "admin.key"
ADMIN: Final = "admin"
READ: Final = "read"
FINANCE: Final = "finance"
LOOKS: Final = (READ, FINANCE)
"""Who looks at what is a brand's or a partner's, within what the key is bound to."""

Key = dict[str, Any]
# Lets scanners of leaked secrets, and people, tell what a text is.
_PREFIX: Final = "hwk_"
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="headwater"'}


def new_secret() -> str:
    """A fresh key's text."""
    return _PREFIX + ids.token()


def digest(secret: str) -> str:
    """What is kept of a key: the hex SHA-256 of its text."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def ensure_admin_key(data: Path, ledger: Ledger) -> str:
    """The admin key in `data`/admin.key, made at the first call and registered in the ledger.

    Raises OSError when the file cannot be written; RequestRefused when the key was deleted.
    """
    file = data / ADMIN_FILE
    if not file.exists():
        data.mkdir(parents=True, exist_ok=True)
        _write_new(file, new_secret())
    secret = file.read_text("ascii").strip()
    access.register_key(ledger, digest(secret), [ADMIN])
    return secret


def _write_new(file: Path, secret: str) -> None:
    """Put the file in place whole, unless another process was first."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, f"{secret}\n".encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(partial, file)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def secret_of(request: web.BaseRequest) -> str | None:
    """The bearer key a request carries, None when it carries none that may be one."""
    scheme, _, secret = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    secret = secret.strip(" ")
    if scheme.lower() != "bearer" or not 0 < len(secret) <= limits.API_KEY_BYTES_MAX:
        return None
    return secret


def require_key(
    ledger: Ledger,
    secret: str | None,
    *,
    for_partners: bool = False,
    scopes: Collection[str] = (),
) -> Key:
    """The row of an admin key, or of a key of one of `scopes`; `for_partners`: or of a partner's
    key of scope `read`.

    Raises RequestRefused: unauthorized for no key, forbidden for a lesser one.

    Read at every request, so that a deleted key ends at once. Found by the hash of what was
    sent: how long that takes says nothing about the keys there are.
    """
    row = access.key_by_sha256(ledger, digest(secret)) if secret else None
    if row is None:
        raise RequestRefused("unauthorized", headers=_CHALLENGE)
    is_partners = for_partners and READ in row["scopes"] and row["partner_id"] is not None
    is_taken = not {ADMIN, *scopes}.isdisjoint(row["scopes"])
    if not is_partners and not is_taken:
        raise RequestRefused("forbidden")
    return row


def is_admin(key: Key) -> bool:
    """Whether the key reaches the whole deployment."""
    return ADMIN in key["scopes"]


# ---- Routes --------------------------------------------------------------------------------


async def create_key(console: Console, request: Request) -> Answer:
    body: shapes.KeyIn = request.body
    if ADMIN in body.scopes and (body.brand_id or body.partner_id):
        raise refused_field("scopes", "invalid", "an admin key reaches the whole deployment")
    if FINANCE in body.scopes and body.partner_id:
        raise refused_field("scopes", "invalid", "a partner does not decide on its own money")
    secret = new_secret()
    saved = await console.run(
        access.create_key,
        console.ledger,
        origin(body),
        sha256=digest(secret),
        scopes=sorted(set(body.scopes)),
        brand=body.brand_id and fields.parse_reference("brd", body.brand_id),
        partner=body.partner_id and fields.parse_reference("prt", body.partner_id),
    )
    if saved.created:
        view = views.key(saved.row, request.warnings, secret)
    else:
        view = views.key(saved.row, [*request.warnings, "the key was told when it was made"])
    await console.published(saved, view.id)
    return written(saved, view)


async def list_keys(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    rows = await console.run(
        queries.object_page,
        console.ledger,
        keys,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, views.key, paging.by_number))


async def delete_key(console: Console, request: Request) -> Answer:
    saved = await console.run(access.delete_key, console.ledger, request.reference("id", "key"))
    if saved is None:
        raise not_found()
    view = views.key(saved.row)
    await console.published(saved, view.id)
    return Answer(view)
