"""The courier against a partner that misbehaves: each outcome as docs/partner-pixels.md says."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from courier_tools import (
    KEY,
    add_firing,
    attempts,
    delivered,
    egress,
    endpoint,
    firing,
    partner,
    rows,
    status,
)
from headwater import clock, ids, limits
from headwater.courier import schedule
from headwater.courier.egress import Answer
from headwater.courier.schedule import JITTER_PPM, RETRIES_MS, outcome_of, pause_ms
from headwater.courier.service import Courier, result_of
from headwater.ledger import enrolling, objects
from headwater.ledger import firings as outbox
from headwater.ledger.engine import Ledger
from headwater.ledger.firings import Claimed
from headwater.ledger.schema import audit_log, firings, partners
from ledger_tools import identify, ledger_in, with_program

NOW_MS = 1_790_000_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner's server has half a second here."""
    monkeypatch.setattr(limits, "DELIVERY_S", 0.5)


def one(ledger: Ledger, *replies: bytes | str) -> dict[str, object]:
    """A firing after one attempt, with the attempt's row under `attempt`."""

    async def body() -> bytes:
        async with partner(*replies) as server, egress() as made:
            url = f"http://127.0.0.1:{server.port}/p?id=1&token=abc"
            event = add_firing(ledger, url, at_ms=clock.now_ms())
            await delivered(Courier(ledger, made, KEY), ledger, [event])
        return event

    found = firing(ledger, asyncio.run(body()))
    return {**found, "attempt": attempts(ledger)[-1]}


@pytest.mark.parametrize(
    ("reply", "state", "code"),
    [
        (status(200, "OK"), "delivered", "delivered"),
        (status(204), "delivered", "delivered"),
        (status(301, Location="http://169.254.169.254/"), "dead", "redirect"),
        (status(302, Location="/other"), "dead", "redirect"),
        (status(304), "dead", "redirect"),
        (status(400), "dead", "refused_status"),
        (status(404), "dead", "refused_status"),
        (status(410), "dead", "gone"),
        (status(408), "waiting", "retry_status"),
        (status(425), "waiting", "retry_status"),
        (status(429), "waiting", "retry_status"),
        (status(500), "waiting", "retry_status"),
        (status(503), "waiting", "retry_status"),
        (status(599), "waiting", "retry_status"),
        ("reset", "waiting", "connection_lost"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "waiting", "bad_answer"),
        ("huge head", "waiting", "bad_answer"),
        ("slow head", "waiting", "timeout"),
        ("silent", "waiting", "timeout"),
        ("slow body", "delivered", "delivered"),
        ("huge body", "delivered", "delivered"),
    ],
    ids=str,
)
def test_what_a_server_does_decides_what_becomes_of_a_firing(
    ledger: Ledger, reply: bytes | str, state: str, code: str
) -> None:
    found = one(ledger, reply)
    assert (found["state"], found["code"], found["attempts"]) == (state, code, 1)
    attempt = found["attempt"]
    assert isinstance(attempt, dict)
    assert attempt["code"] == code
    assert attempt["url"].endswith("/p?id=1&token=***")


def test_an_attempt_is_recorded_with_the_first_512_bytes_of_the_answer(ledger: Ledger) -> None:
    attempt = one(ledger, "huge body")["attempt"]
    assert isinstance(attempt, dict)
    assert attempt["answer"] == b"a" * 512
    assert attempt["status"] == 200
    assert attempt["outcome"] == "delivered"
    assert attempt["latency_ms"] < limits.DELIVERY_S * 2000
    attempt = one(ledger, status(400, "b" * 511))["attempt"]
    assert isinstance(attempt, dict)
    assert attempt["answer"] == b"b" * 511


def test_a_packed_body_stays_packed(ledger: Ledger) -> None:
    attempt = one(ledger, status(200, "\x1f\x01bomb", Content_Encoding="gzip"))["attempt"]
    assert isinstance(attempt, dict)
    assert attempt["answer"] == b"\x1f\x01bomb"


