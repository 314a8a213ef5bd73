"""The pipelining client against a real server, and against one that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

import journal_tools as tools
from headwater.journal.resp import RedisError, RedisGone, RespClient, parse_url

short_folder = tools.short_folder
valkey = tools.valkey


def test_urls() -> None:
    unix = parse_url("unix:///tmp/a%20b.sock?db=3")
    assert (unix.path, unix.database) == ("/tmp/a b.sock", 3)
    tcp = parse_url("redis://us%40er:pa%2Fss@host:7000/2")
    assert (tcp.host, tcp.port, tcp.username, tcp.password, tcp.database) == (
        "host",
        7000,
        "us@er",
        "pa/ss",
        2,
    )
    assert parse_url("redis://:secret@host").username is None
    assert parse_url("rediss://host").tls
    assert parse_url("redis://[::1]:6379").host == "::1"
    for wrong in ("http://x", "unix://", "redis://host/name", "redis://host:port"):
        with pytest.raises(ValueError):
            parse_url(wrong)


def test_answers_come_in_order_and_errors_to_their_callers(valkey: tools.Server) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        answers = [client.call("SET", f"k{n}", n) for n in range(200)]
        wrong = client.call("LPOP", "k1")
        values = [client.call("GET", f"k{n}") for n in range(200)]
        await asyncio.gather(*answers)
        with pytest.raises(RedisError) as caught:
            await wrong
        assert caught.value.code == "WRONGTYPE"
        assert [int(value) for value in await asyncio.gather(*values)] == list(range(200))
        await client.close()
        assert client.closed
        with pytest.raises(RedisGone):
            await client.call("PING")

    tools.run(job())


def test_errors_inside_a_transaction_stay_inside(valkey: tools.Server) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await client.call("SET", "k", "v")
        *_, done = await asyncio.gather(
            client.call("MULTI"), client.call("LPOP", "k"), client.call("EXEC")
        )
        assert isinstance(done[0], RedisError)
        await client.close()

    tools.run(job())


def test_a_given_up_answer_does_not_shift_the_next(valkey: tools.Server) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await client.call("SET", "k", "v")
        client.call("PING").cancel()
        assert await client.call("GET", "k") == b"v"
        await client.close()

    tools.run(job())


@pytest.mark.parametrize("protocol", [2, 3])
def test_published_messages_are_pushed(valkey: tools.Server, protocol: int) -> None:
    async def job() -> None:
        heard: list[list[bytes]] = []
        listener = await RespClient.connect(valkey.url, protocol=protocol)
        listener.on_push = heard.append
        assert (await listener.call("SUBSCRIBE", "news"))[:2] == [b"subscribe", b"news"]
        speaker = await RespClient.connect(valkey.url)
        for number in range(3):
            assert await speaker.call("PUBLISH", "news", str(number)) == 1
        await tools.until(lambda: len(heard) == 3)
        assert heard == [[b"message", b"news", b"%d" % number] for number in range(3)]
        if protocol == 3:
            assert await listener.call("PING") == b"PONG"
        await listener.close()
        await speaker.close()

    tools.run(job())


def test_a_lost_connection_fails_everything_pending(valkey: tools.Server) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        waiting = client.call("BLPOP", "nothing", 0)
        seen: list[object] = []
        client.send(b"*1\r\n$4\r\nPING\r\n", seen.append)
        await tools.in_thread(valkey.kill)
        with pytest.raises(RedisGone):
            await waiting
        await client.wait_closed()
        assert isinstance(seen[0], RedisGone)

    tools.run(job())


def test_passwords_and_databases(short_folder: Path) -> None:
    server = tools.Server(short_folder)
    server.start()
    try:
        with server.client() as admin:
            admin.config_set("requirepass", "secret")

        async def job() -> None:
            path = server.config.redis_socket
            with pytest.raises(RedisError):
                await RespClient.connect(f"unix://{path}")
            client = await RespClient.connect(f"unix://:secret@{path}?db=2")
            await client.call("SET", "k", "two")
            other = await RespClient.connect(f"unix://default:secret@{path}")
            assert await other.call("GET", "k") is None
            await client.close()
            await other.close()

        tools.run(job())
    finally:
        server.stop()


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n", b"+PONG\r\n+EXTRA\r\n"])
def test_a_server_that_speaks_something_else(short_folder: Path, answer: bytes) -> None:
    async def job() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(answer)
            await asyncio.sleep(0.3)
            writer.close()

        path = short_folder / "s"
        server = await asyncio.start_unix_server(serve, path)
        with contextlib.suppress(RedisGone):
            client = await RespClient.connect(f"unix://{path}", timeout_s=0.2)
            await client.wait_closed()
            assert client.closed
            assert b"EXTRA" in answer
        server.close()
        await asyncio.sleep(0.35)

    tools.run(job())


def test_no_server(short_folder: Path) -> None:
    async def job() -> None:
        with pytest.raises(RedisGone):
            await RespClient.connect(f"unix://{short_folder}/none")
        with pytest.raises(RedisGone):
            await RespClient.connect("redis://127.0.0.1:1")

    tools.run(job())
