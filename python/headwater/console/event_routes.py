"""The table of routes about events, reports and persons."""

from __future__ import annotations

from typing import Final

from headwater.console import (
    coverage,
    erasure_views,
    erasures,
    event_shapes,
    event_views,
    events,
    explain_views,
    export,
    export_shapes,
    exports,
    fraud_reports,
    partner_explain,
    partner_views,
    performance,
    performance_shapes,
    reports,
)
from headwater.console.fields import Body
from headwater.console.keys import LOOKS
from headwater.console.routing import Handler, Route
from headwater.console.views import Page

CONFLICT: Final = (409, 503)

_EVENTS: Final = (
    Route(
        "GET",
        "/v1/clicks",
        events.list_clicks,
        "List clicks, the newest first: of a program, a partner, a verdict, a time",
        {200: Page[event_views.Click]},
        query=event_shapes.ClicksQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/clicks/{id}",
        events.read_click,
        "Read a click",
        {200: event_views.Click},
        refusals=(404,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/conversions",
        events.list_conversions,
        "List conversions, the newest first: of a program, a status, a time, tests or none",
        {200: Page[event_views.Conversion]},
        query=event_shapes.ConversionsQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/conversions/{id}",
        events.read_conversion,
        "Read a conversion as last decided",
        {200: event_views.Conversion},
        refusals=(404,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/conversions/{id}/explain",
        events.explain_conversion,
        "Why a conversion was decided so",
        {200: explain_views.Explanation},
        refusals=(404,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/partners/{id}/conversions/{ref}/explain",
        partner_explain.explain_to_partner,
        "What became of a partner's own touches in a conversion, by its id, the id of an own "
        "click, or an order id",
        {200: partner_views.PartnerExplanation},
        query=event_shapes.PartnerExplainQuery,
        refusals=(404, 409),
        for_partners=True,
    ),
    Route(
        "GET",
        "/v1/reports/clicks",
        fraud_reports.report_clicks,
        "A program's clicks over a period, gross and net, by partner or by day",
        {200: fraud_reports.ClickReport},
        query=event_shapes.ClickReportQuery,
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/coverage",
        coverage.report_coverage,
        "By which ways a program's conversions were reported, by day: pixel, server, both",
        {200: coverage.CoverageReport},
        query=event_shapes.CoverageQuery,
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/match-rate",
        coverage.report_match_rate,
        "The share of a program's conversions that were matched, by browser, cookie, identifier",
        {200: coverage.MatchRateReport},
        query=event_shapes.CoverageQuery,
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/fraud",
        fraud_reports.report_fraud,
        "What each signal did to a program's clicks and conversions, and would do, over a period",
        {200: fraud_reports.FraudReport},
        query=event_shapes.FraudReportQuery,
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/performance",
        performance.report_performance,
        "Clicks, conversions, actions and money over a period, by any grouping; a partner's key "
        "sees what is the partner's",
        {200: performance_shapes.PerformanceReport},
        query=performance_shapes.PerformanceQuery,
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/performance/export",
        performance.export_performance,
        "The performance report whole, as CSV or as JSON lines: a row for each currency of a group",
        {200: None},
        query=performance_shapes.ExportQuery,
        refusals=(404, 409),
        scopes=LOOKS,
        content_types=export.CONTENT_TYPES,
    ),
    Route(
        "GET",
        "/v1/reports/unattributed",
        reports.report_unattributed,
        "Conversions without credit over a period, by reason",
        {200: reports.UnattributedReport},
        query=event_shapes.UnattributedQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
)

_PERSONS: Final = (
    Route(
        "POST",
        "/v1/erasures",
        erasures.create_erasure,
        "Forget identifiers, or show what would be forgotten",
        {200: erasure_views.ErasureView, 202: erasure_views.ErasureView},
        body=event_shapes.ErasureIn,
        refusals=(409,),
    ),
    Route(
        "GET",
        "/v1/erasures",
        erasures.list_erasures,
        "List erasures, the newest first, of one brand if named",
        {200: Page[erasure_views.ErasureView]},
        query=event_shapes.ErasuresQuery,
        refusals=(409,),
    ),
    Route(
        "GET",
        "/v1/erasures/{id}",
        erasures.read_erasure,
        "Read an erasure",
        {200: erasure_views.ErasureView},
        refusals=(404,),
    ),
)


def _export(name: str, summary: str, handler: Handler, query: type[Body]) -> Route:
    return Route(
        "GET",
        f"/v1/exports/{name}",
        handler,
        summary,
        {200: None},
        query=query,
        refusals=(404, 409),
        scopes=LOOKS,
        content_types=export.CONTENT_TYPES,
    )


_EXPORTS: Final = (
    _export(
        "clicks",
        "Clicks of a period, the newest first, as CSV or as JSON lines",
        exports.export_clicks,
        export_shapes.ClicksExport,
    ),
    _export(
        "conversions",
        "Conversions of a period, the newest first, as CSV or as JSON lines: a row for each credit",
        exports.export_conversions,
        export_shapes.ConversionsExport,
    ),
    _export(
        "actions",
        "Actions of a period, the newest first, as CSV or as JSON lines",
        exports.export_actions,
        export_shapes.ActionsExport,
    ),
)

EVENT_ROUTES: Final[tuple[Route, ...]] = _EVENTS + _EXPORTS + _PERSONS
