"""Routes of the fraud rules that hold for the whole deployment."""

from __future__ import annotations

from headwater.console import fraud_config, views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.fraud_shapes import FraudRules
from headwater.ledger import deployment


async def read_fraud_rules(console: Console, request: Request) -> Answer:  # noqa: ARG001
    rules = await console.run(deployment.read_network_rules, console.ledger)
    return Answer(views.fraud_rules(rules))


async def put_fraud_rules(console: Console, request: Request) -> Answer:
    body: FraudRules = request.body
    rules = fraud_config.made(body, prefix="")
    revision = await console.run(deployment.put_network_rules, console.ledger, rules)
    await console.published_to(revision, "fraud_rules")
    return Answer(views.fraud_rules(rules))
