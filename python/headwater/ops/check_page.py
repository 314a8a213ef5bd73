"""`headwater check-page`: which calls a page makes, and what stands in their way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from headwater.errors import HeadwaterError
from headwater.ops.doctor import Finding
from headwater.ops.page_watch import Call, Seen, watch

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FORBIDDEN: Final = 403
_MEND: Final = {
    "origin_not_allowed": "Add the page's origin to the program's allowed_origins.",
    "unknown_program": "Correct data-program: no program has this code.",
    "program_inactive": "Set the program's status to active.",
    "method_disabled": "Add pixel to the program's methods.",
    "unknown_event_type": "Make the event type, or name one the program has.",
    "order_conflict": "The order came before with another amount; a test needs a new order_id.",
}
_POLICY: Final = {
    "csp": "Allow the tracking host in script-src, connect-src and img-src.",
    "cors": "Add the page's origin to the program's allowed_origins.",
    "mixed": "Serve the tracking host by https: a secure page loads nothing else.",
}
_BLOCKED: Final = (
    ("csp", _POLICY["csp"]),
    ("mixed", _POLICY["mixed"]),
    ("BLOCKED_BY_CLIENT", "A blocker stopped it: use a tracking host of the shop's own domain."),
    ("NAME_NOT_RESOLVED", "The tracking host has no address: headwater check-domain."),
    ("CERT", "The tracking host's certificate does not hold: headwater check-domain."),
    ("CONNECTION_REFUSED", "Nothing listens on the tracking host: headwater doctor."),
)


def run_check_page(url: str, program: str | None, *, as_json: bool) -> int:
    """Open a page, print what was found; 0 when a call went through. Raises HeadwaterError."""
    seen = _visited(url)
    found = list(findings(seen, program))
    is_ok = went_through(seen, program)
    if as_json:
        print(json.dumps(report(seen, found, is_ok), indent=2))
    else:
        _print(seen, found, is_ok)
    return 0 if is_ok else 1


def _visited(url: str) -> Seen:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise HeadwaterError(
            "check-page drives a browser: pip install playwright, and apt-get install chromium"
        ) from None
    path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            try:
                return watch(browser.new_page(user_agent=_agent(browser)), url)
            finally:
                browser.close()
    except Error as error:
        first = str(error).partition("\n")[0]
        raise HeadwaterError(f"the page could not be opened: {first}") from error


def _agent(browser: Any) -> str:
    """As with a window: a browser without one is declared automation."""
    major = browser.version.partition(".")[0]
    return (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{major}.0.0.0 Safari/537.36"
    )


def went_through(seen: Seen, program: str | None) -> bool:
    """Whether a report to the program was taken.

    The pixel is answered with its image whatever becomes of it: where it stands in for an event
    that was refused, it is refused too; but for the page's origin, which it is not asked for.
    """
    refused = {
        call.program
        for call in seen.calls
        if call.kind == "collect" and call.outcome == "refused" and call.status != _FORBIDDEN
    }
    return any(
        call.kind != "tag"
        and call.outcome == "ok"
        and call.program in ({call.program} - {""} if program is None else {program})
        and not (call.kind == "pixel" and call.program in refused)
        for call in seen.calls
    )


# ---- What is said of it ----------------------------------------------------------------------


def findings(seen: Seen, program: str | None) -> Iterator[Finding]:
    """What is right and what stands in the way, in the order in which a page is loaded."""
    if not 200 <= seen.status < 400:
        yield Finding("page", False, f"status {seen.status}", "Give the address of a page.")
    yield from _of_tag(seen)
    yield from _of_programs(seen, program)
    for call in seen.calls:
        if call.outcome != "ok":
            yield _of_failed(call)
    for issue in seen.issues:
        seen_text = f"{issue['what']} at {issue['host']}"
        yield Finding(issue["kind"], False, seen_text, _POLICY[issue["kind"]])
    yield from _of_consent(seen)
    yield from _of_cookies(seen)


def _of_tag(seen: Seen) -> Iterator[Finding]:
    if not seen.tags:
        has_pixel = any(call.kind == "pixel" for call in seen.calls)
        if has_pixel:
            yield Finding("tag", True, "none; the page has the pixel alone")
        else:
            mend = "Paste what `headwater snippet` prints; a consent tool may hold it back."
            yield Finding("tag", False, "neither tag nor pixel is on the page", mend)
        return
    if len(seen.tags) > 1:
        yield Finding("tag", False, f"{len(seen.tags)} times on the page", "Paste it once.")
    elif seen.live:
        yield Finding("tag", True, f"runs, from {seen.tags[0]['src']}")
    else:
        mend = "See what stopped its file; without data-program it does nothing."
        yield Finding("tag", False, "on the page, and does not run", mend)


def _of_programs(seen: Seen, program: str | None) -> Iterator[Finding]:
    named = {each["program"] for each in seen.tags} | {call.program for call in seen.calls}
    named.discard("")
    if program is not None and named and named != {program}:
        others = ", ".join(sorted(named - {program}))
        yield Finding("program", False, f"reports go to {others}", f"Name {program} instead.")
    elif len(named) > 1:
        yield Finding("program", False, ", ".join(sorted(named)), "Let a page name one program.")


def _of_failed(call: Call) -> Finding:
    name = f"{call.kind} {call.event}".strip()
    if call.outcome == "refused":
        # A page of a strange origin cannot read why it was refused, nor can its watcher.
        unread = "origin_not_allowed" if call.status == _FORBIDDEN else f"status {call.status}"
        code = call.code or unread
        return Finding(name, False, code, _MEND.get(code, "`headwater reasons` explains the code."))
    if call.outcome == "unanswered":
        return Finding(name, False, f"no answer from {call.host}", "See whether Headwater runs.")
    mend = next((text for part, text in _BLOCKED if part.lower() in call.blocked.lower()), "")
    return Finding(name, False, f"{call.blocked} at {call.host}", mend)


def _of_consent(seen: Seen) -> Iterator[Finding]:
    wishes = [name for name, on in (("Global Privacy Control", seen.gpc), ("DNT", seen.dnt)) if on]
    if wishes:
        seen_text = f"the browser asks by {' and '.join(wishes)} not to be tracked"
        yield Finding("consent", True, f"{seen_text}: nothing personal is sent")
    elif any(call.cookie == "denied" for call in seen.calls):
        mend = "Expected until the visitor agrees: headwater('consent', 'granted')."
        yield Finding("consent", True, "denied: no cookie, nothing personal", mend)


def _of_cookies(seen: Seen) -> Iterator[Finding]:
    for cookie in seen.cookies:
        setter = "the tracking host" if cookie["httpOnly"] else "the tag's script"
        yield Finding("cookie", True, f"{cookie['name']} of {cookie['domain']}, set by {setter}")
    has_http = any(cookie["httpOnly"] for cookie in seen.cookies)
    if seen.cookies and not has_http:
        mend = "Safari ends a script's cookie after 7 days: use a tracking host of the shop's own."
        yield Finding("cookie", True, "no HTTP cookie", mend)


def report(seen: Seen, found: list[Finding], is_ok: bool) -> dict[str, Any]:
    """All of it, for machines."""
    return {
        "url": seen.url,
        "ok": is_ok,
        "status": seen.status,
        "calls": [{**asdict(call), "outcome": call.outcome} for call in seen.calls],
        "tags": seen.tags,
        "issues": seen.issues,
        "cookies": [
            {
                "name": each["name"],
                "domain": each["domain"],
                "set_by": "http" if each["httpOnly"] else "script",
            }
            for each in seen.cookies
        ],
        "findings": [finding._asdict() for finding in found],
    }


def _print(seen: Seen, found: list[Finding], is_ok: bool) -> None:
    console = Console()
    calls = Table("call", "program", "host", "outcome")
    for call in seen.calls:
        outcome = " ".join(filter(None, (call.outcome, str(call.status or ""), call.code)))
        calls.add_row(f"{call.kind} {call.event}".strip(), call.program, call.host, outcome)
    console.print(calls)
    table = Table("part", "state", "seen", "what mends it")
    for finding in found:
        state = "[green]ok[/green]" if finding.ok else "[red]fault[/red]"
        table.add_row(finding.part, state, finding.seen, finding.mend)
    console.print(table)
    console.print("A call went through." if is_ok else "No call went through.")