def test_a_server_that_is_down_is_tried_again(ledger: Ledger) -> None:
    async def body() -> bytes:
        async with partner(status(200)) as server:
            port = server.port
        async with egress() as made:
            event = add_firing(ledger, f"http://127.0.0.1:{port}/", at_ms=clock.now_ms())
            await delivered(Courier(ledger, made, KEY), ledger, [event])
        return event

    found = firing(ledger, asyncio.run(body()))
    assert (found["state"], found["code"]) == ("waiting", "connect_failed")


@pytest.mark.parametrize("is_certified", [True, False], ids=["self-signed", "no-tls"])
def test_bad_tls_is_no_delivery(ledger: Ledger, tmp_path: Path, is_certified: bool) -> None:
    import ssl

    context = None
    if is_certified:
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem",
             "-out", "cert.pem", "-days", "1", "-subj", "/CN=localhost"],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        if made.returncode:
            pytest.skip("openssl cannot make a certificate here")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(status(200))
        writer.close()

    async def body() -> bytes:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        async with egress() as made:
            event = add_firing(ledger, f"https://127.0.0.1:{port}/", at_ms=clock.now_ms())
            await delivered(Courier(ledger, made, KEY), ledger, [event])
        server.close()
        return event

    found = firing(ledger, asyncio.run(body()))
    assert (found["state"], found["code"]) == ("waiting", "tls_failed")


def test_every_attempt_carries_the_same_event_id_and_another_time(ledger: Ledger) -> None:
    async def body() -> tuple[bytes, list[str | None]]:
        async with partner(status(500), status(200)) as server, egress() as made:
            courier = Courier(ledger, made, KEY)
            event = add_firing(ledger, f"http://127.0.0.1:{server.port}/", at_ms=clock.now_ms())
            await delivered(courier, ledger, [event])
            with ledger.write() as connection:
                connection.execute(sa.update(firings).values(due_ms=0))
            for _ in range(6000):
                await courier.turn()
                if firing(ledger, event)["state"] == "delivered":
                    break
                await asyncio.sleep(0.01)
            return event, [server.field("webhook-id", at) for at in (0, 1)]

    event, named = asyncio.run(body())
    assert named == [ids.event_text("evt", event)] * 2
    assert [row["attempt"] for row in attempts(ledger)] == [1, 2]
    assert firing(ledger, event)["attempts"] == 2


# ---- The schedule ----------------------------------------------------------------------------


def test_the_schedule_is_the_one_that_is_promised() -> None:
    assert [pause_ms(number, None, NOW_MS, 0) for number in range(1, 9)] == [
        *RETRIES_MS,
        None,
    ]
    assert [pause // 1000 for pause in RETRIES_MS] == [5, 30, 120, 600, 3600, 21_600, 86_400]
    assert pause_ms(1, None, NOW_MS, JITTER_PPM) == 6000
    assert pause_ms(1, None, NOW_MS, -JITTER_PPM) == 4000
    drawn = {ids.jitter(JITTER_PPM) for _ in range(100)}
    assert all(-JITTER_PPM <= number <= JITTER_PPM for number in drawn)
    assert len(drawn) > 50


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        ("1", 5_000),
        ("5", 5_000),
        ("120", 120_000),
        (" 60 ", 60_000),
        ("86400", 86_400_000),
        ("86401", 86_400_000),
        ("9" * 400, 86_400_000),
        ("-5", 5_000),
        ("٣٣", 5_000),
        ("1e9", 5_000),
        ("soon", 5_000),
        ("", 5_000),
        ("Mon, 21 Sep 2026 14:23:20 GMT", 600_000),
        ("Mon, 21 Sep 2020 14:23:20 GMT", 5_000),
        ("Mon, 99 Sep 9999 99:99:99 GMT", 5_000),
    ],
)
def test_retry_after_lengthens_a_pause_within_bounds(value: str, expected_ms: int) -> None:
    now_ms = 1_790_000_000_000
    assert clock.iso_ms(now_ms + 600_000) == "2026-09-21T14:23:20.000Z"
    assert pause_ms(1, value, now_ms, 0) == expected_ms


def test_a_429_with_retry_after_waits_as_long(ledger: Ledger) -> None:
    before_ms = clock.now_ms()
    found = one(ledger, status(429, Retry_After="3600"))
    due_ms = found["due_ms"]
    assert isinstance(due_ms, int)
    assert due_ms >= before_ms + 3_600_000


