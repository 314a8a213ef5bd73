"""A single visitor or shop beside the load: what one pixel, and one conversion, waits."""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass, field
from typing import Any

from bench.load.system import System

from headwater import clock
from headwater.ops.demo_traffic import BROWSERS

TIMEOUT_S = 30.0
# What is said of a conversion until it is decided.
PENDING = "pending"
DECIDED_S = 300.0
# Some forty orders wait at once in a burst, and asking for them is not to be the load.
POLL_S = 0.25


def pixel_waits_ms(system: System, number: int, pause_s: float) -> list[float]:
    """Time to the first byte of so many pixels, one after the other on one connection, each a
    conversion of its own. Raises OSError when one is not answered.
    """
    connection = http.client.HTTPConnection("127.0.0.1", system.config.port, timeout=TIMEOUT_S)
    waits = []
    for at in range(number):
        path = (
            f"/px.gif?program={system.scene.program}&event=sale&customer_id=c{at}"
            f"&order_id=B-{clock.perf_ns()}&amount=5.00&currency=EUR"
        )
        began_ns = clock.perf_ns()
        connection.request("GET", path, headers={"User-Agent": BROWSERS[0]})
        answer = connection.getresponse()
        waits.append((clock.perf_ns() - began_ns) / 1e6)
        answer.read()
        clock.sleep(pause_s)
    connection.close()
    return waits


def percentiles(waits_ms: list[float]) -> dict[str, float]:
    """Of a list in memory, by nearest rank."""
    ordered = sorted(waits_ms)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)
        for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("max_ms", 1.0))
    }


@dataclass
class Conversion:
    """One reported order, from its report to its decision."""

    sent_at_s: float
    """Since the probe began."""
    answered_ms: float
    status: int
    decided_ms: float | None = None
    """None: not within five minutes."""


@dataclass
class Shop:
    """Reports an order every so often, each in a thread of its own, and waits for its decision."""

    system: System
    every_s: float
    conversions: list[Conversion] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._began_s = clock.monotonic_s()
        self._pace = threading.Thread(target=self._report_all)
        self._pace.start()

    def finish(self) -> list[Conversion]:
        """Report no more; wait for the decisions of what was reported."""
        self._stop.set()
        self._pace.join()
        for thread in self._threads:
            thread.join(DECIDED_S + TIMEOUT_S)
        return sorted(self.conversions, key=lambda conversion: conversion.sent_at_s)

    def _report_all(self) -> None:
        number = 0
        while not self._stop.wait(self.every_s):
            number += 1
            thread = threading.Thread(target=self._report, args=(number,))
            self._threads.append(thread)
            thread.start()

    def _asked(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        port = self.system.config.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self.system.scene.key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read() or b"null")
        connection.close()
        return answer.status, content

    def _report(self, number: int) -> None:
        began_s = clock.monotonic_s()
        body = {
            "program": self.system.scene.program,
            "event": "sale",
            "order_id": f"probe-{number}",
            "amount": "10.00",
            "currency": "EUR",
            "customer_id": f"probe-{number}",
        }
        status, content = self._asked("POST", "/v1/conversions", body)
        answered_ms = (clock.monotonic_s() - began_s) * 1000
        found = Conversion(began_s - self._began_s, answered_ms, status)
        self.conversions.append(found)
        if status in (200, 201):
            found.decided_ms = answered_ms
            return
        while status == 202 and clock.monotonic_s() - began_s < DECIDED_S:
            now, decision = self._asked("GET", f"/v1/conversions/{content['conversion_id']}", None)
            if now == 200 and decision["status"] != PENDING:
                found.decided_ms = (clock.monotonic_s() - began_s) * 1000
                return
            clock.sleep(POLL_S)
