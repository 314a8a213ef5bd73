"""The table of routes: what is dispatched, and what `/openapi.json` describes."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST

from headwater.console import (
    catalog,
    fields,
    fraud_rules,
    keys,
    openapi,
    promo_codes,
    shapes,
    system,
    tracking,
    views,
)
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.event_routes import CONFLICT, EVENT_ROUTES
from headwater.console.fraud_shapes import FraudRules
from headwater.console.link_routes import LINK_ROUTES
from headwater.console.money_routes import MONEY_ROUTES
from headwater.console.pixel_routes import PIXEL_ROUTES
from headwater.console.routing import Route
from headwater.console.views import Page


async def describe(console: Console, request: Request) -> Answer:  # noqa: ARG001
    return Answer(openapi.document(ROUTES))


def _made(view: type) -> dict[int, type]:
    return {200: view, 201: view}


_CATALOG = (
    Route(
        "POST",
        "/v1/brands",
        catalog.create_brand,
        "Make a brand",
        _made(views.Brand),
        body=shapes.BrandIn,
        refusals=CONFLICT,
    ),
    Route(
        "GET",
        "/v1/brands",
        catalog.list_brands,
        "List brands",
        {200: Page[views.Brand]},
        query=fields.PageQuery,
    ),
    Route(
        "GET",
        "/v1/brands/{id}",
        catalog.read_brand,
        "Read a brand",
        {200: views.Brand},
        refusals=(404, 409),
    ),
    Route(
        "PATCH",
        "/v1/brands/{id}",
        catalog.change_brand,
        "Change a brand",
        {200: views.Brand},
        body=shapes.BrandPatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "POST",
        "/v1/programs",
        catalog.create_program,
        "Make a program",
        _made(views.Program),
        body=shapes.ProgramIn,
        refusals=CONFLICT,
    ),
    Route(
        "GET",
        "/v1/programs",
        catalog.list_programs,
        "List programs, of one brand if named",
        {200: Page[views.Program]},
        query=shapes.ProgramsQuery,
        refusals=(409,),
    ),
    Route(
        "GET",
        "/v1/programs/{id}",
        catalog.read_program,
        "Read a program",
        {200: views.Program},
        refusals=(404, 409),
    ),
    Route(
        "PATCH",
        "/v1/programs/{id}",
        catalog.change_program,
        "Change a program; links without a destination of their own follow it",
        {200: views.Program},
        body=shapes.ProgramPatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "POST",
        "/v1/programs/{id}/event-types",
        catalog.create_event_type,
        "Make an event type",
        _made(views.EventType),
        body=shapes.EventTypeIn,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "GET",
        "/v1/programs/{id}/event-types",
        catalog.list_event_types,
        "List a program's event types",
        {200: Page[views.EventType]},
        query=fields.PageQuery,
        refusals=(404, 409),
    ),
    Route(
        "PATCH",
        "/v1/programs/{id}/event-types/{event_type_id}",
        catalog.change_event_type,
        "Change an event type: its window, its status",
        {200: views.EventType},
        body=shapes.EventTypePatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "POST",
        "/v1/partners",
        catalog.create_partner,
        "Make a partner",
        _made(views.Partner),
        body=shapes.PartnerIn,
        refusals=CONFLICT,
    ),
    Route(
        "GET",
        "/v1/partners",
        catalog.list_partners,
        "List partners",
        {200: Page[views.Partner]},
        query=fields.PageQuery,
    ),
    Route(
        "GET",
        "/v1/partners/{id}",
        catalog.read_partner,
        "Read a partner",
        {200: views.Partner},
        refusals=(404, 409),
    ),
    Route(
        "PATCH",
        "/v1/partners/{id}",
        catalog.change_partner,
        "Change a partner; its status holds for all its enrolments",
        {200: views.Partner},
        body=shapes.PartnerPatch,
        refusals=(404, *CONFLICT),
    ),
)

_TRACKING = (
    Route(
        "PUT",
        "/v1/programs/{id}/partners/{partner_id}",
        tracking.enrol,
        "Enrol a partner in a program; makes its default link",
        _made(views.Enrolment),
        body=shapes.EnrolmentIn,
        is_body_required=False,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "PATCH",
        "/v1/programs/{id}/partners/{partner_id}",
        tracking.change_enrolment,
        "Change what a program has with a partner: its status, its fraud rules",
        {200: views.Enrolment},
        body=shapes.EnrolmentPatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "GET",
        "/v1/programs/{id}/partners",
        tracking.list_enrolments,
        "List a program's partners",
        {200: Page[views.Enrolment]},
        query=fields.PageQuery,
        refusals=(404, 409),
    ),
    Route(
        "POST",
        "/v1/links",
        tracking.create_link,
        "Make a link",
        _made(views.Link),
        body=shapes.LinkIn,
        refusals=CONFLICT,
    ),
    Route(
        "GET",
        "/v1/links",
        tracking.list_links,
        "List links, of one program or partner if named",
        {200: Page[views.Link]},
        query=shapes.LinksQuery,
        refusals=(409,),
        for_partners=True,
    ),
    Route(
        "GET",
        "/v1/links/{id}",
        tracking.read_link,
        "Read a link",
        {200: views.Link},
        refusals=(404, 409),
        for_partners=True,
    ),
    Route(
        "PATCH",
        "/v1/links/{id}",
        tracking.change_link,
        "Change a link",
        {200: views.Link},
        body=shapes.LinkPatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "POST",
        "/v1/domains",
        tracking.create_domain,
        "Register a tracking domain",
        _made(views.Domain),
        body=shapes.DomainIn,
        refusals=CONFLICT,
    ),
    Route(
        "GET",
        "/v1/domains",
        tracking.list_domains,
        "List tracking domains",
        {200: Page[views.Domain]},
        query=fields.PageQuery,
    ),
    Route(
        "GET",
        "/v1/domains/allowed",
        tracking.domain_allowed,
        "Whether a certificate may be asked for a host",
        {200: views.DomainAllowed},
        query=shapes.AllowedQuery,
        refusals=(404,),
        is_open=True,
    ),
)

_PROMO_CODES = (
    Route(
        "POST",
        "/v1/programs/{id}/promo-codes",
        promo_codes.create_promo_code,
        "Make a promo code of an enrolled partner",
        _made(views.PromoCode),
        body=shapes.PromoCodeIn,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "GET",
        "/v1/programs/{id}/promo-codes",
        promo_codes.list_promo_codes,
        "List a program's promo codes",
        {200: Page[views.PromoCode]},
        query=fields.PageQuery,
        refusals=(404, 409),
    ),
    Route(
        "PATCH",
        "/v1/promo-codes/{id}",
        promo_codes.change_promo_code,
        "Pause or resume a promo code",
        {200: views.PromoCode},
        body=shapes.PromoCodePatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "DELETE",
        "/v1/promo-codes/{id}",
        promo_codes.delete_promo_code,
        "Delete a promo code; its text is free again",
        {200: views.PromoCode},
        refusals=(404, *CONFLICT),
    ),
)

_KEYS = (
    Route(
        "POST",
        "/v1/keys",
        keys.create_key,
        "Make an API key; it is told once",
        _made(views.Key),
        body=shapes.KeyIn,
        refusals=CONFLICT,
    ),
    Route(
        "GET",
        "/v1/keys",
        keys.list_keys,
        "List API keys, deleted ones included",
        {200: Page[views.Key]},
        query=fields.PageQuery,
    ),
    Route(
        "DELETE",
        "/v1/keys/{id}",
        keys.delete_key,
        "Delete an API key",
        {200: views.Key},
        refusals=(404, *CONFLICT),
    ),
)

_FRAUD = (
    Route(
        "GET",
        "/v1/fraud-rules",
        fraud_rules.read_fraud_rules,
        "Read the fraud rules of the whole deployment",
        {200: FraudRules},
    ),
    Route(
        "PUT",
        "/v1/fraud-rules",
        fraud_rules.put_fraud_rules,
        "Put fraud rules in force for the whole deployment, in place of those there are",
        {200: FraudRules},
        body=FraudRules,
        refusals=(503,),
    ),
)

_SYSTEM = (
    Route(
        "GET",
        "/healthz",
        system.healthz,
        "Whether the console serves",
        {200: system.Health},
        is_open=True,
    ),
    Route(
        "GET",
        "/metrics",
        system.metrics,
        "Metrics of all processes, for Prometheus",
        {200: None},
        content_types=(CONTENT_TYPE_LATEST,),
    ),
    Route("GET", "/openapi.json", describe, "This description", {200: dict}),
)

ROUTES: tuple[Route, ...] = (
    _CATALOG
    + _TRACKING
    + LINK_ROUTES
    + _PROMO_CODES
    + _KEYS
    + _FRAUD
    + EVENT_ROUTES
    + MONEY_ROUTES
    + PIXEL_ROUTES
    + _SYSTEM
)