def claimed(**changed: object) -> Claimed:
    made = Claimed(bytes(16), 1, 1, "http://a.example/", 0, 0, NOW_MS, ())
    return made._replace(**changed)  # type: ignore[arg-type]


def test_after_the_last_attempt_a_firing_is_dead_and_can_be_sent_again(ledger: Ledger) -> None:
    failed = Answer(500, b"", None, None)
    assert result_of(claimed(attempts=6), failed, NOW_MS, 1, 0).due_ms is not None
    last = result_of(claimed(attempts=7), failed, NOW_MS, 1, 0)
    assert (last.due_ms, last.code) == (None, "exhausted")
    again = result_of(claimed(attempts=8, attempts_before=8), failed, NOW_MS, 1, 0)
    assert again.due_ms == NOW_MS + RETRIES_MS[0]


def test_a_firing_that_waited_a_week_is_given_up() -> None:
    failed = Answer(500, b"", None, None)
    edge_ms = NOW_MS + limits.FIRING_AGE_MS_MAX - RETRIES_MS[0]
    assert result_of(claimed(), failed, edge_ms, 1, 0).due_ms is not None
    late = result_of(claimed(), failed, edge_ms + 1, 1, 0)
    assert (late.due_ms, late.code) == (None, "too_old")


def test_every_answer_has_one_outcome() -> None:
    for code in range(200, 600):
        outcome, _ = outcome_of(Answer(code, b"", None, None))
        retried = code >= 500 or code in (408, 425, 429)
        expected = schedule.RETRY if retried else schedule.FINAL
        assert outcome == (schedule.DELIVERED if code < 300 else expected)


# ---- Dead letters, disabling, the breaker ----------------------------------------------------


def test_a_dead_letter_is_sent_again_by_hand_under_its_own_id(ledger: Ledger) -> None:
    found = one(ledger, status(404))
    event = found["event_id"]
    assert isinstance(event, bytes)
    assert outbox.resend(ledger, event, clock.now_ms())
    assert not outbox.resend(ledger, event, clock.now_ms()), "it waits already"
    assert not outbox.resend(ledger, bytes(16), clock.now_ms())

    async def body() -> str | None:
        async with partner(status(200)) as server, egress() as made:
            with ledger.write() as connection:
                connection.execute(
                    sa.update(firings).values(url=f"http://127.0.0.1:{server.port}/")
                )
            courier = Courier(ledger, made, KEY)
            for _ in range(6000):
                await courier.turn()
                if firing(ledger, event)["state"] == "delivered":
                    return server.field("webhook-id")
                await asyncio.sleep(0.01)
        return None

    assert asyncio.run(body()) == ids.event_text("evt", event)
    assert [row["attempt"] for row in attempts(ledger)] == [1, 2]


def test_410_disables_a_pixel_and_gives_up_what_waits_for_it(ledger: Ledger) -> None:
    async def body() -> None:
        async with partner(status(410)) as server, egress() as made:
            courier = Courier(ledger, made, KEY)
            url = f"http://127.0.0.1:{server.port}/"
            first = add_firing(ledger, url, at_ms=clock.now_ms())
            await delivered(courier, ledger, [first])
            later = add_firing(ledger, url, at_ms=clock.now_ms())
            other = add_firing(ledger, url, pixel=2, partner=2, at_ms=clock.now_ms())
            await delivered(courier, ledger, [other])
            assert firing(ledger, later)["code"] == "endpoint_disabled"
            assert firing(ledger, later)["attempts"] == 0
            assert len(server.heads) == 2

    asyncio.run(body())
    assert outbox.disabled_pixels(ledger) == [(1, "gone"), (2, "gone")]
    told = [(row["actor"], row["object_id"], row["verb"]) for row in rows(ledger, audit_log)]
    assert told == [("system", "pxl_1", "disable"), ("system", "pxl_2", "disable")]
    assert outbox.enable(ledger, 1)
    assert not outbox.enable(ledger, 1)
    assert outbox.disabled_pixels(ledger) == [(2, "gone")]


