"""The table of routes about money: terms, actions, clicks under review, what is owed."""

from __future__ import annotations

from typing import Final

from headwater.console import (
    action_bulk,
    action_shapes,
    action_views,
    actions,
    audit_views,
    click_review,
    deciding,
    money_reports,
    orders,
    settling,
    terms_preview,
    terms_routes,
    terms_shapes,
    terms_views,
)
from headwater.console.event_routes import CONFLICT
from headwater.console.fields import Body
from headwater.console.keys import FINANCE, LOOKS
from headwater.console.routing import Handler, Route
from headwater.console.views import Page

# Who decides on money, within the key's brand.
DECIDES: Final = (FINANCE,)

_TERMS: Final = (
    Route(
        "POST",
        "/v1/programs/{id}/terms",
        terms_routes.create_terms,
        "Make the next version of a program's terms, or of a partner's own",
        {200: terms_views.Terms, 201: terms_views.Terms},
        body=terms_shapes.TermsIn,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "GET",
        "/v1/programs/{id}/terms",
        terms_routes.list_terms,
        "List versions of terms, of one partner if named",
        {200: Page[terms_views.Terms]},
        query=terms_shapes.TermsQuery,
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "POST",
        "/v1/programs/{id}/terms/preview",
        terms_preview.preview_terms,
        "What an order would pay; nothing is kept",
        {200: terms_views.Preview},
        body=terms_shapes.PreviewIn,
        refusals=(404, 409),
    ),
    Route(
        "GET",
        "/v1/terms/{id}",
        terms_routes.read_terms,
        "Read a version of terms",
        {200: terms_views.Terms},
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "PATCH",
        "/v1/terms/{id}",
        terms_routes.change_terms,
        "Change terms that have not begun, or set the end of those that have",
        {200: terms_views.Terms},
        body=terms_shapes.TermsPatch,
        refusals=(404, *CONFLICT),
    ),
    Route(
        "DELETE",
        "/v1/terms/{id}",
        terms_routes.delete_terms,
        "Delete terms that have not begun",
        {200: terms_views.Terms},
        refusals=(404, *CONFLICT),
    ),
    Route(
        "POST",
        "/v1/exchange-rates",
        terms_routes.create_rate,
        "Put an exchange rate in force for a brand",
        {200: terms_views.Rate, 201: terms_views.Rate},
        body=terms_shapes.RateIn,
        refusals=CONFLICT,
    ),
    Route(
        "GET",
        "/v1/exchange-rates",
        terms_routes.list_rates,
        "List exchange rates, of one brand if named",
        {200: Page[terms_views.Rate]},
        query=terms_shapes.RatesQuery,
        refusals=(409,),
        scopes=DECIDES,
    ),
    Route(
        "GET",
        "/v1/programs/{id}/money-settings",
        terms_routes.read_money_settings,
        "Read which reasons of reversals there are in a program",
        {200: terms_views.MoneySettings},
        refusals=(404, 409),
        scopes=LOOKS,
    ),
    Route(
        "PUT",
        "/v1/programs/{id}/money-settings",
        terms_routes.put_money_settings,
        "Put a program's own reasons of reversals in place of those it has",
        {200: terms_views.MoneySettings},
        body=terms_shapes.MoneySettingsIn,
        refusals=(404, *CONFLICT),
    ),
)


def _move(
    verb: str, handler: Handler, summary: str, body: type[Body], *, bare: bool = False
) -> Route:
    return Route(
        "POST",
        f"/v1/actions/{{id}}/{verb}",
        handler,
        summary,
        {200: action_views.Action, 202: deciding.Decision},
        body=body,
        is_body_required=not bare,
        refusals=(404, 409),
        scopes=DECIDES,
        is_keyed=True,
    )


def _order(path: str, handler: Handler, summary: str, body: type[Body]) -> Route:
    return Route(
        "POST",
        path,
        handler,
        summary,
        {200: orders.OrderDecided, 202: deciding.Decision},
        body=body,
        refusals=(404, 409),
        scopes=DECIDES,
        is_keyed=True,
    )


