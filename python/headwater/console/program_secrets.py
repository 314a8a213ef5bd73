"""Routes of a program's secrets: those its links are signed with, and those Shopify signs with."""

from __future__ import annotations

from headwater import ids
from headwater.console import catalog, shapes, views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found
from headwater.ledger import program_secrets
from headwater.ledger.objects import Saved
from headwater.ledger.program_secrets import LINKS, SHOPIFY, Column
from headwater.model import sealing, signing


async def create_link_secret(console: Console, request: Request) -> Answer:
    """A secret, told this once; of earlier ones the newest stays valid."""
    salt = ids.link_salt()
    saved = await _added(console, request, LINKS, salt)
    key = await console.identity_key()
    view = views.LinkSecret(
        program_id=ids.object_text("prg", saved.row["id"]),
        secret=signing.secret(key, saved.row["id"], salt),
        valid=len(saved.row[LINKS]),
    )
    return Answer(view, 201)


async def retire_link_secrets(console: Console, request: Request) -> Answer:
    """From now on the newest secret alone is valid."""
    return await _retired(console, request, LINKS)


async def create_shopify_secret(console: Console, request: Request) -> Answer:
    """Take the secret that a shop signs its webhooks with; it is never told again."""
    body: shapes.ShopifySecretIn = request.body
    number = (await catalog.program_row(console, request))["id"]
    key = await console.identity_key()
    sealed = sealing.seal(key, signing.SHOPIFY, number, body.secret, ids.nonce())
    saved = await _added(console, request, SHOPIFY, sealed)
    program = ids.object_text("prg", number)
    return Answer(views.ShopifySecret(program_id=program, valid=len(saved.row[SHOPIFY])), 201)


async def retire_shopify_secrets(console: Console, request: Request) -> Answer:
    """From now on the newest secret alone is valid."""
    return await _retired(console, request, SHOPIFY)


async def _added(console: Console, request: Request, column: Column, value: str) -> Saved:
    saved = await console.run(
        program_secrets.add_secret,
        console.ledger,
        request.reference("id", "prg"),
        column,
        value,
    )
    if saved is None:
        raise not_found()
    await console.published(saved, ids.object_text("prg", saved.row["id"]))
    return saved


async def _retired(console: Console, request: Request, column: Column) -> Answer:
    saved = await console.run(
        program_secrets.keep_newest, console.ledger, request.reference("id", "prg"), column
    )
    if saved is None:
        raise not_found()
    view = views.program(saved.row)
    await console.published(saved, view.id)
    return Answer(view)