@pytest.mark.parametrize("what", ["enrolment", "partner"])
def test_k4_what_waits_for_a_partner_that_left_is_not_sent(ledger: Ledger, what: str) -> None:
    """Also what failed before, and would be tried again."""
    _brand, program = with_program(ledger)
    columns = {"name": "p", "email": ""}
    made = objects.create_partner(ledger, objects.Origin(), columns=columns)
    number = made.row["id"]
    for status_ in (None, "paused" if what == "enrolment" else None):
        enrolling.enrol(ledger, objects.Origin(), program, number, status_, identify=identify)
    if what == "partner":
        with ledger.write() as connection:
            connection.execute(sa.update(partners).values(status="paused"))

    async def body() -> bytes:
        async with partner(status(200)) as server, egress() as made:
            url = f"http://127.0.0.1:{server.port}/"
            left = add_firing(ledger, url, partner=number, at_ms=clock.now_ms())
            other = add_firing(ledger, url, partner=number + 1, at_ms=clock.now_ms())
            await delivered(Courier(ledger, made, KEY), ledger, [other])
            assert len(server.heads) == 1
            return left

    left = firing(ledger, asyncio.run(body()))
    assert (left["state"], left["code"], left["attempts"]) == ("dead", "partner_inactive", 0)


def failed_at(ledger: Ledger, at_ms: int, event: bytes, number: int) -> None:
    """One more failure of a firing, at a time."""
    result = result_of(
        claimed(event_id=event, attempts=number, attempts_before=number, at_ms=at_ms),
        Answer(503, b"", None, None), at_ms, 1, 0,
    )  # fmt: skip
    outbox.exchange(ledger, at_ms, [result], {})


def test_a_pixel_that_fails_for_days_is_disabled_and_one_success_clears_the_clock(
    ledger: Ledger,
) -> None:
    event = add_firing(ledger, "http://a.example/", at_ms=NOW_MS)
    step_ms = limits.DISABLE_AFTER_MS // 9
    for number in range(9):
        failed_at(ledger, NOW_MS + number * step_ms, event, number)
    assert outbox.disabled_pixels(ledger) == []
    failed_at(ledger, NOW_MS + 9 * step_ms - 9, event, 9)
    assert outbox.disabled_pixels(ledger) == [], "a moment before the five days are over"
    at_ms = NOW_MS + limits.DISABLE_AFTER_MS
    made = result_of(
        claimed(event_id=event, attempts=10, attempts_before=10, at_ms=at_ms),
        Answer(503, b"", None, None), at_ms, 1, 0,
    )  # fmt: skip
    found = outbox.exchange(ledger, at_ms, [made], {})
    assert [(each.pixel, each.code) for each in found.disabled] == [(1, "failing")]
    assert outbox.enable(ledger, 1)
    assert endpoint(ledger)["failures"] == 0


def test_the_breaker_opens_after_failures_and_lets_one_firing_try(ledger: Ledger) -> None:
    event = add_firing(ledger, "http://a.example/", at_ms=NOW_MS, due_ms=NOW_MS)
    for number in range(limits.BREAKER_FAILURES - 1):
        failed_at(ledger, NOW_MS, event, number)
    assert endpoint(ledger)["open_until_ms"] == 0
    failed_at(ledger, NOW_MS, event, limits.BREAKER_FAILURES - 1)
    assert endpoint(ledger)["open_until_ms"] == NOW_MS + limits.BREAKER_OPEN_MS
    due_ms = NOW_MS + limits.BREAKER_OPEN_MS
    assert outbox.due_pixels(ledger, due_ms - 1) == []
    (due,) = outbox.due_pixels(ledger, due_ms)
    courier = Courier(ledger, None, KEY)  # type: ignore[arg-type]
    assert courier._wanted([due], 100) == {1: 1}
    for number in range(limits.BREAKER_FAILURES, 20):
        failed_at(ledger, due_ms, event, number)
    assert endpoint(ledger)["open_until_ms"] == due_ms + limits.BREAKER_OPEN_MS_MAX