_ACTIONS: Final = (
    Route(
        "GET",
        "/v1/actions",
        actions.list_actions,
        "List actions, the newest first",
        {200: Page[action_views.Action]},
        query=action_shapes.ActionsQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
    Route(
        "POST",
        "/v1/actions/bulk",
        action_bulk.move_actions,
        "Move many actions, by their ids or by a filter; each is told apart",
        {207: action_bulk.Bulk},
        body=action_shapes.BulkIn,
        refusals=(409,),
        scopes=DECIDES,
        is_keyed=True,
    ),
    Route(
        "GET",
        "/v1/actions/{id}",
        actions.read_action,
        "Read an action with its moves, its items and its entries in the book",
        {200: action_views.ActionHistory},
        refusals=(404,),
        scopes=LOOKS,
    ),
    _move("approve", actions.approve_action, "Approve", action_shapes.MoveIn, bare=True),
    _move("reverse", actions.reverse_action, "Reverse, for a reason", action_shapes.ReverseIn),
    _move(
        "reset",
        actions.reset_action,
        "Take an action back to the state it was made in",
        action_shapes.MoveIn,
        bare=True,
    ),
    _move(
        "modify",
        actions.modify_action,
        "Let an action pay for what is left of its order",
        action_shapes.ModifyIn,
    ),
    _move("pay", actions.pay_action, "Say that an action is paid", action_shapes.MoveIn, bare=True),
    _move(
        "compensate",
        actions.compensate_action,
        "Book an amount beside an action that is locked",
        action_shapes.CompensateIn,
    ),
    _order(
        "/v1/conversions/{id}/reverse",
        orders.reverse_conversion,
        "Reverse every action of a conversion",
        action_shapes.ReverseIn,
    ),
    _order(
        "/v1/conversions/{id}/modify",
        orders.modify_conversion,
        "Let every action of a conversion pay for what is left of it",
        action_shapes.ModifyIn,
    ),
    _order(
        "/v1/conversions/{id}/attribute",
        orders.attribute_conversion,
        "Give a conversion to a partner by hand",
        action_shapes.AttributeIn,
    ),
    _order(
        "/v1/orders/reverse",
        orders.reverse_order,
        "Reverse an order by its own id, also before it comes",
        action_shapes.OrderReverseIn,
    ),
    _order(
        "/v1/orders/modify",
        orders.modify_order,
        "Say what is left of an order by its own id, also before it comes",
        action_shapes.OrderModifyIn,
    ),
    Route(
        "GET",
        "/v1/decisions/{id}",
        deciding.read_decision,
        "What came of a decision",
        {200: deciding.Decision},
        refusals=(404,),
        scopes=DECIDES,
    ),
    Route(
        "POST",
        "/v1/settle",
        settling.settle,
        "Lock what is due now, or by a time",
        {200: settling.Settled, 202: settling.Settled},
        body=action_shapes.SettleIn,
        is_body_required=False,
        refusals=(409,),
        scopes=DECIDES,
        is_keyed=True,
    ),
)

_CLICKS: Final = (
    Route(
        "GET",
        "/v1/clicks/pending",
        click_review.list_pending,
        "List clicks that wait to be paid, by partner and day",
        {200: Page[click_review.PendingClick]},
        query=action_shapes.PendingQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
    Route(
        "POST",
        "/v1/clicks/accept",
        click_review.accept_clicks,
        "Let clicks be paid, by their ids or by a filter",
        {200: click_review.Review, 202: click_review.Review},
        body=action_shapes.AcceptIn,
        refusals=(404, 409),
        scopes=DECIDES,
        is_keyed=True,
    ),
    Route(
        "POST",
        "/v1/clicks/reject",
        click_review.reject_clicks,
        "Let clicks not be paid, by their ids or by a filter, for a reason",
        {200: click_review.Review, 202: click_review.Review},
        body=action_shapes.RejectIn,
        refusals=(404, 409),
        scopes=DECIDES,
        is_keyed=True,
    ),
)

_REPORTS: Final = (
    Route(
        "GET",
        "/v1/reports/balance",
        money_reports.report_balance,
        "What is owed, by partner and program, from the double-entry book",
        {200: money_reports.BalanceReport},
        query=action_shapes.BalanceQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/cpc-payouts",
        money_reports.report_click_payouts,
        "What clicks are paid, by day and partner",
        {200: money_reports.ClickPayouts},
        query=action_shapes.PayoutsQuery,
        refusals=(409,),
        scopes=LOOKS,
    ),
    Route(
        "GET",
        "/v1/reports/cpc-payouts.csv",
        money_reports.report_click_payouts_csv,
        "The same as CSV; a header names the cursor of the next page",
        {200: None},
        query=action_shapes.PayoutsQuery,
        refusals=(409,),
        scopes=LOOKS,
        content_types=(money_reports.CSV,),
    ),
    Route(
        "GET",
        "/v1/audit",
        audit_views.list_audit,
        "List changes that were asked for, the newest first",
        {200: Page[audit_views.AuditEntry]},
        query=action_shapes.AuditQuery,
    ),
)

MONEY_ROUTES: Final[tuple[Route, ...]] = _TERMS + _ACTIONS + _CLICKS + _REPORTS
