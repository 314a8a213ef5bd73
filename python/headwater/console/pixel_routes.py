"""The table of routes of partner pixels."""

from __future__ import annotations

from typing import Final

from headwater.console import fields, pixel_explain, pixel_firings, pixel_objects, pixel_views
from headwater.console.event_routes import CONFLICT
from headwater.console.keys import LOOKS
from headwater.console.pixel_shapes import FiringsQuery, PixelIn, PixelPatch
from headwater.console.routing import Route
from headwater.console.views import Page

_ONE: Final = "/v1/partners/{id}/pixels/{pixel_id}"

_OBJECTS: Final = (
    Route(
        "POST",
        "/v1/partners/{id}/pixels",
        pixel_objects.create_pixel,
        "Make a pixel of a partner",
        {200: pixel_views.Pixel, 201: pixel_views.Pixel},
        body=PixelIn,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "GET",
        "/v1/partners/{id}/pixels",
        pixel_objects.list_pixels,
        "List a partner's pixels, and how they do",
        {200: Page[pixel_views.Pixel]},
        query=fields.PageQuery,
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "POST",
        "/v1/partners/{id}/pixels/preview",
        pixel_objects.preview_new_pixel,
        "What a pixel would be for a sample order; nothing is saved",
        {200: pixel_views.PixelPreview},
        body=PixelIn,
        refusals=(404, 409),
    ),
    Route(
        "GET",
        _ONE,
        pixel_objects.read_pixel,
        "Read a pixel",
        {200: pixel_views.Pixel},
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "PATCH",
        _ONE,
        pixel_objects.change_pixel,
        "Change a pixel: its template, its rule, its status",
        {200: pixel_views.Pixel},
        body=PixelPatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "DELETE",
        _ONE,
        pixel_objects.delete_pixel,
        "Delete a pixel; what it fired stays on record, its slot is free again",
        {200: pixel_views.Pixel},
        refusals=(404, *CONFLICT),
    ),
    Route(
        "POST",
        f"{_ONE}/enable",
        pixel_objects.enable_pixel,
        "Take up deliveries to a pixel that was disabled",
        {200: pixel_views.Pixel},
        refusals=(404, 409),
    ),
    Route(
        "GET",
        f"{_ONE}/preview",
        pixel_objects.preview_pixel,
        "What a pixel is for a sample order",
        {200: pixel_views.PixelPreview},
        refusals=(404, 409),
        for_partners=True,
    ),
    Route(
        "GET",
        f"{_ONE}/test-links",
        pixel_objects.read_test_links,
        "Where a test of a pixel starts: the partner's own link, and links with fresh sub ids",
        {200: pixel_views.PixelTestLinks},
        refusals=(404, 409),
        for_partners=True,
    ),
    Route(
        "POST",
        f"{_ONE}/secrets",
        pixel_objects.create_pixel_secret,
        "Make a secret that signs a postback; it is told once",
        {201: pixel_views.PixelSecret},
        refusals=(404, 422, *CONFLICT),
    ),
    Route(
        "DELETE",
        f"{_ONE}/secrets",
        pixel_objects.retire_pixel_secrets,
        "Leave only a pixel's newest secret valid",
        {200: pixel_views.Pixel},
        refusals=(404, *CONFLICT),
    ),
)

_FIRINGS: Final = (
    Route(
        "GET",
        "/v1/conversions/{id}/pixels",
        pixel_firings.read_conversion_pixels,
        "What a conversion fired, every attempt of it, and why other pixels were not fired",
        {200: pixel_views.ConversionPixels},
        refusals=(404,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/conversions/{id}/pixels/explain",
        pixel_firings.explain_conversion_pixels,
        "Why a pixel was fired for a conversion, or was not, question by question",
        {200: pixel_explain.PixelExplanation},
        refusals=(404,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/firings",
        pixel_firings.report_firings,
        "The firing log, the newest first: of a partner, a program, a pixel, a state, a time",
        {200: Page[pixel_views.Firing]},
        query=FiringsQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
    Route(
        "POST",
        "/v1/firings/{id}/resend",
        pixel_firings.resend_firing,
        "Send a dead letter, or what was delivered, again under its own id",
        {200: pixel_views.Firing},
        refusals=(404, 409),
    ),
)

PIXEL_ROUTES: Final[tuple[Route, ...]] = _OBJECTS + _FIRINGS