def test_no_pixel_and_no_partner_takes_all_the_room(ledger: Ledger) -> None:
    courier = Courier(ledger, None, KEY)  # type: ignore[arg-type]
    due = [outbox.Due(number, 1, 0, False) for number in range(100)]
    due += [outbox.Due(1000, 2, 0, False)]
    wanted = courier._wanted(due, limits.DELIVERIES_AT_ONCE_MAX)
    assert max(wanted.values()) == limits.DELIVERIES_PER_PIXEL_MAX
    assert wanted[1000] == limits.DELIVERIES_PER_PIXEL_MAX
    assert sum(wanted.values()) - wanted[1000] == limits.DELIVERIES_PER_PARTNER_MAX


def test_a_tar_pit_delays_nobody_else(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of firings hang at one partner's server; another's are delivered meanwhile."""
    monkeypatch.setattr(limits, "DELIVERY_S", 30.0)

    async def body() -> None:
        async with partner("silent") as pit, partner(status(200)) as good, egress() as made:
            for _ in range(300):
                add_firing(ledger, f"http://127.0.0.1:{pit.port}/", at_ms=clock.now_ms())
            courier = Courier(ledger, made, KEY)
            await courier.turn()
            events = [
                add_firing(
                    ledger,
                    f"http://127.0.0.1:{good.port}/",
                    pixel=2,
                    partner=2,
                    at_ms=clock.now_ms(),
                )
                for _ in range(40)
            ]
            await delivered(courier, ledger, events)
            assert all(firing(ledger, event)["state"] == "delivered" for event in events)
            assert len(pit.heads) <= limits.DELIVERIES_PER_PIXEL_MAX
            for task in courier._tasks:
                task.cancel()
            await asyncio.gather(*courier._tasks, return_exceptions=True)

    asyncio.run(body())


@pytest.mark.parametrize("is_together", [True, False])
def test_a_firing_is_claimed_once_until_its_claim_ends(ledger: Ledger, is_together: bool) -> None:
    event = add_firing(ledger, "http://a.example/", due_ms=NOW_MS)
    assert outbox.exchange(ledger, NOW_MS - 1, [], {1: 5}).claimed == []
    (first,) = outbox.exchange(ledger, NOW_MS, [], {1: 5}).claimed
    assert outbox.exchange(ledger, NOW_MS, [], {1: 5}).claimed == []
    end_ms = NOW_MS + limits.DELIVERY_CLAIM_MS
    assert outbox.exchange(ledger, end_ms - 1, [], {1: 5}).claimed == []
    (again,) = outbox.exchange(ledger, end_ms, [], {1: 5}).claimed
    assert first.event_id == again.event_id == event
    # Both are recorded: the second changes nothing.
    results = [
        result_of(each, Answer(200, b"", None, None), end_ms, 1, 0) for each in (first, again)
    ]
    for part in [results] if is_together else [[each] for each in results]:
        outbox.exchange(ledger, end_ms, part, {})
    assert len(attempts(ledger)) == 1
    assert endpoint(ledger)["delivered_count"] == 1


def test_what_waits_is_found_from_pixel_to_pixel(ledger: Ledger) -> None:
    for number in (7, 3, 11, 3):
        add_firing(ledger, "http://a.example/", pixel=number, partner=number, due_ms=NOW_MS)
    add_firing(ledger, "http://a.example/", pixel=5, due_ms=NOW_MS + 1)
    assert [due.pixel for due in outbox.due_pixels(ledger, NOW_MS)] == [3, 7, 11]
    assert [due.pixel for due in outbox.due_pixels(ledger, NOW_MS, after=3)] == [7, 11]
    assert outbox.backlog(ledger, NOW_MS + 10) == (5, 10)


def test_a_courier_that_stops_records_what_was_in_flight(ledger: Ledger) -> None:
    async def body() -> bytes:
        async with partner(status(200)) as server, egress() as made:
            event = add_firing(ledger, f"http://127.0.0.1:{server.port}/", at_ms=clock.now_ms())
            courier = Courier(ledger, made, KEY)
            task = asyncio.create_task(courier.run())
            for _ in range(6000):
                await asyncio.sleep(0.01)
                if server.heads:
                    break
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return event

    assert firing(ledger, asyncio.run(body()))["state"] == "delivered"
