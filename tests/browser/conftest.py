"""One system, one site and one browser for each module: the browser's driver leaves an event loop
running in the thread, which other suites must not find.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from browser_tools import CHROMIUM, WATCH, Brand, Site, agent_of, chromium, make_brand
from system_tools import System

_codes = itertools.count(1)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium")
    pytest.importorskip("playwright", reason="no playwright: pip install playwright")
    with System(tmp_path_factory.mktemp("system"), edges=1) as started:
        yield started


@pytest.fixture(scope="module")
def site(system: System) -> Iterator[Site]:
    found = Site(system.settings.port)
    yield found
    found.close()


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[Any]:
    with chromium(site.address) as found:
        yield found


@pytest.fixture
def brand(system: System, site: Site) -> Brand:
    site.pages.clear()
    site.asked.clear()
    return make_brand(system, site, f"brand{next(_codes)}")


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A visitor: a browser without a past."""
    found = browser.new_context(user_agent=agent_of(browser))
    found.set_default_timeout(60_000)
    found.add_init_script(WATCH)
    yield found
    found.close()


@pytest.fixture
def page(context: Any) -> Any:
    return context.new_page()
