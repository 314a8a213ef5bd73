"""What the tag does with the partners' pixels of a conversion's answer, in a real browser."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from browser_tools import OWN, Brand, answers, convert
from system_tools import wait_for

ORDER = {"order_id": "P-1", "amount": "49.90", "currency": "EUR"}
# A frame that tries what a hostile partner would try.
HOSTILE = """<script>
  try { parent.document.title = 'taken'; } catch (error) { /* as it should */ }
  try { top.location = 'https://evil.test/'; } catch (error) { /* as it should */ }
  let own = 'none';
  try { own = String(document.cookie); } catch (error) { own = 'refused'; }
  fetch('/said?origin=' + window.origin + '&cookie=' + own, {mode: 'no-cors'});
</script>"""


class PartnerSite:
    """The partner's server, as far as a browser sees it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.held = threading.Event()
        self.held.set()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers.get("Referer", "")))
                site.held.wait(30)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(HOSTILE.encode() if self.path.startswith("/frame") else b"")

            def log_message(self, *_parts: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://partner.test:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def close(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def partner_site() -> Iterator[PartnerSite]:
    found = PartnerSite()
    yield found
    found.close()


def clicked(brand: Brand, page: Any) -> None:
    """The visitor comes by a link of the partner."""
    brand.page("/landing")
    page.goto(brand.clicked())


def answered_with(page: Any, pixels: list[dict[str, str]]) -> None:
    """Conversions of the page are answered with these pixels, and all else as it is."""

    def handle(route: Any) -> None:
        if '"type":"conversion"' not in (route.request.post_data or ""):
            route.continue_()
            return
        # Its own resolver does not know the browser's names.
        answer = route.fetch(url=route.request.url.replace(OWN, "127.0.0.1"))
        body = {**answer.json(), "pixels": pixels}
        route.fulfill(response=answer, body=json.dumps(body))

    page.route("**/v1/collect", handle)


def test_k13_an_image_and_a_frame_are_fired_and_the_frame_is_locked_in(
    brand: Brand, page: Any, partner_site: PartnerSite
) -> None:
    answered_with(
        page,
        [
            {"type": "image", "url": f"{partner_site.address}/image?o=P-1"},
            {"type": "iframe", "url": f"{partner_site.address}/frame?o=P-1"},
            {"type": "iframe", "url": "javascript:parent.faults.push('ran')"},
            {"type": "image", "url": "data:image/gif;base64,AAAA"},
        ],
    )
    clicked(brand, page)
    page.goto(brand.page("/thanks", convert(**ORDER)) + "?order=secret")
    answers(page)
    wait_for(lambda: any("/said" in path for path in partner_site.paths), 60, "the frame spoke")
    assert {"/image?o=P-1", "/frame?o=P-1"} <= set(partner_site.paths)
    (said,) = [path for path in partner_site.paths if "/said" in path]
    assert said == "/said?origin=null&cookie=refused"
    # The page is where and what it was, and its address is not told to the partner.
    assert page.title() == "shop"
    assert page.url.startswith(brand.site.address)
    assert all("secret" not in referrer for _, referrer in partner_site.asked)
    assert page.evaluate("faults") == []
    frame = page.query_selector("iframe")
    assert frame.get_attribute("sandbox") == "allow-scripts"
    assert not frame.is_visible()
    assert len(page.query_selector_all("iframe")) == 1


def test_a_partner_that_does_not_answer_holds_nothing_up(
    brand: Brand, page: Any, partner_site: PartnerSite
) -> None:
    """The page loads, and the caller is told, while the partner's server hangs."""
    partner_site.held.clear()
    answered_with(
        page,
        [
            {"type": "image", "url": f"{partner_site.address}/image"},
            {"type": "iframe", "url": f"{partner_site.address}/frame"},
        ],
    )
    clicked(brand, page)
    page.goto(brand.page("/thanks", convert(**ORDER)), wait_until="load")
    assert answers(page)[0]["ok"]
    wait_for(lambda: len(partner_site.paths) == 2, 60, "both were asked for")
    assert page.evaluate("order") == ["load"]


def test_with_consent_denied_no_pixel_of_others_is_fired(
    brand: Brand, page: Any, partner_site: PartnerSite
) -> None:
    answered_with(page, [{"type": "image", "url": f"{partner_site.address}/image"}])
    clicked(brand, page)
    page.goto(
        brand.page("/thanks", "<script>headwater('consent', 'denied')</script>" + convert(**ORDER))
    )
    answers(page)
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    assert partner_site.paths == []
