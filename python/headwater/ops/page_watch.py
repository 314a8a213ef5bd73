"""What a browser did with a page, as far as it concerns Headwater: calls, cookies, policies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from headwater import clock

LOAD_S: Final = 30.0
# A call is made after the page has loaded, and a second one soon after the first.
QUIET_S: Final = 1.5
SETTLE_S: Final = 10.0
_STEP_MS: Final = 100
_REFUSED: Final = 400
_KINDS: Final = {
    "tag": re.compile(r"/tag(\.[0-9a-f]{8,64})?\.js$"),
    "collect": re.compile(r"/v1/collect$"),
    "pixel": re.compile(r"/px\.gif$"),
}
_TAGS: Final = """() => [...document.querySelectorAll('script[src]')]
    .filter(each => /\\/tag(\\.[0-9a-f]{8,64})?\\.js$/.test(new URL(each.src).pathname))
    .map(each => ({ src: each.src, program: each.dataset.program || '',
                    consent: each.dataset.consent || '' }))"""
_WISHES: Final = """() => ({
    live: !!(window.headwater && window.headwater.live),
    gpc: navigator.globalPrivacyControl === true, dnt: navigator.doNotTrack === '1' })"""


@dataclass
class Call:
    """One request of the page to a tracking host."""

    kind: str
    """`tag`, `collect` or `pixel`."""
    host: str
    event: str = ""
    program: str = ""
    status: int = 0
    """HTTP status; 0: no answer was seen."""
    code: str = ""
    """Reason of a refusal."""
    blocked: str = ""
    """What kept it from being sent or answered, in the browser's words."""
    cookie: str = ""
    """What the answer says of the visitor's cookie."""
    sets_cookie: bool = False

    @property
    def outcome(self) -> str:
        """`ok`, `refused`, `blocked`, or `unanswered`."""
        if self.status >= _REFUSED:
            return "refused"
        if self.blocked:
            return "blocked"
        return "ok" if self.status else "unanswered"


@dataclass
class Seen:
    """All that was seen of one page."""

    url: str
    status: int = 0
    calls: list[Call] = field(default_factory=list)
    tags: list[dict[str, str]] = field(default_factory=list)
    issues: list[dict[str, str]] = field(default_factory=list)
    """What the browser's own audit found: `kind` csp, cors or mixed; `what`; `host`."""
    cookies: list[dict[str, Any]] = field(default_factory=list)
    live: bool = False
    gpc: bool = False
    dnt: bool = False


def watch(page: Any, url: str) -> Seen:
    """Open a page in a Playwright page that has seen none, and stay until its calls are answered.

    Raises playwright's Error when the page cannot be opened.
    """
    seen = Seen(url)
    requests: list[Any] = []
    responses: dict[Any, Any] = {}
    client = page.context.new_cdp_session(page)
    client.on("Audits.issueAdded", lambda told: _note_issue(seen, told.get("issue", {})))
    client.send("Audits.enable")
    statuses = _Statuses(client)
    page.on("request", lambda each: requests.append(each) if _kind(each.url) else None)
    page.on("response", lambda each: responses.__setitem__(each.request, each))
    answer = page.goto(url, wait_until="load", timeout=LOAD_S * 1000)
    seen.status = answer.status if answer else 0
    _settle(page, requests, responses)
    seen.calls = [_call(each, responses.get(each), statuses) for each in requests]
    seen.tags = page.evaluate(_TAGS)
    for name, value in page.evaluate(_WISHES).items():
        setattr(seen, name, value)
    seen.cookies = [each for each in page.context.cookies() if each["name"].startswith("hw_")]
    return seen


class _Statuses:
    """HTTP statuses as they came over the wire: of an answer that the page may not read the
    driver tells nothing.
    """

    def __init__(self, client: Any) -> None:
        self._ids: dict[str, list[str]] = {}
        self._found: dict[str, int] = {}
        client.on("Network.requestWillBeSent", self._sent)
        client.on("Network.responseReceivedExtraInfo", self._answered)
        client.send("Network.enable")

    def _sent(self, told: dict[str, Any]) -> None:
        url = str(_object(told.get("request")).get("url", ""))
        if _kind(url):
            self._ids.setdefault(url, []).append(str(told["requestId"]))

    def _answered(self, told: dict[str, Any]) -> None:
        self._found[str(told["requestId"])] = int(told["statusCode"])

    def next(self, url: str) -> int:
        """Of the next request to this address, in the order they were sent; 0: no answer."""
        ids = self._ids.get(url)
        return self._found.get(ids.pop(0), 0) if ids else 0


def _kind(url: str) -> str:
    path = urlsplit(url).path
    return next((name for name, pattern in _KINDS.items() if pattern.search(path)), "")


def _settle(page: Any, requests: list[Any], responses: dict[Any, Any]) -> None:
    began_s = changed_s = clock.monotonic_s()
    before = (-1, -1)
    while True:
        open_ = sum(1 for each in requests if each not in responses and not each.failure)
        now_s, state = clock.monotonic_s(), (len(requests), open_)
        if state != before:
            before, changed_s = state, now_s
        is_quiet = not open_ and now_s - changed_s >= QUIET_S
        if is_quiet or now_s - began_s >= SETTLE_S:
            return
        page.wait_for_timeout(_STEP_MS)


def _call(request: Any, response: Any, statuses: _Statuses) -> Call:
    parts = urlsplit(request.url)
    call = Call(_kind(request.url), parts.netloc)
    sent = _object(request.post_data_json) if call.kind == "collect" else {}
    query = parse_qs(parts.query) if call.kind == "pixel" else {}
    call.event = str(sent.get("type") or query.get("event", [""])[0])
    if call.event == "conversion":
        call.event = f"conversion {sent.get('event', '')}"
    call.program = str(sent.get("program") or query.get("program", [""])[0])
    call.blocked = str(request.failure or "")
    call.status = statuses.next(request.url)
    if response is None:
        return call
    # What came from the browser's own cache was on no wire.
    call.status = call.status or response.status
    call.sets_cookie = "set-cookie" in response.all_headers()
    if call.kind == "collect":
        body = _body(response)
        call.code, call.cookie = str(body.get("code") or ""), str(body.get("cookie") or "")
    return call


def _body(response: Any) -> dict[str, Any]:
    """A JSON answer; nothing where the browser does not hold it any more, as for a beacon."""
    try:
        return _object(response.json())
    except Exception:  # noqa: BLE001 - the driver's own errors are of many kinds
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _note_issue(seen: Seen, issue: dict[str, Any]) -> None:
    """Keep what the browser tells of a request that a policy stopped."""
    details = _object(issue.get("details"))
    policy = details.get("contentSecurityPolicyIssueDetails")
    mixed = details.get("mixedContentIssueDetails")
    shared = details.get("corsIssueDetails")
    if policy:
        what = str(policy.get("violatedDirective", ""))
        _add(seen, "csp", what, str(policy.get("blockedURL") or "inline"))
    if mixed:
        _add(seen, "mixed", str(mixed.get("resolutionStatus", "")), str(mixed.get("insecureURL")))
    if shared:
        why = _object(shared.get("corsErrorStatus")).get("corsError", "")
        _add(seen, "cors", str(why), str(_object(shared.get("request")).get("url", "")))


def _add(seen: Seen, kind: str, what: str, url: str) -> None:
    told = {"kind": kind, "what": what, "host": urlsplit(url).netloc or url}
    if told not in seen.issues:
        seen.issues.append(told)
