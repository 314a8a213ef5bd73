"""Routes of the secrets that a program's links are signed with."""

from __future__ import annotations

from headwater import ids
from headwater.console import views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found
from headwater.ledger import link_secrets
from headwater.model import signing


async def create_link_secret(console: Console, request: Request) -> Answer:
    """A secret, told this once; of earlier ones the newest stays valid."""
    salt = ids.link_salt()
    saved = await console.run(
        link_secrets.add_salt, console.ledger, request.reference("id", "prg"), salt
    )
    if saved is None:
        raise not_found()
    program = ids.object_text("prg", saved.row["id"])
    await console.published(saved, program)
    key = await console.identity_key()
    view = views.LinkSecret(
        program_id=program,
        secret=signing.secret(key, saved.row["id"], salt),
        valid=len(saved.row["link_salts"]),
    )
    return Answer(view, 201)


async def retire_link_secrets(console: Console, request: Request) -> Answer:
    """From now on the newest secret alone is valid."""
    saved = await console.run(
        link_secrets.keep_newest, console.ledger, request.reference("id", "prg")
    )
    if saved is None:
        raise not_found()
    view = views.program(saved.row)
    await console.published(saved, view.id)
    return Answer(view)
