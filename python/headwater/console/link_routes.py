"""The routes of what links can do besides being made, read and changed one by one."""

from __future__ import annotations

from headwater.console import (
    link_life,
    link_orders,
    program_secrets,
    qr_codes,
    shapes,
    views,
)
from headwater.console.routing import Route

LINK_ROUTES = (
    Route(
        "POST",
        "/v1/links/bulk",
        link_orders.create_links,
        "Make many links; each is made or refused by itself",
        {207: list[views.LinkResult]},
        body=shapes.LinksIn,
        refusals=(503,),
    ),
    Route(
        "DELETE",
        "/v1/links/{id}",
        link_life.delete_link,
        "Delete a link; its clicks stay, its code is free again",
        {200: views.Link},
        refusals=(404, 409, 503),
    ),
    Route(
        "GET",
        "/v1/links/{id}/history",
        link_life.read_link_history,
        "Which links have had a link's code",
        {200: views.LinkHistory},
        refusals=(404, 409),
    ),
    Route(
        "GET",
        "/v1/links/{id}/qr.svg",
        qr_codes.read_link_qr_svg,
        "A link as a QR code, SVG",
        {200: None},
        query=qr_codes.QrQuery,
        refusals=(404, 409),
        content_types=(qr_codes.SVG,),
        for_partners=True,
    ),
    Route(
        "GET",
        "/v1/links/{id}/qr.png",
        qr_codes.read_link_qr_png,
        "A link as a QR code, PNG",
        {200: None},
        query=qr_codes.QrQuery,
        refusals=(404, 409),
        content_types=(qr_codes.PNG,),
        for_partners=True,
    ),
    Route(
        "POST",
        "/v1/programs/{id}/link-secrets",
        program_secrets.create_link_secret,
        "Make a secret that signs a program's links; it is told once",
        {201: views.LinkSecret},
        refusals=(404, 409, 503),
    ),
    Route(
        "DELETE",
        "/v1/programs/{id}/link-secrets",
        program_secrets.retire_link_secrets,
        "Leave only a program's newest secret valid",
        {200: views.Program},
        refusals=(404, 409, 503),
    ),
    Route(
        "POST",
        "/v1/programs/{id}/shopify-secrets",
        program_secrets.create_shopify_secret,
        "Take the secret a shop signs its webhooks with; it is never told again",
        {201: views.ShopifySecret},
        body=shapes.ShopifySecretIn,
        refusals=(404, 409, 503),
    ),
    Route(
        "DELETE",
        "/v1/programs/{id}/shopify-secrets",
        program_secrets.retire_shopify_secrets,
        "Leave only the newest secret of a program's webhooks valid",
        {200: views.Program},
        refusals=(404, 409, 503),
    ),
)
