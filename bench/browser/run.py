"""The pixel from a browser's view: time to its first byte, on an idle and on a loaded machine.

    python -m bench.browser.run [--pixels 400] [--out bench/results]

Chromium asks for one pixel after the other, each a conversion of its own, and
tells by Resource Timing how long it waited from the request to the first byte. Loaded: as many
processes as the machine has cores do nothing but count, beside the same system.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.config import Config
from headwater.ops import demo

CHROMIUM = Path("/usr/bin/chromium")
WARM_UP = 20
ASK = """async ([base, first, number]) => {
    performance.setResourceTimingBufferSize(number * 2);
    for (let i = first; i < first + number; i++) {
        await new Promise(done => {
            const image = new Image();
            image.onload = image.onerror = done;
            image.src = `${base}&order_id=B-${i}&amount=5.00`;
        });
    }
    const found = performance.getEntriesByType('resource')
        .filter(entry => entry.name.includes('/px.gif') && entry.responseStart > 0)
        .map(entry => entry.responseStart - entry.requestStart);
    performance.clearResourceTimings();
    return found;
}"""


def count_for_ever() -> None:
    """A process that wants a core for itself."""
    number = 0
    while True:
        number += 1


@contextmanager
def busy(processes: int) -> Iterator[None]:
    started = [
        multiprocessing.Process(target=count_for_ever, daemon=True) for _ in range(processes)
    ]
    for each in started:
        each.start()
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.join()


def percentiles(waits_ms: list[float]) -> dict[str, float]:
    """Of waits in milliseconds."""
    ordered = sorted(waits_ms)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
        for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99))
    }


def measured(pixels: int, folder: Path) -> dict[str, Any]:
    """Percentiles of both states."""
    from playwright.sync_api import sync_playwright

    settings = Config(
        data=folder / "data", port=demo.free_port(), console_port=demo.free_port(), edges=2
    )
    log = folder / "system.log"
    with demo.running_system(settings, log), sync_playwright() as playwright:
        scene = demo.prepare(settings)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        edge = f"http://{scene.host}:{scene.port}"
        page.goto(f"{edge}/robots.txt")
        base = f"{edge}/px.gif?program={scene.program}&event=sale&customer_id=c"
        page.evaluate(ASK, [base, 0, WARM_UP])
        idle = page.evaluate(ASK, [base, WARM_UP, pixels])
        with busy(os.cpu_count() or 1):
            loaded = page.evaluate(ASK, [base, WARM_UP + pixels, pixels])
        browser.close()
    for waits in (idle, loaded):
        if len(waits) != pixels:
            raise SystemExit(f"{pixels} pixels were asked for, {len(waits)} were timed")
    return {"idle": percentiles(idle), "loaded": percentiles(loaded)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        waits = measured(options.pixels, Path(folder))
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "python": platform.python_version(),
        "pixels": options.pixels,
        "time_to_first_byte": waits,
    }
    text = json.dumps(result, indent=2)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "browser.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
